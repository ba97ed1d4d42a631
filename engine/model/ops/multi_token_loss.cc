#include "engine/model/ops/multi_token_loss.h"

namespace fairway::model {

void MultiTokenLoss::put_before(Tape& tape, Parameter& square) {
  const ValueId seen = tape.add_value(tape.width(in_));
  before_ = std::make_unique<Linear>(square.name(), config_, in_, std::vector<Linear::Branch>{{&square, seen}});
  in_ = seen;
}

std::vector<Parameter*> MultiTokenLoss::trains() const {
  std::vector<Parameter*> list = {&head_};
  if (before_ != nullptr) list.push_back(before_->trains().front());
  return list;
}

Status MultiTokenLoss::forward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t scored = b.length - ahead_, rows = b.sequences * scored, width = config_.width, vocab = config_.vocab_size;
  if (!b.training || scored <= 0) return {};
  if (before_ != nullptr) FAIRWAY_TRY(before_->forward(tape));
  tape.resize(hidden_, rows * width);
  targets_.resize(static_cast<size_t>(rows));
  for (int64_t s = 0; s < b.sequences; ++s) {
    tape.executor().copy(tape.data(in_) + s * b.length * width, scored * width, hidden_.data() + s * scored * width);
    std::copy_n(b.targets.begin() + s * b.length + ahead_, scored, targets_.begin() + s * scored);
  }
  const uint16_t* targets = tape.executor().stage(std::span<const uint16_t>(targets_), staged_targets_, "tokens");
  FAIRWAY_TRY(head_.prepare(Qat::kNone));
  tape.resize(logits_, rows * vocab);
  tape.resize(nll_, rows);
  auto& operand = tape.scratch().rows;
  if (!tape.executor().quantise_rows(hidden_.data(), rows, width, width, kernels::bits_of_products(config_.head), operand)) return bad_value(kNotFinite);
  tape.executor().exact_matmul(operand, head_.forward_operand(), config_.head, logits_.data(), vocab);
  if (!tape.executor().cross_entropy(logits_.data(), rows, vocab, config_.logit_softcap, targets, nll_.data(), true)) {
    return bad_value("a logit is not finite or a loss reaches 1024 nats");
  }
  const double factor = weight_ * (static_cast<double>(b.length) / static_cast<double>(scored));
  tape.executor().scale(logits_.data(), static_cast<float>(factor), rows * vocab, logits_.data());
  return {};
}

Status MultiTokenLoss::backward(Tape& tape) {
  ProductScratch& scratch = tape.scratch();
  const Batch& b = tape.batch();
  const int64_t scored = b.length - ahead_, rows = b.sequences * scored, width = config_.width, vocab = config_.vocab_size;
  if (scored <= 0) return {};
  const int wgrad_bits = kernels::bits_of_products(config_.wgrad), dgrad_bits = kernels::bits_of_products(config_.dgrad);
  if (!tape.executor().quantise_columns(logits_.data(), rows, vocab, vocab, wgrad_bits, scratch.gradient_columns) ||
      !tape.executor().quantise_columns(hidden_.data(), rows, width, width, wgrad_bits, scratch.columns)) {
    return bad_value(kNotFinite);
  }
  if (!tape.executor().exact_matmul_accumulate(scratch.gradient_columns, scratch.columns, config_.wgrad, b.chunk_term_limit, scratch.chunk_gradient,
                                               head_.gradient())) {
    return bad_value(kGradientTooLarge);
  }
  if (!tape.executor().quantise_rows(logits_.data(), rows, vocab, vocab, dgrad_bits, scratch.rows)) return bad_value(kNotFinite);
  FAIRWAY_TRY(head_.prepare_backward(dgrad_bits));
  tape.resize(gradient_, rows * width);
  tape.executor().exact_matmul(scratch.rows, head_.backward_operand(), config_.dgrad, gradient_.data(), width);
  FAIRWAY_TRY(tape.contribute(in_, [&](float* dh) -> Status {
    tape.executor().zero(dh, b.tokens() * width);
    for (int64_t s = 0; s < b.sequences; ++s) {
      tape.executor().copy(gradient_.data() + s * scored * width, scored * width, dh + s * b.length * width);
    }
    return {};
  }));
  return before_ != nullptr ? before_->backward(tape) : Status();
}

}  // namespace fairway::model
