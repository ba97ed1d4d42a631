/// Exact products on a GPU against cuBLAS with bf16 operands and binary32 accumulation (what a user would call
/// instead), interleaved in one run, with the digest of every exact result. Shapes: (98304) x (512, 1024, 1536) x 512,
/// a block's matrices at 98,304 tokens, and their two transposes.
///
/// Usage: bench_device_matmul [repetitions]. Exit code 69, with the reason, without a GPU.
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <fmt/format.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "kernels/cuda/check.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/start.h"
#include "kernels/num/half.h"
#include "kernels/num/philox.h"

namespace {

using namespace fairway;
using namespace fairway::cuda;

void check(cublasStatus_t code) {
  if (code != CUBLAS_STATUS_SUCCESS) throw DeviceError(fmt::format("cuBLAS: status {}", static_cast<int>(code)));
}

/// Milliseconds that the stream takes for what `queue` queues.
class Timer {
 public:
  explicit Timer(Device& device) : device_(device) {
    FAIRWAY_CUDA(cudaEventCreate(&start_));
    FAIRWAY_CUDA(cudaEventCreate(&end_));
  }
  ~Timer() {
    cudaEventDestroy(start_);
    cudaEventDestroy(end_);
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  template <class F>
  double milliseconds(const F& queue) {
    FAIRWAY_CUDA(cudaEventRecord(start_, device_.stream()));
    queue();
    FAIRWAY_CUDA(cudaEventRecord(end_, device_.stream()));
    FAIRWAY_CUDA(cudaEventSynchronize(end_));
    float ms = 0.0f;
    FAIRWAY_CUDA(cudaEventElapsedTime(&ms, start_, end_));
    return static_cast<double>(ms);
  }

 private:
  Device& device_;
  cudaEvent_t start_ = nullptr, end_ = nullptr;
};

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

std::vector<float> normals(int64_t count, uint32_t stream) {
  std::vector<float> x(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) x[static_cast<size_t>(i)] = num::normal(7, stream, 0, static_cast<uint64_t>(i));
  return x;
}

std::vector<uint16_t> bf16(const std::vector<float>& x) {
  std::vector<uint16_t> y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = static_cast<uint16_t>(num::bits_of(num::round_to_bf16(x[i])) >> 16);
  return y;
}

std::string digest(const std::vector<float>& x) {
  unsigned char d[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(x.data()), x.size() * sizeof(float), d);
  return fmt::format("{:02x}{:02x}{:02x}{:02x}", d[0], d[1], d[2], d[3]);
}

template <class T>
DeviceBuffer<T> upload(Device& device, const std::vector<T>& x) {
  DeviceBuffer<T> b(device, "a benchmark's operand");
  b.upload(x.data(), x.size());
  return b;
}

void run(Device& device, cublasHandle_t cublas, const char* what, int64_t m, int64_t n, int64_t k, int repetitions) {
  const std::vector<float> a = normals(m * k, 1), b = normals(n * k, 2);
  auto on_a = upload(device, a), on_b = upload(device, b);
  auto half_a = upload(device, bf16(a)), half_b = upload(device, bf16(b));
  DeviceBuffer<float> c(device, "a benchmark's product", static_cast<size_t>(m * n));
  kernels::Quantised qa, qb;
  const auto quantise = [&] {
    quantise_rows(device, {on_a.data(), m, k, k}, 14, qa);
    quantise_rows(device, {on_b.data(), n, k, k}, 14, qb);
  };
  const auto multiply = [&](Products p) { exact_matmul(device, qa, qb, p, {c.data(), m, n, n}); };
  const auto digest_of_c = [&] {
    std::vector<float> host(static_cast<size_t>(m * n));
    c.download(host.data());
    return digest(host);
  };
  quantise();
  Timer timer(device);
  std::vector<double> library, p3, p4, p3_all;
  std::string d3, d4;
  const float one = 1.0f, zero = 0.0f;
  for (int r = 0; r <= repetitions; ++r) {
    // cuBLAS counts columns first: C^T (n, m) = B (k, n) turned times A (k, m).
    const double t_library = timer.milliseconds([&] {
      check(cublasGemmEx(cublas, CUBLAS_OP_T, CUBLAS_OP_N, static_cast<int>(n), static_cast<int>(m),
                         static_cast<int>(k), &one, half_b.data(), CUDA_R_16BF, static_cast<int>(k), half_a.data(),
                         CUDA_R_16BF, static_cast<int>(k), &zero, c.data(), CUDA_R_32F, static_cast<int>(n),
                         CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
    });
    const double t_p3 = timer.milliseconds([&] { multiply(Products::kP3); });
    d3 = digest_of_c();
    const double t_p4 = timer.milliseconds([&] { multiply(Products::kP4); });
    d4 = digest_of_c();
    const double t_all = timer.milliseconds([&] {
      quantise();
      multiply(Products::kP3);
    });
    if (r == 0) continue;  // the first launch of a kernel loads it
    library.push_back(t_library);
    p3.push_back(t_p3);
    p4.push_back(t_p4);
    p3_all.push_back(t_all);
  }
  const double t = median(library);
  fmt::print(
      "{:<8} {:>6} {:>5} {:>6} | cuBLAS bf16 {:>8.3f} ms | p3 {:>8.3f} ms ({:.2f}x) {} | p4 {:>8.3f} ms ({:.2f}x) {} | "
      "p3 with quantising {:>8.3f} ms ({:.2f}x)\n",
      what, m, n, k, t, median(p3), t / median(p3), d3, median(p4), t / median(p4), d4, median(p3_all),
      t / median(p3_all));
  std::fflush(stdout);
}

void run_all(int repetitions) {
  Device device;
  cublasHandle_t cublas = nullptr;
  check(cublasCreate(&cublas));
  check(cublasSetStream(cublas, device.stream()));
  fmt::print("Medians of {} interleaved runs on {}; a ratio above 1 is faster than cuBLAS with bf16\n", repetitions,
             device.name());
  constexpr int64_t kTokens = 98304, kWidth = 512;
  for (int64_t out : {512, 1024, 1536}) {
    run(device, cublas, "forward", kTokens, out, kWidth, repetitions);
    run(device, cublas, "dgrad", kTokens, kWidth, out, repetitions);
    run(device, cublas, "wgrad", out, kWidth, kTokens, repetitions);
  }
  check(cublasDestroy(cublas));
}

}  // namespace

int main(int argc, char** argv) {
  const int repetitions = argc > 1 ? std::atoi(argv[1]) : 15;
  try {
    run_all(std::max(repetitions, 1));
  } catch (const DeviceError& e) {
    std::fprintf(stderr, "bench_device_matmul: %s\n", e.what());
    return 69;
  }
  return 0;
}
