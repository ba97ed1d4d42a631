/// AVX2: vpmaddwd multiplies int16 pairs and adds each pair into a 32-bit lane.
///
/// p3 needs one accumulator: with A = 128 ah + al, A * bh + ah * bl = (S without al * bl) / 2^7, so one pair per k,
/// (A, ah) . (bh, bl). p4: A * bh and A * bl. s21: (A, a2) . (b2, b1) with A = 128 a2 + a1 for the upper two levels and
/// a2 b0 + a1 b1 + a0 b2 for the lowest (2 = highest slice). Each term is at most 16319 * 127 + 127 * 64, so a lane holds 1,024
/// of k before it moves to int64. A panel holds 16 columns: for every two of k, every stream, 16 columns x 2 int16.
#pragma once

#include <immintrin.h>

namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE {

constexpr int64_t kPanelColumns = 16;
constexpr int64_t kPairsPerBlock = 512;

/// Streams of one pair of k: which row dword and which accumulator each uses.
template <Products P>
struct Shape;
template <>
struct Shape<Products::kP3> {
  static constexpr int kStreams = 2, kRowWords = 2, kAccumulators = 1, kRows = 6;
  static constexpr int kRowWord[2] = {0, 1}, kAccumulator[2] = {0, 0};
};
template <>
struct Shape<Products::kP4> {
  static constexpr int kStreams = 2, kRowWords = 1, kAccumulators = 2, kRows = 3;
  static constexpr int kRowWord[2] = {0, 0}, kAccumulator[2] = {0, 1};
};
template <>
struct Shape<Products::kS21> {
  static constexpr int kStreams = 5, kRowWords = 5, kAccumulators = 2, kRows = 3;
  static constexpr int kRowWord[5] = {0, 1, 2, 3, 4}, kAccumulator[5] = {0, 0, 1, 1, 1};
};

FAIRWAY_INLINE uint32_t pair_word(int32_t low, int32_t high) {
  return (static_cast<uint32_t>(low) & 0xffffu) | (static_cast<uint32_t>(high) << 16);
}

/// Row words of `pairs` pairs of k from the start of three slices.
template <Products P>
FAIRWAY_INLINE void row_words(const int8_t* __restrict s0, const int8_t* __restrict s1, const int8_t* __restrict s2, int64_t pairs,
                              uint32_t* __restrict out) {
  if constexpr (P == Products::kP3) {
    for (int64_t k = 0; k < 2 * pairs; ++k) out[k] = pair_word(128 * s0[k] + s1[k], s0[k]);
  } else if constexpr (P == Products::kP4) {
    for (int64_t i = 0; i < pairs; ++i) out[i] = pair_word(128 * s0[2 * i] + s1[2 * i], 128 * s0[2 * i + 1] + s1[2 * i + 1]);
  } else {
    for (int64_t i = 0; i < pairs; ++i, out += 5) {
      const int64_t k = 2 * i;
      out[0] = pair_word(128 * s0[k] + s1[k], s0[k]);
      out[1] = pair_word(128 * s0[k + 1] + s1[k + 1], s0[k + 1]);
      out[2] = pair_word(s0[k], s1[k]);
      out[3] = pair_word(s0[k + 1], s1[k + 1]);
      out[4] = pair_word(s2[k], s2[k + 1]);
    }
  }
}

/// Column words likewise: kStreams per pair.
template <Products P>
FAIRWAY_INLINE void column_words(const int8_t* __restrict s0, const int8_t* __restrict s1, const int8_t* __restrict s2, int64_t pairs,
                                 uint32_t* __restrict out) {
  if constexpr (P == Products::kP3) {
    for (int64_t k = 0; k < 2 * pairs; ++k) out[k] = pair_word(s0[k], s1[k]);
  } else if constexpr (P == Products::kP4) {
    for (int64_t i = 0; i < pairs; ++i) {
      out[2 * i] = pair_word(s0[2 * i], s0[2 * i + 1]);
      out[2 * i + 1] = pair_word(s1[2 * i], s1[2 * i + 1]);
    }
  } else {
    for (int64_t i = 0; i < pairs; ++i, out += 5) {
      const int64_t k = 2 * i;
      out[0] = pair_word(s0[k], s1[k]);
      out[1] = pair_word(s0[k + 1], s1[k + 1]);
      out[2] = pair_word(s2[k], s1[k]);
      out[3] = pair_word(s2[k + 1], s1[k + 1]);
      out[4] = pair_word(s0[k], s0[k + 1]);
    }
  }
}

FAIRWAY_INLINE size_t packed_bytes(int64_t n, int64_t k, Products products) {
  int64_t panels = (n + kPanelColumns - 1) / kPanelColumns;
  return static_cast<size_t>(panels * kPanelColumns * ((k + 1) / 2) * (products == Products::kS21 ? 5 : 2) * 4);
}

template <Products P>
FAIRWAY_INLINE void pack_panel_scheme(const RowsView& b, int64_t n, int64_t k, int64_t panel, void* out) {
  constexpr int64_t kStreams = Shape<P>::kStreams, kRun = 16;
  const int64_t pairs = (k + 1) / 2;
  uint32_t* base = static_cast<uint32_t*>(out) + panel * kPanelColumns * pairs * kStreams;
  for (int64_t i0 = 0; i0 < pairs; i0 += kRun) {
    const int64_t run = pairs - i0 < kRun ? pairs - i0 : kRun;
    for (int64_t c = 0; c < kPanelColumns; ++c) {
      const int64_t row = panel * kPanelColumns + c;
      uint32_t words[kRun * kStreams] = {};
      if (row < n) {
        const int64_t at = row * b.stride + 2 * i0;
        column_words<P>(b.plane[0] + at, b.plane[1] + at, P == Products::kS21 ? b.plane[2] + at : nullptr, run, words);
      }
      for (int64_t w = 0; w < run * kStreams; ++w) base[(i0 * kStreams + w) * kPanelColumns + c] = words[w];
    }
  }
}

FAIRWAY_INLINE void pack_panel(const RowsView& b, int64_t n, int64_t k, Products products, int64_t panel, void* out) {
  if (products == Products::kP3) return pack_panel_scheme<Products::kP3>(b, n, k, panel, out);
  if (products == Products::kP4) return pack_panel_scheme<Products::kP4>(b, n, k, panel, out);
  pack_panel_scheme<Products::kS21>(b, n, k, panel, out);
}

/// acc += madd(a, b), two instructions as text: g++ 12 spills accumulators when given the intrinsics.
FAIRWAY_INLINE void add_products(__m256i& acc, __m256i a, __m256i b) {
  __m256i products;
  asm("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(acc), "=&x"(products) : "x"(a), "x"(b));
}

/// Adds pairs [begin, end) of Rows rows x 16 columns to the int64 tile t.
template <Products P, int Rows>
FAIRWAY_INLINE void micro_block(const uint32_t* words, int64_t word_stride, const uint32_t* panel, int64_t begin, int64_t end,
                                int64_t (*t)[16]) {
  using S = Shape<P>;
  __m256i acc[Rows][S::kAccumulators][2];
  unroll<Rows>([&](auto r) __attribute__((always_inline)) {
    unroll<S::kAccumulators>([&](auto l) __attribute__((always_inline)) {
      acc[r][l][0] = _mm256_setzero_si256();
      acc[r][l][1] = _mm256_setzero_si256();
    });
  });
  const uint32_t* b = panel + begin * S::kStreams * kPanelColumns;
  for (int64_t i = begin; i < end; ++i) {
    unroll<S::kStreams>([&](auto s) __attribute__((always_inline)) {
      __m256i b0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + s * kPanelColumns));
      __m256i b1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + s * kPanelColumns + 8));
      unroll<Rows>([&](auto r) __attribute__((always_inline)) {
        constexpr int l = S::kAccumulator[s];
        __m256i v = _mm256_set1_epi32(static_cast<int32_t>(words[r * word_stride + i * S::kRowWords + S::kRowWord[s]]));
        add_products(acc[r][l][0], v, b0);
        add_products(acc[r][l][1], v, b1);
      });
    });
    b += S::kStreams * kPanelColumns;
  }
  unroll<Rows>([&](auto r) __attribute__((always_inline)) {
    alignas(32) int32_t lanes[S::kAccumulators][16];
    unroll<S::kAccumulators>([&](auto l) __attribute__((always_inline)) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(lanes[l]), acc[r][l][0]);
      _mm256_store_si256(reinterpret_cast<__m256i*>(lanes[l] + 8), acc[r][l][1]);
    });
    for (int j = 0; j < 16; ++j) {
      int64_t sum = lanes[0][j];
      if constexpr (S::kAccumulators == 2) sum = 128 * sum + lanes[1][j];
      t[r][j] += sum;
    }
  });
}

template <Products P, int Rows, class Sink>
FAIRWAY_INLINE void micro_tile(const uint32_t* words, int64_t word_stride, int64_t row0, const uint32_t* panel, int64_t pairs,
                               int64_t column0, int64_t columns, const Sink& sink) {
  int64_t t[Rows][16] = {};
  for (int64_t begin = 0; begin < pairs; begin += kPairsPerBlock) {
    int64_t end = begin + kPairsPerBlock < pairs ? begin + kPairsPerBlock : pairs;
    micro_block<P, Rows>(words, word_stride, panel, begin, end, t);
  }
  int64_t count = columns - column0 < kPanelColumns ? columns - column0 : kPanelColumns;
  for (int r = 0; r < Rows; ++r) Sink::store(sink, row0 + r, column0, count, t[r]);
}

template <Products P, class Sink>
FAIRWAY_INLINE void multiply_scheme(const RowsView& a, int64_t m, const void* packed, int64_t n, int64_t k, const Sink& sink) {
  using S = Shape<P>;
  const int64_t pairs = (k + 1) / 2;
  const int64_t word_stride = pairs * S::kRowWords;
  uint32_t* words = static_cast<uint32_t*>(tile_scratch(static_cast<size_t>(m * word_stride) * 4));
  for (int64_t r = 0; r < m; ++r) {
    const int64_t at = r * a.stride;
    row_words<P>(a.plane[0] + at, a.plane[1] + at, P == Products::kS21 ? a.plane[2] + at : nullptr, pairs, words + r * word_stride);
  }
  for (int64_t column = 0; column < n; column += kPanelColumns) {
    const uint32_t* panel = static_cast<const uint32_t*>(packed) + column * pairs * S::kStreams;
    int64_t r = 0;
    for (; r + S::kRows <= m; r += S::kRows) {
      micro_tile<P, S::kRows>(words + r * word_stride, word_stride, r, panel, pairs, column, n, sink);
    }
    for (; r < m; ++r) micro_tile<P, 1>(words + r * word_stride, word_stride, r, panel, pairs, column, n, sink);
  }
}

}  // namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE
