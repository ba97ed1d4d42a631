/// Portable C++: dot products of int16 streams, in a form that compilers turn into pmaddwd, smlal and the like.
///
/// With A = 128 ah + al, p3 is one dot product per element, (A, ah) . (bh, bl), twice as long as k; p4 is two, A . bh
/// and A . bl; s21 is (A, a2) . (b2, b1) with A = 128 a2 + a1 for the upper two levels and (a2, a1, a0) . (b0, b1, b2)
/// for the lowest (2 = highest slice). The terms of one k add up to at most 16319 * 127 + 127 * 64, so int32 holds
/// 1,024 of k.
#pragma once

namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE {

constexpr int64_t kPanelColumns = 16;
constexpr int64_t kColumnsAtOnce = 4;
constexpr int64_t kBlock = 1024;

/// int16 per k of the upper and the lower dot product; the rows of p4 have the same words in both.
template <Products P>
constexpr int kUpperWords = P == Products::kP4 ? 1 : 2;
template <Products P>
constexpr int kLowerWords = P == Products::kP3   ? 0
                            : P == Products::kP4 ? 1
                                                 : 3;
template <Products P>
constexpr int kWords = kUpperWords<P> + kLowerWords<P>;

FAIRWAY_INLINE size_t packed_bytes(int64_t n, int64_t k, Products products) {
  const int64_t panels = (n + kPanelColumns - 1) / kPanelColumns;
  const int words = products == Products::kP3   ? kWords<Products::kP3>
                    : products == Products::kP4 ? kWords<Products::kP4>
                                                : kWords<Products::kS21>;
  return static_cast<size_t>(panels * kPanelColumns * k * words) * sizeof(int16_t);
}

/// The words of one column: those of the upper product for all k, then those of the lower.
template <Products P>
FAIRWAY_INLINE void column_words(const RowsView& b, int64_t row, int64_t k, int16_t* out) {
  const int8_t* s0 = b.plane[0] + row * b.stride;
  const int8_t* s1 = b.plane[1] + row * b.stride;
  int16_t* lower = out + k * kUpperWords<P>;
  if constexpr (P == Products::kP4) {
    for (int64_t i = 0; i < k; ++i) out[i] = s0[i];
    for (int64_t i = 0; i < k; ++i) lower[i] = s1[i];
  } else {
    for (int64_t i = 0; i < k; ++i) {
      out[2 * i] = s0[i];
      out[2 * i + 1] = s1[i];
    }
  }
  if constexpr (P == Products::kS21) {
    const int8_t* s2 = b.plane[2] + row * b.stride;
    for (int64_t i = 0; i < k; ++i) {
      lower[3 * i] = s2[i];
      lower[3 * i + 1] = s1[i];
      lower[3 * i + 2] = s0[i];
    }
  }
}

/// The words of one row likewise.
template <Products P>
FAIRWAY_INLINE void row_words(const RowsView& a, int64_t row, int64_t k, int16_t* out) {
  const int8_t* s0 = a.plane[0] + row * a.stride;
  const int8_t* s1 = a.plane[1] + row * a.stride;
  int16_t* lower = out + k * kUpperWords<P>;
  if constexpr (P == Products::kP4) {
    for (int64_t i = 0; i < k; ++i) lower[i] = out[i] = static_cast<int16_t>(128 * s0[i] + s1[i]);
  } else {
    for (int64_t i = 0; i < k; ++i) {
      out[2 * i] = static_cast<int16_t>(128 * s0[i] + s1[i]);
      out[2 * i + 1] = s0[i];
    }
  }
  if constexpr (P == Products::kS21) {
    const int8_t* s2 = a.plane[2] + row * a.stride;
    for (int64_t i = 0; i < k; ++i) {
      lower[3 * i] = s0[i];
      lower[3 * i + 1] = s1[i];
      lower[3 * i + 2] = s2[i];
    }
  }
}

template <Products P>
FAIRWAY_INLINE void pack_panel_scheme(const RowsView& b, int64_t n, int64_t k, int64_t panel, void* out) {
  int16_t* column = static_cast<int16_t*>(out) + panel * kPanelColumns * k * kWords<P>;
  for (int64_t c = 0; c < kPanelColumns; ++c, column += k * kWords<P>) {
    const int64_t row = panel * kPanelColumns + c;
    if (row < n) {
      column_words<P>(b, row, k, column);
    } else {
      for (int64_t i = 0; i < k * kWords<P>; ++i) column[i] = 0;
    }
  }
}

FAIRWAY_INLINE void pack_panel(const RowsView& b, int64_t n, int64_t k, Products products, int64_t panel, void* out) {
  if (products == Products::kP3) return pack_panel_scheme<Products::kP3>(b, n, k, panel, out);
  if (products == Products::kP4) return pack_panel_scheme<Products::kP4>(b, n, k, panel, out);
  pack_panel_scheme<Products::kS21>(b, n, k, panel, out);
}

/// out[c] = factor * out[c] + a . (column c of b), `block` words per int32 sum.
FAIRWAY_INLINE void add_dots(const int16_t* a, const int16_t* b, int64_t stride, int64_t words, int64_t block,
                             int64_t factor, int64_t* out) {
  const int16_t* b1 = b + stride;
  const int16_t* b2 = b1 + stride;
  const int16_t* b3 = b2 + stride;
  for (int64_t c = 0; c < kColumnsAtOnce; ++c) out[c] *= factor;
  for (int64_t begin = 0; begin < words; begin += block) {
    const int64_t end = begin + block < words ? begin + block : words;
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    for (int64_t i = begin; i < end; ++i) {
      const int32_t word = a[i];
      sum0 += word * b[i];
      sum1 += word * b1[i];
      sum2 += word * b2[i];
      sum3 += word * b3[i];
    }
    out[0] += sum0;
    out[1] += sum1;
    out[2] += sum2;
    out[3] += sum3;
  }
}

template <Products P, class Sink>
FAIRWAY_INLINE void multiply_scheme(const RowsView& a, int64_t m, const void* packed, int64_t n, int64_t k,
                                    const Sink& sink) {
  const int64_t words = k * kWords<P>, upper = k * kUpperWords<P>, lower = k * kLowerWords<P>;
  int16_t* rows = static_cast<int16_t*>(tile_scratch(static_cast<size_t>(m * words) * sizeof(int16_t)));
  for (int64_t r = 0; r < m; ++r) row_words<P>(a, r, k, rows + r * words);
  for (int64_t column = 0; column < n; column += kPanelColumns) {
    const int16_t* panel = static_cast<const int16_t*>(packed) + column * words;
    const int64_t count = n - column < kPanelColumns ? n - column : kPanelColumns;
    for (int64_t r = 0; r < m; ++r) {
      const int16_t* row = rows + r * words;
      int64_t t[kPanelColumns] = {};
      for (int64_t c = 0; c < count; c += kColumnsAtOnce) {
        add_dots(row, panel + c * words, words, upper, kBlock * kUpperWords<P>, 1, t + c);
        if constexpr (kLowerWords < P >> 0)
          add_dots(row + upper, panel + c * words + upper, words, lower, kBlock * kLowerWords<P>, 128, t + c);
      }
      Sink::store(sink, r, column, count, t);
    }
  }
}

}  // namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE
