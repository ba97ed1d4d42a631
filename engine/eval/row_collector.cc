#include "engine/eval/row_collector.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/num/exact_sum.h"
#include "kernels/ops/cross_entropy.h"
#include "kernels/rows.h"

namespace fairway::eval {

Status RowHasher::take(int64_t first_row, int64_t rows, float* logits) {
  const int64_t begin = std::max(first_row, first_), end = std::min(first_row + rows, end_);
  if (begin < end)
    sha_.update(logits + (begin - first_row) * vocab_, static_cast<size_t>((end - begin) * vocab_) * sizeof(float));
  return {};
}

Status RowCollector::take(int64_t first_row, int64_t rows, float* logits) {
  if (hasher_ != nullptr) FAIRWAY_TRY(hasher_->take(first_row, rows, logits));
  const int64_t vocab = config_.vocab_size, per_window = computed_rows(group_.windows.front());
  const int64_t scored = group_.windows.front().scored_count;
  float cap = config_.logit_softcap;
  targets_.resize(static_cast<size_t>(rows));
  nll_.resize(static_cast<size_t>(rows));
  if (options_.transform || options_.temperature != 1.0f || row_sink_) {
    kernels::parallel_ranges(rows * vocab, 16384, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) logits[i] = ops::softcap(logits[i], cap) / options_.temperature;
    });
    cap = 0.0f;
    for (int64_t r = 0; options_.transform && r < rows; ++r) {
      const int64_t t = target(first_row + r);
      if ((first_row + r) % per_window >= scored) continue;
      FAIRWAY_TRY(options_.transform(
          {t, tokens_.first(static_cast<size_t>(t)), {logits + r * vocab, static_cast<size_t>(vocab)}}));
    }
    for (int64_t r = 0; row_sink_ && r < rows; ++r)
      row_sink_(target(first_row + r), {logits + r * vocab, static_cast<size_t>(vocab)});
  }
  for (int64_t r = 0; r < rows; ++r)
    targets_[static_cast<size_t>(r)] = tokens_[static_cast<size_t>(target(first_row + r))];
  if (!kernels::cross_entropy(logits, rows, vocab, cap, targets_.data(), nll_.data(), false)) {
    return Error{Errc::kData, "logits", "a logit is not finite or a loss reaches 1024 nats"};
  }
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t window = (first_row + r) / per_window, at = (first_row + r) % per_window;
    if (at < scored) bits_[window * scored + at] = num::bits_of(nll_[static_cast<size_t>(r)]);
  }
  return {};
}

int64_t RowCollector::target(int64_t row) const {
  const int64_t per_window = computed_rows(group_.windows.front());
  const Window& w = group_.windows[static_cast<size_t>(row / per_window)];
  return w.start + w.first_scored + row % per_window + 1;
}

}  // namespace fairway::eval
