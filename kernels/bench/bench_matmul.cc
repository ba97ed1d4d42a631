/// Exact products against OpenBLAS sgemm (what a user would call instead) and two oneDNN s8s8s32 calls (the library way to the
/// same integers, combining not included; it uses VNNI whatever FAIRWAY_ISA says), interleaved in one run, with the digest of every result.
///
/// Usage: bench_matmul [repetitions]. Threads: OMP_NUM_THREADS; instruction set: FAIRWAY_ISA.
#include <cblas.h>
#include <fmt/format.h>
#include <openssl/sha.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/parallel.h"
#include "kernels/matmul.h"
#include "kernels/num/philox.h"

extern "C" int dnnl_gemm_s8s8s32(char transa, char transb, char offsetc, int64_t m, int64_t n, int64_t k, float alpha, const int8_t* a,
                                 int64_t lda, int8_t ao, const int8_t* b, int64_t ldb, int8_t bo, float beta, int32_t* c, int64_t ldc,
                                 const int32_t* co);

namespace {

using namespace fairway;
using namespace fairway::kernels;
using Clock = std::chrono::steady_clock;

template <class F>
double seconds(const F& f) {
  const auto start = Clock::now();
  f();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double>& v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

std::string digest(const std::vector<float>& x) {
  unsigned char d[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(x.data()), x.size() * sizeof(float), d);
  return fmt::format("{:02x}{:02x}{:02x}{:02x}", d[0], d[1], d[2], d[3]);
}

std::vector<float> normals(int64_t count, uint32_t stream) {
  std::vector<float> x(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) x[static_cast<size_t>(i)] = num::normal(7, stream, 0, static_cast<uint64_t>(i));
  return x;
}

struct ShapeMNK {
  const char* what;
  int64_t m, n, k;
};

void run(const ShapeMNK& s, int repetitions, bool vnni) {
  const auto a = normals(s.m * s.k, 1), b = normals(s.n * s.k, 2);
  std::vector<float> c(static_cast<size_t>(s.m * s.n)), reference(c.size());
  Quantised qa, qb;
  auto quantise = [&] {
    if (!quantise_rows(a.data(), s.m, s.k, s.k, 14, qa) || !quantise_rows(b.data(), s.n, s.k, s.k, 14, qb)) std::abort();
  };
  quantise();
  std::vector<int32_t> integers(vnni ? c.size() : 0);
  std::vector<int8_t> wide_a(vnni ? static_cast<size_t>(2 * s.m * s.k) : 0), wide_b(vnni ? static_cast<size_t>(2 * s.n * s.k) : 0);
  std::vector<double> blas, p3, p4, p3_all, onednn;
  std::string d3, d4;
  const int32_t zero = 0;
  for (int r = 0; r <= repetitions; ++r) {
    const double t_blas = seconds([&] {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(s.m), static_cast<int>(s.n), static_cast<int>(s.k), 1.0f, a.data(),
                  static_cast<int>(s.k), b.data(), static_cast<int>(s.k), 0.0f, reference.data(), static_cast<int>(s.n));
    });
    const double t_p3 = seconds([&] { exact_matmul(qa, qb, Products::kP3, c.data(), s.n); });
    d3 = digest(c);
    const double t_p4 = seconds([&] { exact_matmul(qa, qb, Products::kP4, c.data(), s.n); });
    d4 = digest(c);
    const double t_all = seconds([&] {
      quantise();
      exact_matmul(qa, qb, Products::kP3, c.data(), s.n);
    });
    const double t_dnn = !vnni ? 0.0 : seconds([&] {
      dnnl_gemm_s8s8s32('N', 'T', 'F', s.m, s.n, s.k, 1.0f, qa.plane(0), qa.stride(), 0, qb.plane(0), qb.stride(), 0, 0.0f, integers.data(), s.n, &zero);
      dnnl_gemm_s8s8s32('N', 'T', 'F', s.m, s.n, 2 * s.k, 1.0f, wide_a.data(), 2 * s.k, 0, wide_b.data(), 2 * s.k, 0, 0.0f, integers.data(), s.n, &zero);
    });
    if (r == 0) continue;  // warms caches and thread pools
    blas.push_back(t_blas);
    p3.push_back(t_p3);
    p4.push_back(t_p4);
    p3_all.push_back(t_all);
    onednn.push_back(t_dnn);
  }
  const double flop = 2e-9 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
  const double t = median(blas);
  fmt::print("{:<8} {:>5} {:>5} {:>5} | sgemm {:>6.1f} | p3 {:>6.1f} ({:.2f}x) {} | p4 {:>6.1f} ({:.2f}x) {} | p3 with quantising {:>6.1f} ({:.2f}x) | oneDNN {:>6.1f}\n",
             s.what, s.m, s.n, s.k, flop / t, flop / median(p3), t / median(p3), d3, flop / median(p4), t / median(p4), d4,
             flop / median(p3_all), t / median(p3_all), vnni ? flop / median(onednn) : 0.0);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  // OpenBLAS 0.3.21 does not know recent Xeons and falls back to its SSE3 kernels; the comparison must be with the best it has
  // for the instruction set under test: AVX-512 kernels, or AVX2 ones where AVX2 is forced (a machine without AVX-512).
  if (std::getenv("OPENBLAS_CORETYPE") == nullptr && active_isa() != Isa::kPortable) {
    setenv("OPENBLAS_CORETYPE", active_isa() == Isa::kAvx512 ? "SKYLAKEX" : "HASWELL", 1);
    execv("/proc/self/exe", argv);
  }
  const int repetitions = argc > 1 ? std::atoi(argv[1]) : 15;
  openblas_set_num_threads(thread_count());
  set_control_word();
  fmt::print("GFLOP/s of the same 2 M N K, medians of {} interleaved runs; {} threads, FAIRWAY_ISA {}, OpenBLAS {}\n", repetitions,
             thread_count(), isa_name(active_isa()), openblas_get_corename());
  for (int64_t out : {512, 1024, 1536}) {
    run({"forward", 8192, out, 512}, repetitions, isa_available(Isa::kAvx512));
    run({"dgrad", 8192, 512, out}, repetitions, isa_available(Isa::kAvx512));
    run({"wgrad", out, 512, 8192}, repetitions, isa_available(Isa::kAvx512));
  }
  return 0;
}
