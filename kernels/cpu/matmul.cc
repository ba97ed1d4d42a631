#include "kernels/matmul.h"

#include <atomic>

#include "kernels/check.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/isa/tile_scratch.h"
#include "kernels/cpu/parallel.h"

namespace fairway::kernels {
namespace {

/// Rows per work item of a product: A's slices of a block stay in the level-2 cache, and few rows still make enough items.
int64_t row_grain(int64_t rows) { return rows >= 768 ? 48 : rows >= 192 ? 24 : 12; }

RowsOut out_of(Quantised& q) {
  RowsOut out{{nullptr, nullptr, nullptr}, q.exponents(), q.stride()};
  for (int s = 0; s < slices_of_bits(q.bits()); ++s) out.plane[s] = q.plane(s);
  return out;
}

void check_contraction(const Quantised& a, const Quantised& b, Products products) {
  FAIRWAY_CHECK(a.columns() == b.columns());
  FAIRWAY_CHECK(a.bits() == bits_of_products(products) && b.bits() == a.bits());
  FAIRWAY_CHECK(a.columns() <= (products == Products::kS21 ? kMaxContraction / 2 : kMaxContraction));
}

/// The columns of one product, packed by all threads into the caller's scratch: fresh memory for every call would cost more in
/// page faults than the packing.
const void* pack(const RowsView& b, int64_t n, int64_t k, Products products) {
  const Table& t = table();
  void* packed = scratch(ScratchSlot::kMatmul, t.packed_bytes(n, k, products));
  parallel_for(t.panel_count(n), [&](int64_t p) { t.pack_panel(b, n, k, products, p, packed); });
  return packed;
}

}  // namespace

bool quantise_rows(const float* x, int64_t rows, int64_t columns, int64_t ld, int bits, Quantised& out) {
  out.resize(rows, columns, bits);
  std::atomic<bool> finite{true};
  parallel_ranges(rows, 64, [&](int64_t begin, int64_t end) {
    if (!table().quantise_rows(x, ld, columns, bits, out_of(out), begin, end)) finite = false;
  });
  return finite;
}

bool quantise_columns(const float* x, int64_t rows, int64_t columns, int64_t ld, int bits, Quantised& out) {
  out.resize(columns, rows, bits);
  std::atomic<bool> finite{true};
  parallel_ranges(columns, 64, [&](int64_t begin, int64_t end) {
    if (!table().quantise_columns(x, ld, rows, bits, out_of(out), begin, end)) finite = false;
  });
  return finite;
}

void exact_matmul(const Quantised& a, const Quantised& b, Products products, float* c, int64_t ldc) {
  check_contraction(a, b, products);
  const int64_t n = b.rows(), k = a.columns();
  const void* packed = pack(b.view(), n, k, products);
  parallel_ranges(a.rows(), row_grain(a.rows()), [&](int64_t begin, int64_t end) {
    table().multiply_float(a.view().from_row(begin), end - begin, packed, b.view().exponent, n, k, products,
                           c + begin * ldc, ldc);
  });
}

void exact_matmul_self(const Quantised& a, Products products, float* c, int64_t ldc) {
  check_contraction(a, a, products);
  const int64_t n = a.rows(), k = a.columns();
  const int64_t grain = 2 * table().panel_columns > 64 ? 64 : 2 * table().panel_columns;
  const void* packed = pack(a.view(), n, k, products);
  // Rows [begin, end) need the columns below `end` only; the rest is the mirror image.
  parallel_ranges(n, grain, [&](int64_t begin, int64_t end) {
    table().multiply_float(a.view().from_row(begin), end - begin, packed, a.view().exponent, end, k, products,
                           c + begin * ldc, ldc);
  });
  parallel_ranges(n, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t col = end; col < n; ++col) c[r * ldc + col] = c[col * ldc + r];
    }
  });
}

void exact_matmul_batched(const Quantised& a, const Quantised& b, int64_t count, Products products, float* c) {
  check_contraction(a, b, products);
  FAIRWAY_CHECK(count > 0 && a.rows() % count == 0 && b.rows() % count == 0);
  const int64_t m = a.rows() / count, n = b.rows() / count, k = a.columns();
  const int64_t grain = row_grain(m), blocks = (m + grain - 1) / grain;
  const size_t packed_bytes = (table().packed_bytes(n, k, products) + 63) / 64 * 64;
  const int64_t panels = table().panel_count(n);
  char* packed = static_cast<char*>(scratch(ScratchSlot::kMatmul, packed_bytes * static_cast<size_t>(count)));
  parallel_for(count * panels, [&](int64_t i) {
    table().pack_panel(b.view().from_row(i / panels * n), n, k, products, i % panels,
                       packed + static_cast<size_t>(i / panels) * packed_bytes);
  });
  parallel_for(count * blocks, [&](int64_t i) {
    const int64_t batch = i / blocks, begin = i % blocks * grain;
    const int64_t rows = m - begin < grain ? m - begin : grain;
    table().multiply_float(a.view().from_row(batch * m + begin), rows,
                           packed + static_cast<size_t>(batch) * packed_bytes, b.view().exponent + batch * n, n, k,
                           products, c + (batch * m + begin) * n, n);
  });
}

}  // namespace fairway::kernels
