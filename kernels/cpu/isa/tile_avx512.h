/// AVX-512 VNNI: vpdpbusd multiplies unsigned by signed bytes, four per 32-bit lane.
///
/// Packed columns are slices + 128 as unsigned bytes; 128 times the row's slice sums is subtracted at the end. Lanes wrap
/// modulo 2^32 (vpdpbusd does not saturate), and the true sums fit in int32, so the subtraction restores them exactly.
/// A panel holds 32 columns: for every 4 of k, every slice, 32 columns x 4 bytes.
#pragma once

#include <immintrin.h>

namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE {

constexpr int64_t kPanelColumns = 32;

FAIRWAY_INLINE size_t packed_bytes(int64_t n, int64_t k, Products products) {
  int64_t panels = (n + kPanelColumns - 1) / kPanelColumns;
  return static_cast<size_t>(panels * kPanelColumns * ((k + 3) / 4 * 4) * slices_of_products(products));
}

/// Packs panel `panel` of the rows of b (n of them) for `multiply`; `out` is the start of all panels.
FAIRWAY_INLINE void pack_panel(const RowsView& b, int64_t n, int64_t k, Products products, int64_t panel, void* out) {
  const int slices = slices_of_products(products);
  const int64_t groups = (k + 3) / 4;
  uint32_t* base = static_cast<uint32_t*>(out) + panel * kPanelColumns * groups * slices;
  // Sixteen groups of 4 at a time: one cache line of every source row, and a stretch of the panel that stays in level 1.
  for (int64_t g0 = 0; g0 < groups; g0 += 16) {
    const int64_t g1 = g0 + 16 < groups ? g0 + 16 : groups;
    for (int64_t c = 0; c < kPanelColumns; ++c) {
      const int64_t row = panel * kPanelColumns + c;
      for (int s = 0; s < slices; ++s) {
        uint32_t* o = base + s * kPanelColumns + c;
        const int8_t* source = row < n ? b.plane[s] + row * b.stride : nullptr;
        for (int64_t g = g0; g < g1; ++g) {
          uint32_t v = 0;
          if (source != nullptr) __builtin_memcpy(&v, source + 4 * g, 4);
          o[g * slices * kPanelColumns] = v ^ 0x80808080u;
        }
      }
    }
  }
}

/// One instruction as text: g++ 12 spills every accumulator when given the intrinsic.
FAIRWAY_INLINE void dot4(__m512i& acc, __m512i columns, __m512i row) {
  asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(columns), "v"(row));
}

template <Products P>
struct Shape {
  static constexpr int kRows = P == Products::kP3 ? 6 : 4;
  static constexpr int kLevels = P == Products::kP3 ? 2 : 3;
  static constexpr int kSlices = P == Products::kS21 ? 3 : 2;
};

FAIRWAY_INLINE void store_vector(const FloatSink& s, int64_t row, int64_t column, __mmask16 mask, __m512i low, __m512i high) {
  __m512 f = _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtepi64_ps(low)), _mm512_cvtepi64_ps(high), 1);
  __m512i n = _mm512_add_epi32(_mm512_set1_epi32(s.row_exponent[row] + s.offset),
                               _mm512_maskz_loadu_epi32(mask, s.column_exponent + column));
  // A factor 2^n with -126 <= n <= 127 is one binary32 multiplication, correctly rounded even into the subnormals.
  __mmask16 wide = _mm512_cmpgt_epu32_mask(_mm512_add_epi32(n, _mm512_set1_epi32(126)), _mm512_set1_epi32(253));
  __m512 result;
  if (__builtin_expect(wide == 0, 1)) {
    result = _mm512_mul_ps(f, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23)));
  } else {
    auto scaled = [](__m256 x, __m256i e) __attribute__((always_inline)) {
      __m512i factor = _mm512_slli_epi64(_mm512_add_epi64(_mm512_cvtepi32_epi64(e), _mm512_set1_epi64(1023)), 52);
      return _mm512_cvtpd_ps(_mm512_mul_pd(_mm512_cvtps_pd(x), _mm512_castsi512_pd(factor)));
    };
    __m256 a = scaled(_mm512_castps512_ps256(f), _mm512_castsi512_si256(n));
    __m256 b = scaled(_mm512_extractf32x8_ps(f, 1), _mm512_extracti64x4_epi64(n, 1));
    result = _mm512_insertf32x8(_mm512_castps256_ps512(a), b, 1);
  }
  _mm512_mask_storeu_ps(s.c + row * s.ldc + column, mask, result);
}

FAIRWAY_INLINE void store_vector(const GridSink& s, int64_t row, int64_t column, __mmask16 mask, __m512i low, __m512i high) {
  int64_t* out = s.acc + row * s.ld + column;
  __m512d factor = _mm512_set1_pd(s.row_factor[row]);
  __m512i a = _mm512_cvtpd_epi64(_mm512_mul_pd(_mm512_cvtepi64_pd(low), factor));
  __m512i b = _mm512_cvtpd_epi64(_mm512_mul_pd(_mm512_cvtepi64_pd(high), factor));
  __mmask8 mask_low = static_cast<__mmask8>(mask), mask_high = static_cast<__mmask8>(mask >> 8);
  _mm512_mask_storeu_epi64(out, mask_low, _mm512_add_epi64(_mm512_maskz_loadu_epi64(mask_low, out), a));
  _mm512_mask_storeu_epi64(out + 8, mask_high, _mm512_add_epi64(_mm512_maskz_loadu_epi64(mask_high, out + 8), b));
}

/// kRows x 32 outputs from one panel. `sums` holds the slice sums of the rows, [row][3].
template <Products P, int Rows, class Sink>
FAIRWAY_INLINE void micro_tile(const RowsView& a, int64_t row0, const uint8_t* panel, int64_t k, const int32_t* sums,
                               int64_t column0, int64_t columns, const Sink& sink) {
  constexpr int kLevels = Shape<P>::kLevels;
  __m512i acc[Rows][kLevels][2];
  unroll<Rows>([&](auto r) __attribute__((always_inline)) {
    unroll<kLevels>([&](auto l) __attribute__((always_inline)) {
      acc[r][l][0] = _mm512_setzero_si512();
      acc[r][l][1] = _mm512_setzero_si512();
    });
  });
  const int8_t* rows[3] = {a.plane[0] + row0 * a.stride, a.plane[1] + row0 * a.stride,
                           P == Products::kS21 ? a.plane[2] + row0 * a.stride : nullptr};
  for (int64_t i = 0; i < k; i += 4) {
    __m512i b[Shape<P>::kSlices][2];
    unroll<Shape<P>::kSlices>([&](auto s) __attribute__((always_inline)) {
      b[s][0] = _mm512_loadu_si512(panel + 128 * s);
      b[s][1] = _mm512_loadu_si512(panel + 128 * s + 64);
    });
    panel += 128 * Shape<P>::kSlices;
    unroll<Rows>([&](auto r) __attribute__((always_inline)) {
      unroll<Shape<P>::kSlices>([&](auto s) __attribute__((always_inline)) {
        int32_t four;
        __builtin_memcpy(&four, rows[s] + r * a.stride + i, 4);
        __m512i v = _mm512_set1_epi32(four);
        unroll<Shape<P>::kSlices>([&](auto t) __attribute__((always_inline)) {
          if constexpr (s + t < kLevels) {
            dot4(acc[r][s + t][0], b[t][0], v);
            dot4(acc[r][s + t][1], b[t][1], v);
          }
        });
      });
    });
  }
  unroll<Rows>([&](auto r) __attribute__((always_inline)) {
    const int32_t* s = sums + 3 * r;
    uint32_t correction[3];
    for (int l = 0; l < 3; ++l) {
      // Level l holds the products of row slices s with s <= l and column slice l - s.
      uint32_t sum = 0;
      for (int i = 0; i < Shape<P>::kSlices; ++i) {
        if (i <= l && l - i < Shape<P>::kSlices) sum += static_cast<uint32_t>(s[i]);
      }
      correction[l] = 128u * sum;
    }
    unroll<2>([&](auto c) __attribute__((always_inline)) {
      const int64_t column = column0 + 16 * c;
      if (column < columns) {
        __m512i low = _mm512_setzero_si512(), high = _mm512_setzero_si512();
        unroll<kLevels>([&](auto l) __attribute__((always_inline)) {
          __m512i v = _mm512_sub_epi32(acc[r][l][c], _mm512_set1_epi32(static_cast<int32_t>(correction[l])));
          low = _mm512_add_epi64(_mm512_slli_epi64(low, 7), _mm512_cvtepi32_epi64(_mm512_castsi512_si256(v)));
          high = _mm512_add_epi64(_mm512_slli_epi64(high, 7), _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(v, 1)));
        });
        int64_t left = columns - column;
        __mmask16 mask = left >= 16 ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1u << left) - 1u);
        store_vector(sink, row0 + r, column, mask, low, high);
      }
    });
  });
}

template <Products P, class Sink>
FAIRWAY_INLINE void multiply_scheme(const RowsView& a, int64_t m, const void* packed, int64_t n, int64_t k, const Sink& sink) {
  constexpr int kRows = Shape<P>::kRows;
  constexpr int kSlices = Shape<P>::kSlices;
  int32_t sums[kMaxTileRows * 3];
  const __m512i ones = _mm512_set1_epi8(1);
  for (int64_t r = 0; r < m; ++r) {
    for (int s = 0; s < kSlices; ++s) {
      __m512i sum = _mm512_setzero_si512();
      const int8_t* p = a.plane[s] + r * a.stride;
      for (int64_t i = 0; i < k; i += 64) sum = _mm512_dpbusd_epi32(sum, ones, _mm512_loadu_si512(p + i));
      sums[3 * r + s] = _mm512_reduce_add_epi32(sum);
    }
  }
  const int64_t groups = (k + 3) / 4;
  const int64_t panel_bytes = kPanelColumns * 4 * groups * kSlices;
  for (int64_t column = 0; column < n; column += kPanelColumns) {
    const uint8_t* panel = static_cast<const uint8_t*>(packed) + column / kPanelColumns * panel_bytes;
    int64_t r = 0;
    for (; r + kRows <= m; r += kRows) micro_tile<P, kRows>(a, r, panel, 4 * groups, sums + 3 * r, column, n, sink);
    for (; r + 2 <= m; r += 2) micro_tile<P, 2>(a, r, panel, 4 * groups, sums + 3 * r, column, n, sink);
    for (; r < m; ++r) micro_tile<P, 1>(a, r, panel, 4 * groups, sums + 3 * r, column, n, sink);
  }
}

}  // namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE
