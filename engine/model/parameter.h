/// A named tensor being trained: its value, its gradient accumulator, and the quantised forms the products use; in the memory of an executor, with a
/// copy on the host.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/model/config.h"
#include "kernels/executor.h"
#include "kernels/mirrored.h"

namespace fairway::model {

/// Which optimizer group a parameter belongs to.
enum class Group {
  kEmbedding,  ///< tok: token, hash and value embedding tables, stored in bf16, Adam
  kMatrix,     ///< muon: 2-D tensors of the blocks
  kScalar,     ///< scalar: gains, scales, mixes, gates, skips, Adam
  kHead,       ///< head: an output matrix of its own, Adam without decay
  kLora,       ///< lora: what each pass of a looped model adds for itself, Adam without decay
};

/// Where the initial values of a tensor come from (NUMERICS.md, "Initial values").
struct InitialValue {
  enum class Kind {
    kConstant,     ///< `factor`
    kNormal,       ///< normals times `factor`
    kUniform,      ///< U(-1/sqrt(columns), 1/sqrt(columns))
    kOrthogonal,   ///< orthonormal rows or columns times `factor`
    kMix,          ///< first row 1, others 0
    kUniformTaps,  ///< U(-1/sqrt(rows), 1/sqrt(rows)): a convolution whose rows are taps
    kDecayRate,    ///< log of U(0, 16)
    kTimeStep,     ///< x with softplus(x) log-uniform between 0.001 and 0.1
  };
  Kind kind = Kind::kConstant;
  float factor = 1.0f;
};

/// Vectors of a matrix that have length one after every step.
enum class UnitVectors { kNone, kRows, kColumns };

class Parameter {
 public:
  Parameter(std::string name, std::vector<int64_t> shape, Group group, bool bf16);

  const std::string& name() const { return name_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t count() const { return count_; }
  Group group() const { return group_; }
  const InitialValue& initial() const { return initial_; }
  void set_initial(InitialValue initial) { initial_ = initial; }
  /// True if fake quantisation in training covers it.
  bool fake_quantised() const { return fake_quantised_; }
  void set_fake_quantised(bool on) { fake_quantised_ = on; }
  UnitVectors unit_vectors() const { return unit_vectors_; }
  void set_unit_vectors(UnitVectors which) { unit_vectors_ = which; }
  /// True if the original stores it in bfloat16: the value, its gradient and its Adam moments are rounded to it.
  bool bf16() const { return bf16_; }
  int64_t rows() const { return shape_.empty() ? 1 : shape_[0]; }
  int64_t columns() const { return shape_.empty() ? 1 : count_ / shape_[0]; }
  /// A matrix of a product is (out, in), or with `stored_in_out` (in, out).
  int64_t outputs() const { return in_out_ ? columns() : rows(); }
  bool stored_in_out() const { return in_out_; }
  void set_stored_in_out() { in_out_ = true; }

  /// On the host, which may read them after `download` and change them before `upload`; with the CPU's executor both do nothing.
  float* value() { return value_.host().data(); }
  const float* value() const { return value_.host().data(); }
  std::span<float> values() { return value_.host(); }
  std::span<const float> values() const { return value_.host(); }
  std::span<int64_t> gradients() { return gradient_.host(); }
  /// Where the executor computes with them.
  float* data() { return value_.data(); }
  int64_t* gradient() { return gradient_.data(); }

  /// Lies in the executor's memory from here on.
  void use(kernels::Executor& executor);
  kernels::Executor& executor() { return *executor_; }
  void download() { value_.download(); }
  void upload() { value_.upload(); }
  void download_gradient() { gradient_.download(); }

  /// Allocates (training only) and clears the accumulator.
  void clear_gradient();

  /// Call after every change of the value: the quantised forms are made again at their next use.
  void changed();
  /// The matrix the products see: the value, or with `qat` its fake-quantised copy, if it is covered. Set before a
  /// forward pass. Errors: it is not finite.
  [[nodiscard]] Status prepare(Qat qat);
  /// Quantised along the input index: the forward operand.
  const kernels::Quantised& forward_operand() const { return forward_; }
  /// Quantised along the output index: the operand of the input gradient; made on first use.
  [[nodiscard]] Status prepare_backward(int bits);
  const kernels::Quantised& backward_operand() const { return backward_; }
  void set_forward_bits(int bits) { forward_bits_ = bits; }

 private:
  bool quantise(const float* x, bool along_rows, int bits, kernels::Quantised& out) const;

  std::string name_;
  std::vector<int64_t> shape_;
  int64_t count_;
  Group group_;
  bool bf16_;
  InitialValue initial_;
  bool fake_quantised_ = false;
  bool in_out_ = false;
  UnitVectors unit_vectors_ = UnitVectors::kNone;
  int forward_bits_ = 0;  ///< 0: never an operand of a product
  bool forward_ready_ = false, backward_ready_ = false, effective_is_copy_ = false;
  kernels::Executor* executor_ = &kernels::cpu_executor();
  kernels::Mirrored<float> value_;
  kernels::Mirrored<int64_t> gradient_;
  kernels::Buffer<float> effective_;
  kernels::Quantised forward_, backward_;
};

}  // namespace fairway::model
