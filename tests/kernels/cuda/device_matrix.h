/// Memory of quantised matrices for the simulated grid.
#pragma once

#include <gtest/gtest.h>

#include "kernels/cuda/bodies/quantise.h"
#include "kernels/quantised.h"
#include "simulated_grid.h"

namespace fairway::test {

/// Planes and exponents as a device would hold them, each in memory of its own so that an overrun shows.
class SliceMemory {
 public:
  SliceMemory(int64_t rows, int64_t columns, int bits) : slices_(kernels::slices_of_bits(bits)) {
    shape_.rows = rows;
    shape_.columns = columns;
    shape_.stride = (columns + 63) / 64 * 64;
    for (int s = 0; s < slices_; ++s) planes_[s].resize(static_cast<size_t>(rows * shape_.stride / 16));
    exponents_.resize(static_cast<size_t>(rows));
  }
  /// With the contents of a matrix of the CPU.
  explicit SliceMemory(kernels::Quantised& q) : SliceMemory(q.rows(), q.columns(), q.bits()) {
    for (int s = 0; s < slices_; ++s) {
      std::memset(static_cast<void*>(planes_[s].data()), 0, planes_[s].size() * 16);
      for (int64_t r = 0; r < q.rows(); ++r) std::memcpy(row(s, r), q.plane(s) + r * q.stride(), static_cast<size_t>(q.columns()));
    }
    std::copy_n(q.exponents(), exponents_.size(), exponents_.begin());
  }

  /// As an output (undefined until written) or, filled, as an input.
  cuda::Slices declare(Simulation& s, bool defined = false) {
    cuda::Slices view = shape_;
    for (int i = 0; i < slices_; ++i) {
      view.plane[i] = row(i, 0);
      s.memory(view.plane[i], planes_[i].size() * 16, defined);
    }
    view.exponent = s.memory(exponents_.data(), exponents_.size(), defined);
    return view;
  }

  /// Every integer and exponent is that of `q`, and what lies beyond the columns is zero.
  void expect_equal(kernels::Quantised& q) {
    for (int64_t r = 0; r < q.rows(); ++r) {
      ASSERT_EQ(exponents_[static_cast<size_t>(r)], q.exponents()[r]) << "row " << r;
      for (int s = 0; s < slices_; ++s) {
        for (int64_t c = 0; c < shape_.stride; ++c) {
          const int expected = c < q.columns() ? (q.plane(s) + r * q.stride())[c] : 0;
          ASSERT_EQ(row(s, r)[c], expected) << "slice " << s << ", row " << r << ", column " << c;
        }
      }
    }
  }

 private:
  int8_t* row(int s, int64_t r) { return reinterpret_cast<int8_t*>(planes_[s].data()) + r * shape_.stride; }

  int slices_;
  cuda::Slices shape_;
  std::vector<cuda::Words4> planes_[3];
  std::vector<int32_t> exponents_;
};

}  // namespace fairway::test
