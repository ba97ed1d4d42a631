#include "kernels/cpu/parallel.h"

#include <omp.h>

#include <cstdio>
#include <cstdlib>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fairway::kernels {

#if defined(__x86_64__)
namespace {
constexpr unsigned kDefaultMxcsr = 0x1f80;       // all exceptions masked, round to nearest, no FTZ, no DAZ
constexpr unsigned kMxcsrStatusFlags = 0x003f;  // sticky exception flags say nothing about the mode
}  // namespace
void set_control_word() { _mm_setcsr(kDefaultMxcsr); }
bool control_word_ok() { return (_mm_getcsr() & ~kMxcsrStatusFlags) == kDefaultMxcsr; }
#elif defined(__aarch64__)
namespace {
// FZ (24), RMode (22-23), FZ16 (19) and, with FEAT_AFP, FIZ (0), AH (1), NEP (2) all change results.
constexpr uint64_t kFpcrModeBits = (7ull << 22) | (1ull << 19) | 7ull;
uint64_t read_fpcr() {
  uint64_t v;
  asm volatile("mrs %0, fpcr" : "=r"(v));
  return v;
}
}  // namespace
void set_control_word() { asm volatile("msr fpcr, %0" : : "r"(read_fpcr() & ~kFpcrModeBits)); }
bool control_word_ok() { return (read_fpcr() & kFpcrModeBits) == 0; }
#else
#error "No control word code for this processor: without it a flushed subnormal would go unnoticed"
#endif

namespace {
/// A worker whose control word changed under it has computed other bits than it promised: nothing can be saved.
void require_control_word() {
  if (control_word_ok()) return;
  std::fprintf(stderr, "fairway: a worker's floating-point control word was changed while it ran (flush-to-zero or another rounding mode)\n");
  std::abort();
}
}  // namespace

void parallel_for(int64_t count, const std::function<void(int64_t)>& body) {
  if (count <= 0) return;
  if (count == 1 || omp_in_parallel()) {
    set_control_word();
    for (int64_t i = 0; i < count; ++i) body(i);
    require_control_word();
    return;
  }
#pragma omp parallel
  {
    set_control_word();
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < count; ++i) body(i);
    require_control_word();
  }
}

void parallel_ranges(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  int64_t ranges = (count + grain - 1) / grain;
  parallel_for(ranges, [&](int64_t r) {
    int64_t begin = r * grain;
    int64_t end = begin + grain < count ? begin + grain : count;
    body(begin, end);
  });
}

int thread_count() { return omp_get_max_threads(); }
void set_thread_count(int threads) { omp_set_num_threads(threads); }

}  // namespace fairway::kernels
