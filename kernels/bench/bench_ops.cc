/// Times of the row operations, attention and hashing, each with the digest of its output beside it (Google Benchmark label).
#include <benchmark/benchmark.h>
#include <openssl/sha.h>

#include <cstdio>
#include <string>
#include <vector>

#include "kernels/accumulate.h"
#include "kernels/attention.h"
#include "kernels/cpu/parallel.h"
#include "kernels/matmul.h"
#include "kernels/num/philox.h"
#include "kernels/rows.h"

namespace {

using namespace fairway;
using namespace fairway::kernels;

std::vector<float> normals(int64_t count, uint32_t stream) {
  std::vector<float> x(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) x[static_cast<size_t>(i)] = num::normal(7, stream, 0, static_cast<uint64_t>(i));
  return x;
}

std::string digest(const void* data, size_t bytes) {
  unsigned char d[SHA256_DIGEST_LENGTH];
  SHA256(static_cast<const unsigned char*>(data), bytes, d);
  char text[9];
  std::snprintf(text, sizeof text, "%02x%02x%02x%02x", d[0], d[1], d[2], d[3]);
  return text;
}

constexpr int64_t kTokens = 8192, kWidth = 512;

void quantise_rows_bench(benchmark::State& state) {
  const auto x = normals(kTokens * kWidth, 1);
  Quantised q;
  for (auto _ : state) benchmark::DoNotOptimize(quantise_rows(x.data(), kTokens, kWidth, kWidth, 14, q));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * kTokens * kWidth * 4);
  state.SetLabel(digest(q.plane(0), static_cast<size_t>(kTokens * kWidth)));
}
BENCHMARK(quantise_rows_bench)->Name("quantise_rows 8192x512")->UseRealTime();

void quantise_columns_bench(benchmark::State& state) {
  const auto x = normals(kTokens * kWidth, 1);
  Quantised q;
  for (auto _ : state) benchmark::DoNotOptimize(quantise_columns(x.data(), kTokens, kWidth, kWidth, 14, q));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * kTokens * kWidth * 4);
  state.SetLabel(digest(q.plane(0), static_cast<size_t>(kTokens * kWidth)));
}
BENCHMARK(quantise_columns_bench)->Name("quantise_columns 8192x512")->UseRealTime();

void rms_norm_bench(benchmark::State& state) {
  const auto x = normals(kTokens * kWidth, 1);
  std::vector<float> y(x.size()), r(kTokens);
  for (auto _ : state) benchmark::DoNotOptimize(rms_norm(x.data(), kTokens, kWidth, y.data(), r.data()));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * kTokens * kWidth * 8);
  state.SetLabel(digest(y.data(), y.size() * 4));
}
BENCHMARK(rms_norm_bench)->Name("rms_norm 8192x512")->UseRealTime();

void cross_entropy_bench(benchmark::State& state) {
  const int64_t vocab = 1024;
  const auto u = normals(kTokens * vocab, 1);
  std::vector<uint16_t> targets(kTokens, 17);
  std::vector<float> z(u.size()), nll(kTokens);
  for (auto _ : state) {
    state.PauseTiming();
    z = u;
    state.ResumeTiming();
    benchmark::DoNotOptimize(cross_entropy(z.data(), kTokens, vocab, 30.0f, targets.data(), nll.data(), true));
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * kTokens * vocab);
  state.SetLabel(digest(nll.data(), nll.size() * 4));
}
BENCHMARK(cross_entropy_bench)->Name("cross_entropy with gradient 8192x1024")->UseRealTime();

struct AttentionData {
  AttentionShape shape{8, 1024, 8, 4, 64, Products::kP3};
  std::vector<float> q = normals(kTokens * 512, 1), k = normals(kTokens * 256, 2), v = normals(kTokens * 256, 3), out = normals(kTokens * 512, 4);
  std::vector<float> dq = q, dk = k, dv = v;
  std::vector<int32_t> row_max = std::vector<int32_t>(kTokens * 8);
  std::vector<int64_t> row_units = std::vector<int64_t>(kTokens * 8);
  bool forward() { return attention_forward({shape, q.data(), k.data(), v.data(), out.data(), row_max.data(), row_units.data()}); }
};

void attention_forward_bench(benchmark::State& state) {
  AttentionData d;
  for (auto _ : state) benchmark::DoNotOptimize(d.forward());
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * kTokens);
  state.SetLabel(digest(d.out.data(), d.out.size() * 4));
}
BENCHMARK(attention_forward_bench)->Name("attention forward 8x1024, 8 heads of 64, 4 kv")->UseRealTime();

void attention_backward_bench(benchmark::State& state) {
  AttentionData d;
  if (!d.forward()) state.SkipWithError("forward failed");
  const auto dout = normals(kTokens * 512, 5);
  for (auto _ : state) {
    benchmark::DoNotOptimize(attention_backward({d.shape, d.q.data(), d.k.data(), d.v.data(), dout.data(), d.row_max.data(), d.row_units.data(),
                                                 d.dq.data(), d.dk.data(), d.dv.data()}));
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * kTokens);
  state.SetLabel(digest(d.dk.data(), d.dk.size() * 4));
}
BENCHMARK(attention_backward_bench)->Name("attention backward 8x1024, 8 heads of 64, 4 kv")->UseRealTime();

void accumulate_bench(benchmark::State& state) {
  const auto g = normals(1 << 20, 1);
  std::vector<int64_t> acc(g.size());
  const float limit = term_limit(64);
  for (auto _ : state) benchmark::DoNotOptimize(accumulate(g.data(), static_cast<int64_t>(g.size()), limit, acc.data()));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(g.size()) * 20);
}
BENCHMARK(accumulate_bench)->Name("accumulate gradient 2^20")->UseRealTime();

void sha256_bench(benchmark::State& state) {
  const auto x = normals(1 << 22, 1);
  unsigned char d[SHA256_DIGEST_LENGTH];
  for (auto _ : state) benchmark::DoNotOptimize(SHA256(reinterpret_cast<const unsigned char*>(x.data()), x.size() * 4, d));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(x.size()) * 4);
  state.SetLabel(digest(x.data(), x.size() * 4));
}
BENCHMARK(sha256_bench)->Name("SHA-256 of 16 MiB, one core")->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
