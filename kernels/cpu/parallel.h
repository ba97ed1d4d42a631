/// Loops over independent work items on all OpenMP threads.
///
/// Every worker sets the floating-point control word (round to nearest even, no flush-to-zero, exceptions masked) before its
/// first item and checks it after its last: a library loaded with fast-math switches flush-to-zero on per thread.
#pragma once

#include <cstdint>
#include <functional>

namespace fairway::kernels {

/// Calls body(i) for i in [0, count), in any order and concurrently; items must not share what they write.
void parallel_for(int64_t count, const std::function<void(int64_t)>& body);

/// Calls body(begin, end) on ranges that cover [0, count), each at most `grain` long.
void parallel_ranges(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

/// Calls f(i) for i in [0, count), many on a worker's turn: for single elements.
template <class F>
void parallel_elements(int64_t count, const F& f) {
  parallel_ranges(count, 16384, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i);
  });
}

/// Sets the control word of the calling thread; parallel_for does it for its workers.
void set_control_word();
/// True if rounding is to nearest and nothing is flushed to zero on the calling thread.
bool control_word_ok();

int thread_count();
void set_thread_count(int threads);

}  // namespace fairway::kernels
