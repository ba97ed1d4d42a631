#include "engine/model/ops/multi_token_loss.h"

#include <cstring>

#include "kernels/accumulate.h"
#include "kernels/elementwise.h"
#include "kernels/rows.h"

namespace fairway::model {

Status MultiTokenLoss::forward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t scored = b.length - ahead_, rows = b.sequences * scored, width = config_.width, vocab = config_.vocab_size;
  if (!b.training || scored <= 0) return {};
  hidden_.resize(static_cast<size_t>(rows * width));
  targets_.resize(static_cast<size_t>(rows));
  for (int64_t s = 0; s < b.sequences; ++s) {
    std::memcpy(hidden_.data() + s * scored * width, tape.data(in_) + s * b.length * width, static_cast<size_t>(scored * width) * sizeof(float));
    std::copy_n(b.targets.begin() + s * b.length + ahead_, scored, targets_.begin() + s * scored);
  }
  FAIRWAY_TRY(head_.prepare(Qat::kNone));
  logits_.resize(static_cast<size_t>(rows * vocab));
  nll_.resize(static_cast<size_t>(rows));
  auto& operand = tape.scratch().rows;
  if (!kernels::quantise_rows(hidden_.data(), rows, width, width, kernels::bits_of_products(config_.head), operand)) return bad_value(kNotFinite);
  kernels::exact_matmul(operand, head_.forward_operand(), config_.head, logits_.data(), vocab);
  if (!kernels::cross_entropy(logits_.data(), rows, vocab, config_.logit_softcap, targets_.data(), nll_.data(), true)) {
    return bad_value("a logit is not finite or a loss reaches 1024 nats");
  }
  const double factor = weight_ * (static_cast<double>(b.length) / static_cast<double>(scored));
  kernels::scale(logits_.data(), static_cast<float>(factor), rows * vocab, logits_.data());
  return {};
}

Status MultiTokenLoss::backward(Tape& tape) {
  ProductScratch& scratch = tape.scratch();
  const Batch& b = tape.batch();
  const int64_t scored = b.length - ahead_, rows = b.sequences * scored, width = config_.width, vocab = config_.vocab_size;
  if (scored <= 0) return {};
  const int wgrad_bits = kernels::bits_of_products(config_.wgrad), dgrad_bits = kernels::bits_of_products(config_.dgrad);
  if (!kernels::quantise_columns(logits_.data(), rows, vocab, vocab, wgrad_bits, scratch.gradient_columns) ||
      !kernels::quantise_columns(hidden_.data(), rows, width, width, wgrad_bits, scratch.columns)) {
    return bad_value(kNotFinite);
  }
  scratch.chunk_gradient.resize(static_cast<size_t>(vocab * width));
  kernels::exact_matmul(scratch.gradient_columns, scratch.columns, config_.wgrad, scratch.chunk_gradient.data(), width);
  if (!kernels::accumulate(scratch.chunk_gradient.data(), vocab * width, b.chunk_term_limit, head_.gradient())) {
    return bad_value(kGradientTooLarge);
  }
  if (!kernels::quantise_rows(logits_.data(), rows, vocab, vocab, dgrad_bits, scratch.rows)) return bad_value(kNotFinite);
  FAIRWAY_TRY(head_.prepare_backward(dgrad_bits));
  gradient_.resize(static_cast<size_t>(rows * width));
  kernels::exact_matmul(scratch.rows, head_.backward_operand(), config_.dgrad, gradient_.data(), width);
  return tape.contribute(in_, [&](float* dh) -> Status {
    std::memset(dh, 0, static_cast<size_t>(b.tokens() * width) * sizeof(float));
    for (int64_t s = 0; s < b.sequences; ++s) {
      std::memcpy(dh + s * b.length * width, gradient_.data() + s * scored * width, static_cast<size_t>(scored * width) * sizeof(float));
    }
    return {};
  });
}

}  // namespace fairway::model
