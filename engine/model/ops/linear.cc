#include "engine/model/ops/linear.h"

namespace fairway::model {

std::vector<Parameter*> Linear::trains() const {
  std::vector<Parameter*> weights;
  for (const Branch& b : branches_) weights.push_back(b.weight);
  return weights;
}

Status Linear::forward(Tape& tape) {
  ProductScratch& scratch = tape.scratch();
  const int64_t tokens = tape.batch().tokens(), in = tape.width(in_);
  const int bits = kernels::bits_of_products(config_.linear);
  if (!tape.executor().quantise_rows(tape.data(in_), tokens, in, in, bits, scratch.rows)) return bad_value(kNotFinite);
  for (Branch& b : branches_) {
    // Calibration is for matrices that are quantised by rows of inputs.
    if (tape.batch().operands != nullptr && !b.weight->stored_in_out())
      FAIRWAY_TRY(tape.batch().operands->see(*b.weight, tape.data(in_), tokens, in));
    FAIRWAY_TRY(b.weight->prepare(tape.batch().weights_seen_through(config_.qat)));
    tape.executor().exact_matmul(scratch.rows, b.weight->forward_operand(), config_.linear, tape.data(b.out), tape.width(b.out));
  }
  return {};
}

Status Linear::backward(Tape& tape) {
  ProductScratch& scratch = tape.scratch();
  const int64_t tokens = tape.batch().tokens(), in = tape.width(in_);
  const int wgrad_bits = kernels::bits_of_products(config_.wgrad), dgrad_bits = kernels::bits_of_products(config_.dgrad);
  if (!tape.executor().quantise_columns(tape.data(in_), tokens, in, in, wgrad_bits, scratch.columns)) return bad_value(kNotFinite);
  for (size_t i = branches_.size(); i-- > 0;) {
    Branch& b = branches_[i];
    const int64_t out = tape.width(b.out);
    const float* dy = tape.gradient(b.out);
    if (!tape.executor().quantise_columns(dy, tokens, out, out, wgrad_bits, scratch.gradient_columns)) return bad_value(kNotFinite);
    const bool in_out = b.weight->stored_in_out();
    if (!tape.executor().exact_matmul_accumulate(
            in_out ? scratch.columns : scratch.gradient_columns, in_out ? scratch.gradient_columns : scratch.columns,
            config_.wgrad, tape.batch().chunk_term_limit, scratch.chunk_gradient, b.weight->gradient())) {
      return Error{Errc::kData, b.weight->name(), kGradientTooLarge};
    }
    if (!tape.executor().quantise_rows(dy, tokens, out, out, dgrad_bits, scratch.gradient_rows)) return bad_value(kNotFinite);
    FAIRWAY_TRY(b.weight->prepare_backward(dgrad_bits));
    FAIRWAY_TRY(tape.contribute(in_, [&](float* dx) -> Status {
      tape.executor().exact_matmul(scratch.gradient_rows, b.weight->backward_operand(), config_.dgrad, dx, in);
      return {};
    }));
    tape.release_gradient(b.out);
  }
  return {};
}

}  // namespace fairway::model
