/// Matrices whose rows are quantised along their last index (NUMERICS.md, N4, N5).
#pragma once

#include <cstdint>

#include "kernels/buffer.h"

namespace fairway::kernels {

/// Which slice products of q_a * q_b are kept; part of a result's definition.
enum class Products {
  kP3,   ///< 14 bits: high*high, high*low, low*high (the default)
  kP4,   ///< 14 bits: all four
  kS21,  ///< 21 bits: the six with i + j <= 2, slice 0 the highest
};

inline int bits_of_products(Products p) { return p == Products::kS21 ? 21 : 14; }
inline int slices_of_products(Products p) { return p == Products::kS21 ? 3 : 2; }
inline int slices_of_bits(int bits) { return bits / 7; }

/// Longest contraction: int32 holds every sum of slice products up to here.
constexpr int64_t kMaxContraction = 131072;

/// rows x columns integers as `slices` planes of int8, highest slice first, and one exponent per row.
/// Plane s, row r, column k: plane[s][r * stride + k]; columns columns..stride-1 are zero. value = q * 2^(e - bits).
struct RowsView {
  const int8_t* plane[3] = {nullptr, nullptr, nullptr};
  const int32_t* exponent = nullptr;
  int64_t stride = 0;

  RowsView from_row(int64_t row) const {
    RowsView v = *this;
    for (auto& p : v.plane) p = p == nullptr ? nullptr : p + row * stride;
    v.exponent = exponent == nullptr ? nullptr : exponent + row;
    return v;
  }
};

/// Owner of such a matrix.
class Quantised {
 public:
  /// In `memory` from here on; null is the host's.
  void place(Memory* memory) {
    memory_ = memory;
    planes_.place(memory, "int8 slices");
    exponents_.place(memory, "exponents of slices");
  }
  void resize(int64_t rows, int64_t columns, int bits) {
    rows_ = rows;
    columns_ = columns;
    bits_ = bits;
    stride_ = (columns + 63) / 64 * 64;
    // Rows a multiple of 2 KiB apart would compete for the same few sets of the level-1 cache of a CPU.
    if (stride_ % 2048 == 0 && memory_ == nullptr) stride_ += 64;
    // Three rows more on a device: cuBLASLt reads rows in fours.
    const int64_t spare = memory_ == nullptr ? 0 : 3 * stride_;
    planes_.resize(static_cast<size_t>(rows * stride_) * slices_of_bits(bits) + static_cast<size_t>(spare));
    exponents_.resize(static_cast<size_t>(rows));
  }
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  int64_t stride() const { return stride_; }
  int bits() const { return bits_; }
  int8_t* plane(int s) { return planes_.data() + static_cast<size_t>(s) * rows_ * stride_; }
  int32_t* exponents() { return exponents_.data(); }
  RowsView view() const {
    RowsView v;
    for (int s = 0; s < slices_of_bits(bits_); ++s) v.plane[s] = planes_.data() + static_cast<size_t>(s) * rows_ * stride_;
    v.exponent = exponents_.data();
    v.stride = stride_;
    return v;
  }

 private:
  int64_t rows_ = 0, columns_ = 0, stride_ = 0;
  int bits_ = 0;
  Memory* memory_ = nullptr;
  Buffer<int8_t> planes_;
  Buffer<int32_t> exponents_;
};

}  // namespace fairway::kernels
