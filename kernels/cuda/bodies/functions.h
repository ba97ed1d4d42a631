/// The functions of kernels/num, one element per thread: the lowest rungs of the ladder on a device.
#pragma once

#include "kernels/cuda/grid.h"
#include "kernels/num/exp.h"
#include "kernels/num/half.h"
#include "kernels/num/log.h"
#include "kernels/num/philox.h"
#include "kernels/num/scalar64.h"
#include "kernels/num/tanh.h"
#include "kernels/num/trig.h"

namespace fairway::cuda {

enum class Function { kExp2Unit, kExp, kLog, kTanh, kSigmoid, kSin, kCos, kReciprocal, kSqrt, kBf16, kFp16 };

/// The value of one of them; 1/x and sqrt stand for the division and the root that everything else is built on.
FAIRWAY_HD float function_value(Function f, float x) {
  switch (f) {
    case Function::kExp2Unit: return num::exp2_unit(x);
    case Function::kExp: return num::exp(x);
    case Function::kLog: return num::log(x);
    case Function::kTanh: return num::tanh(x);
    case Function::kSigmoid: return num::sigmoid(x);
    case Function::kSin: return num::sin_cos(x).sin;
    case Function::kCos: return num::sin_cos(x).cos;
    case Function::kReciprocal: return 1.0f / x;
    case Function::kSqrt: return num::sqrt(x);
    case Function::kBf16: return num::round_to_bf16(x);
    case Function::kFp16: return num::from_fp16_bits(num::to_fp16_bits(x));
  }
  return 0.0f;
}

/// y[i] = f(x with the bits first + i * stride).
struct FunctionValues {
  static constexpr int kThreads = 256;
  using Shared = NoShared;
  Function function;
  uint32_t first, stride;
  int64_t count;
  float* y;

  FAIRWAY_HD_MEMBER int64_t blocks() const { return (count + kThreads - 1) / kThreads; }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    const int64_t i = g.block() * kThreads + g.thread();
    if (i >= count) return;
    g.store(y + i, function_value(function, num::float_of(first + static_cast<uint32_t>(i) * stride)));
  }
};

/// y[3i ...] = log2_64(x), exp2_64(x - 20), 0.95^(i + 1) for x = (i + 1) * 0x1.3p-6.
struct Scalar64Values {
  static constexpr int kThreads = 256;
  using Shared = NoShared;
  int64_t count;
  double* y;

  FAIRWAY_HD_MEMBER int64_t blocks() const { return (count + kThreads - 1) / kThreads; }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    const int64_t i = g.block() * kThreads + g.thread();
    if (i >= count) return;
    const double x = static_cast<double>(i + 1) * 0x1.3p-6;
    g.store(y + 3 * i, num::log2_64(x));
    g.store(y + 3 * i + 1, num::exp2_64(x - 20.0));
    g.store(y + 3 * i + 2, num::pow_int_64(0.95, static_cast<uint64_t>(i) + 1));
  }
};

/// y[i] = the normals of a tensor.
struct NormalValues {
  static constexpr int kThreads = 256;
  using Shared = NoShared;
  uint64_t seed;
  uint32_t tensor, purpose;
  int64_t count;
  float* y;

  FAIRWAY_HD_MEMBER int64_t blocks() const { return (count + kThreads - 1) / kThreads; }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    const int64_t i = g.block() * kThreads + g.thread();
    if (i < count) g.store(y + i, num::normal(seed, tensor, purpose, static_cast<uint64_t>(i)));
  }
};

}  // namespace fairway::cuda
