/// The tape: a fixed list of operations over values, run forward once and backward once per batch.
///
/// A value is a matrix (tokens, width) of binary32; its gradient exists from its last use's backward pass until its
/// producer's. Gradients that meet at one value are added in reverse order of its uses on the tape. Everything a batch needs
/// is sized by `begin`; nothing depends on what was run before.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/model/config.h"
#include "kernels/executor.h"

namespace fairway::model {

/// Index of a value on the tape.
using ValueId = int32_t;

/// Takes the logits of a forward pass in place of the loss: whoever scores computes the nll itself.
class LogitsSink {
 public:
  virtual ~LogitsSink() = default;
  /// Rows first_row .. first_row + rows - 1 of (sequences, length - first_scored), in order, `vocab` logits each before the cap. The
  /// memory is the model's and may be overwritten.
  virtual Status take(int64_t first_row, int64_t rows, float* logits) = 0;
};

/// Stands between the tape and its attention in a forward pass without gradient: keys and values from before the sequence, for instance. Pointers are to
/// the memory of the tape's executor.
class AttentionHook {
 public:
  /// Applies the rotation of positions first_position, first_position + 1, ... to `tokens` rows.
  using Rotate = std::function<void(float* rows, int64_t tokens, int64_t first_position)>;
  virtual ~AttentionHook() = default;
  /// Before rows (tokens, width) of the operation `label` are rotated; keys have a label that ends in ".k_rope".
  virtual void before_rotation(const std::string& label, const float* rows, int64_t tokens, int64_t width, const Rotate& rotate) = 0;
  /// In place of the executor's attention_forward; false as there.
  virtual bool attend(const std::string& label, const kernels::AttentionForward& attention) = 0;
};

class Parameter;

/// Sees what each matrix is multiplied with in a forward pass. Pointers are to the memory of the tape's executor.
class OperandObserver {
 public:
  virtual ~OperandObserver() = default;
  /// x (tokens, width) is about to be multiplied by `weight` (out, width).
  virtual Status see(const Parameter& weight, const float* x, int64_t tokens, int64_t width) = 0;
};

/// What a batch is: `sequences` rows of `length` tokens, one target per token.
struct Batch {
  int64_t sequences = 0;
  int64_t length = 0;
  std::span<const uint16_t> inputs;   ///< (sequences, length)
  std::span<const uint16_t> targets;  ///< likewise; empty with a sink
  bool training = false;              ///< keep what the backward pass needs
  bool fake_quantise = true;          ///< training passes see the weights that QAT covers through it
  /// Positions of every sequence before this one get no logits and no nll; 0 in training.
  int64_t first_scored = 0;
  /// In training: positions of every sequence before this one add nothing to the gradient.
  int64_t first_trained = 0;
  int64_t first_position = 0;          ///< the position, for rope, of the first token of every sequence
  LogitsSink* sink = nullptr;          ///< not in training; nll() stays empty
  AttentionHook* attention = nullptr;  ///< not in training
  /// Length of the padded window these sequences belong to, where a rope base depends on it; 0: `length`.
  int64_t window_length = 0;
  OperandObserver* operands = nullptr;
  float term_limit = 0.0f;        ///< limit of a per-token gradient term (kernels/accumulate.h)
  float chunk_term_limit = 0.0f;  ///< limit of a per-chunk gradient term
  int64_t tokens() const { return sequences * length; }
  Qat weights_seen_through(Qat qat) const { return training && fake_quantise ? qat : Qat::kNone; }
  int64_t window() const { return window_length > 0 ? window_length : length; }
};

class Tape;

/// Working memory of the operations that multiply matrices; shared, because no two run at once.
struct ProductScratch {
  kernels::Quantised rows, columns, gradient_rows, gradient_columns;
  kernels::Buffer<float> chunk_gradient;
};

/// One operation: forward reads its inputs and writes its outputs, backward reads the gradients of its outputs, adds to the
/// accumulators of its parameters and contributes to the gradients of its inputs.
class Op {
 public:
  explicit Op(std::string label) : label_(std::move(label)) {}
  virtual ~Op() = default;
  virtual Status forward(Tape& tape) = 0;
  virtual Status backward(Tape& tape) = 0;
  /// The parameters to whose accumulators `backward` adds.
  virtual std::vector<Parameter*> trains() const { return {}; }
  /// True if every step goes through the tape's executor; else it runs on the CPU alone.
  virtual bool runs_on_device() const { return false; }
  /// The tensor an error names, e.g. "blocks.3.attn".
  const std::string& label() const { return label_; }

 protected:
  /// The error of a kernel that met a value it cannot use.
  Error bad_value(const char* what) const { return Error{Errc::kData, label_, what}; }

 private:
  std::string label_;
};

inline constexpr const char* kNotFinite = "a value is a NaN, infinite or too large for its integer form";
inline constexpr const char* kGradientTooLarge = "a gradient term is not finite or exceeds its limit";

class Tape {
 public:
  /// Computes with `executor`, which must outlive the tape, from here on. Error kUnavailable, naming it, for an operation that has no form for a device.
  [[nodiscard]] Status use(kernels::Executor& executor);
  kernels::Executor& executor() { return *executor_; }
  /// A buffer of an operation, in the executor's memory; contents are undefined unless the size was the same before.
  template <class T>
  void resize(kernels::Buffer<T>& buffer, int64_t count) {
    buffer.place(executor_->memory(), running_ != nullptr ? running_->label().c_str() : "");
    buffer.resize(static_cast<size_t>(count));
  }

  ValueId add_value(int64_t width);
  void add_op(std::unique_ptr<Op> op) { ops_.push_back(std::move(op)); }

  /// Forward pass; with batch.training the backward pass may follow once. Losses are left in nll().
  [[nodiscard]] Status forward(const Batch& batch);
  /// `finished`, if given, is called with each parameter of `finishing_order` as soon as the last contribution of this pass to its accumulator
  /// is queued.
  [[nodiscard]] Status backward(const std::function<void(Parameter&)>& finished = {});
  /// The trained parameters in the order in which a backward pass finishes them: each with the first of its operations on the tape. It follows from
  /// the model alone.
  std::vector<Parameter*> finishing_order() const;

  /// Its spans are the host's.
  const Batch& batch() const { return batch_; }
  /// The batch's tokens, where the executor reads them.
  const uint16_t* inputs() const { return inputs_; }
  const uint16_t* targets() const { return targets_; }
  int64_t width(ValueId v) const { return values_[static_cast<size_t>(v)].width; }
  float* data(ValueId v) { return values_[static_cast<size_t>(v)].data.data(); }
  /// The gradient of a value during the backward pass of its producer.
  const float* gradient(ValueId v);
  /// Adds one contribution: `write` fills a matrix of the value's shape. The first one is written in place.
  [[nodiscard]] Status contribute(ValueId v, const std::function<Status(float*)>& write);
  /// Contribution that already exists in memory.
  void contribute_copy(ValueId v, const float* gradient);
  /// Releases the gradient once the producer has used it.
  void release_gradient(ValueId v);

  /// nll of the last forward pass: (sequences, length - first_scored), where the executor computes.
  float* nll_data() { return nll_.data(); }
  int64_t nll_count() const { return static_cast<int64_t>(nll_.size()); }
  /// The same on the host; waits for a device.
  kernels::Buffer<float>& nll();
  /// Contents are gone when the next operation runs.
  ProductScratch& scratch() { return scratch_; }

 private:
  struct Value {
    int64_t width;
    kernels::Buffer<float> data;
    kernels::Buffer<float> gradient;
    bool has_gradient = false;
  };
  kernels::Buffer<float> take_buffer(int64_t count);
  /// For each operation, the parameters that no earlier one on the tape trains.
  std::vector<std::vector<Parameter*>> first_trained_by() const;

  kernels::Executor* executor_ = &kernels::cpu_executor();
  const Op* running_ = nullptr;
  Batch batch_;
  const uint16_t *inputs_ = nullptr, *targets_ = nullptr;
  kernels::Buffer<uint16_t> staged_inputs_, staged_targets_;
  std::vector<Value> values_;
  std::vector<std::unique_ptr<Op>> ops_;
  std::vector<kernels::Buffer<float>> pool_;
  kernels::Buffer<float> nll_, host_nll_;
  ProductScratch scratch_;
};

}  // namespace fairway::model
