/// The exact product on cuBLASLt: each kept slice product an int8 GEMM into int32, then one pass that joins and scales. Bring-up and oracle for
/// kernels/cuda/matmul.h, which gives the same bits faster.
#pragma once

#include <memory>

#include "kernels/cuda/device.h"
#include "kernels/cuda/matmul.h"

namespace fairway::cuda {

class CublasMatmul {
 public:
  explicit CublasMatmul(Device& device);
  ~CublasMatmul();
  CublasMatmul(const CublasMatmul&) = delete;
  CublasMatmul& operator=(const CublasMatmul&) = delete;

  /// As cuda::exact_matmul. Never adds to an int32 in memory (beta is 0): such sums wrap without a word.
  void exact_matmul(const kernels::Quantised& a, const kernels::Quantised& b, kernels::Products products, Matrix<float> c);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fairway::cuda
