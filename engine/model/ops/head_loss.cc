#include "engine/model/ops/head_loss.h"

namespace fairway::model {
namespace {
constexpr int64_t kEvalSlice = 2048;  // tokens whose logits are held at once in evaluation
}

Status HeadLoss::logits(Tape& tape, int64_t token, int64_t rows) {
  ProductScratch& scratch = tape.scratch();
  const int64_t vocab = config_.vocab_size, width = config_.width;
  tape.resize(logits_, rows * vocab);
  if (!tape.executor().quantise_rows(tape.data(in_) + token * width, rows, width, width, kernels::bits_of_products(config_.head), scratch.rows)) {
    return bad_value(kNotFinite);
  }
  tape.executor().exact_matmul(scratch.rows, table_.forward_operand(), config_.head, logits_.data(), vocab);
  if (extra_) tape.executor().add_to(tape.data(*extra_) + token * vocab, rows * vocab, logits_.data());
  if (scale_ == nullptr) return {};
  tape.resize(scales_, vocab);
  tape.executor().scale(scale_->data(), config_.sphere_factor(), vocab, scales_.data());
  if (tape.batch().training) {
    tape.resize(unscaled_, rows * vocab);
    tape.executor().copy(logits_.data(), rows * vocab, unscaled_.data());
  }
  tape.executor().scale_channels(logits_.data(), scales_.data(), rows, vocab, logits_.data());
  return {};
}

Status HeadLoss::scale_backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t vocab = config_.vocab_size, tokens = b.tokens();
  tape.executor().scale(unscaled_.data(), config_.sphere_factor(), tokens * vocab, unscaled_.data());
  if (!tape.executor().accumulate_products(logits_.data(), unscaled_.data(), tokens, vocab, b.term_limit, scale_->gradient())) {
    return Error{Errc::kData, scale_->name(), kGradientTooLarge};
  }
  tape.executor().scale_channels(logits_.data(), scales_.data(), tokens, vocab, logits_.data());
  return {};
}

Status HeadLoss::score(Tape& tape, int64_t token, int64_t rows, int64_t first_row) {
  const Batch& b = tape.batch();
  FAIRWAY_TRY(logits(tape, token, rows));
  if (b.sink != nullptr) {
    if (tape.executor().memory() == nullptr) return b.sink->take(first_row, rows, logits_.data());
    host_logits_.resize(logits_.size());
    logits_.download(host_logits_.data());
    return b.sink->take(first_row, rows, host_logits_.data());
  }
  if (!tape.executor().cross_entropy(logits_.data(), rows, config_.vocab_size, config_.logit_softcap, tape.targets() + token,
                                     tape.nll_data() + first_row, b.training)) {
    return bad_value("a logit is not finite or a loss reaches 1024 nats");
  }
  return {};
}

Status HeadLoss::forward(Tape& tape) {
  const Batch& b = tape.batch();
  if (b.operands != nullptr) FAIRWAY_TRY(b.operands->see(table_, tape.data(in_), b.tokens(), config_.width));
  FAIRWAY_TRY(table_.prepare(Qat::kNone));
  if (b.training) {
    FAIRWAY_TRY(score(tape, 0, b.tokens(), 0));
    for (int64_t s = 0; s < b.sequences; ++s) {
      tape.executor().zero(logits_.data() + s * b.length * config_.vocab_size, b.first_trained * config_.vocab_size);
    }
    return {};
  }
  const int64_t scored = b.length - b.first_scored;
  for (int64_t s = 0; s < b.sequences; ++s) {
    for (int64_t at = 0; at < scored; at += kEvalSlice) {
      const int64_t rows = scored - at < kEvalSlice ? scored - at : kEvalSlice;
      FAIRWAY_TRY(score(tape, s * b.length + b.first_scored + at, rows, s * scored + at));
    }
  }
  return {};
}

Status HeadLoss::backward(Tape& tape) {
  ProductScratch& scratch = tape.scratch();
  const Batch& b = tape.batch();
  const int64_t vocab = config_.vocab_size, width = config_.width, tokens = b.tokens();
  const int wgrad_bits = kernels::bits_of_products(config_.wgrad), dgrad_bits = kernels::bits_of_products(config_.dgrad);
  if (scale_ != nullptr) FAIRWAY_TRY(scale_backward(tape));
  if (!tape.executor().quantise_columns(logits_.data(), tokens, vocab, vocab, wgrad_bits, scratch.gradient_columns) ||
      !tape.executor().quantise_columns(tape.data(in_), tokens, width, width, wgrad_bits, scratch.columns)) {
    return bad_value(kNotFinite);
  }
  if (!tape.executor().exact_matmul_accumulate(scratch.gradient_columns, scratch.columns, config_.wgrad, b.chunk_term_limit, scratch.chunk_gradient,
                                               table_.gradient())) {
    return bad_value(kGradientTooLarge);
  }
  if (extra_) tape.contribute_copy(*extra_, logits_.data());
  if (!tape.executor().quantise_rows(logits_.data(), tokens, vocab, vocab, dgrad_bits, scratch.rows)) return bad_value(kNotFinite);
  FAIRWAY_TRY(table_.prepare_backward(dgrad_bits));
  return tape.contribute(in_, [&](float* dh) -> Status {
    tape.executor().exact_matmul(scratch.rows, table_.backward_operand(), config_.dgrad, dh, width);
    return {};
  });
}

}  // namespace fairway::model
