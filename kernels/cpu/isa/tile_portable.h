/// Portable C++: the definition, one dot product at a time. int32 holds 1,024 of k of any level's slice products.
#pragma once

namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE {

constexpr int64_t kPanelColumns = 16;

FAIRWAY_INLINE size_t packed_bytes(int64_t n, int64_t k, Products products) {
  int64_t panels = (n + kPanelColumns - 1) / kPanelColumns;
  return static_cast<size_t>(panels * kPanelColumns * ((k + 63) / 64 * 64) * slices_of_products(products));
}

/// A panel is 16 columns, each the slices of one row of b one after the other.
FAIRWAY_INLINE void pack_panel(const RowsView& b, int64_t n, int64_t k, Products products, int64_t panel, void* out) {
  const int slices = slices_of_products(products);
  const int64_t padded = (k + 63) / 64 * 64;
  int8_t* base = static_cast<int8_t*>(out) + panel * kPanelColumns * padded * slices;
  for (int64_t c = 0; c < kPanelColumns; ++c) {
    const int64_t row = panel * kPanelColumns + c;
    for (int s = 0; s < slices; ++s) {
      int8_t* o = base + (c * slices + s) * padded;
      for (int64_t i = 0; i < padded; ++i) o[i] = row < n && i < k ? b.plane[s][row * b.stride + i] : 0;
    }
  }
}

FAIRWAY_INLINE int64_t dot(const int8_t* a, const int8_t* b, int64_t k) {
  int64_t total = 0;
  for (int64_t begin = 0; begin < k; begin += 1024) {
    int64_t end = begin + 1024 < k ? begin + 1024 : k;
    int32_t sum = 0;
    for (int64_t i = begin; i < end; ++i) sum += static_cast<int32_t>(a[i]) * b[i];
    total += sum;
  }
  return total;
}

template <Products P, class Sink>
FAIRWAY_INLINE void multiply_scheme(const RowsView& a, int64_t m, const void* packed, int64_t n, int64_t k, const Sink& sink) {
  const int slices = slices_of_products(P);
  const int levels = P == Products::kP3 ? 2 : 3;
  const int64_t padded = (k + 63) / 64 * 64;
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t column = 0; column < n; column += kPanelColumns) {
      const int8_t* panel = static_cast<const int8_t*>(packed) + column * padded * slices;
      int64_t count = n - column < kPanelColumns ? n - column : kPanelColumns;
      int64_t t[kPanelColumns] = {};
      for (int64_t c = 0; c < count; ++c) {
        for (int l = 0; l < levels; ++l) {
          int64_t level = 0;
          for (int s = 0; s < slices; ++s) {
            if (s > l || l - s >= slices) continue;
            level += dot(a.plane[s] + r * a.stride, panel + (c * slices + (l - s)) * padded, k);
          }
          t[c] = 128 * t[c] + level;
        }
      }
      Sink::store(sink, r, column, count, t);
    }
  }
}

}  // namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE
