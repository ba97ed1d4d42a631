/// Exact products of quantised rows by packed columns, one thread: the heart of matmul and attention.
///
/// T[m][n] is the integer sum of the kept slice products divided by their common power of two, 2^tile_shift:
/// p3: (128 hh + x) with shift 7; p4: (2^14 hh + 2^7 x + ll) with shift 0; s21: (2^14 s0 + 2^7 s1 + s2) with shift 14.
/// A sink receives T row by row and decides what to store. Three implementations, one contract.
#pragma once

#include <cstddef>
#include <type_traits>

#include "kernels/cpu/isa/isa_config.h"
#include "kernels/cpu/isa/tile_scratch.h"
#include "kernels/num/exact_sum.h"
#include "kernels/quantised.h"

namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE {

/// Most rows a caller hands to one `multiply`.
constexpr int64_t kMaxTileRows = 96;

FAIRWAY_INLINE void* tile_scratch(size_t bytes) { return scratch(ScratchSlot::kTile, bytes); }

/// Compile-time loop: arrays of vectors stay in registers only if every index is a constant in the front end.
template <int N, int I = 0, class F>
FAIRWAY_INLINE void unroll(F&& f) {
  if constexpr (I < N) {
    f(std::integral_constant<int, I>{});
    unroll<N, I + 1>(f);
  }
}

FAIRWAY_INLINE int tile_shift(Products p) { return p == Products::kP3 ? 7 : p == Products::kP4 ? 0 : 14; }

/// Stores binary32: fl32(S) * 2^(ea + eb - 2b).
struct FloatSink {
  float* c;  ///< (m, n), row stride ldc
  int64_t ldc;
  const int32_t* row_exponent;
  const int32_t* column_exponent;
  int32_t offset;  ///< tile_shift - 2b

  FAIRWAY_INLINE void store(const FloatSink& s, int64_t row, int64_t column, int64_t count, const int64_t* t) {
    float* out = s.c + row * s.ldc + column;
    int32_t base = s.row_exponent[row] + s.offset;
    for (int64_t j = 0; j < count; ++j) out[j] = num::scale_pow2(static_cast<float>(t[j]), base + s.column_exponent[column + j]);
  }
};

/// Adds to int64 accumulators on a grid: acc += rint(S * row_factor), |S| < 2^53, |S * row_factor| < 2^51.
struct GridSink {
  int64_t* acc;  ///< (m, n), row stride ld
  int64_t ld;
  const double* row_factor;  ///< a power of two per row, tile_shift included

  FAIRWAY_INLINE void store(const GridSink& s, int64_t row, int64_t column, int64_t count, const int64_t* t) {
    int64_t* out = s.acc + row * s.ld + column;
    double factor = s.row_factor[row];
    for (int64_t j = 0; j < count; ++j) out[j] += num::move_to_grid(static_cast<double>(t[j]), factor);
  }
};

}  // namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE

#if FAIRWAY_ISA_LEVEL == 2
#include "kernels/cpu/isa/tile_avx512.h"
#elif FAIRWAY_ISA_LEVEL == 1
#include "kernels/cpu/isa/tile_avx2.h"
#else
#include "kernels/cpu/isa/tile_portable.h"
#endif

namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE {

/// Sends T of rows 0..m-1 of `a` (m <= kMaxTileRows) times all packed columns to the sink.
template <class Sink>
FAIRWAY_INLINE void multiply(const RowsView& a, int64_t m, const void* packed, int64_t n, int64_t k, Products products,
                             const Sink& sink) {
  if (products == Products::kP3) return multiply_scheme<Products::kP3>(a, m, packed, n, k, sink);
  if (products == Products::kP4) return multiply_scheme<Products::kP4>(a, m, packed, n, k, sink);
  multiply_scheme<Products::kS21>(a, m, packed, n, k, sink);
}

FAIRWAY_INLINE int64_t panel_count(int64_t n) { return (n + kPanelColumns - 1) / kPanelColumns; }

}  // namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE
