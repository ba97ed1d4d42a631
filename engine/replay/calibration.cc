#include "engine/replay/calibration.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/interrupt.h"
#include "engine/base/progress.h"
#include "engine/data/token_stream.h"
#include "engine/model/checked.h"
#include "engine/model/initial_values.h"
#include "engine/replay/artifact.h"
#include "kernels/matmul.h"
#include "kernels/num/philox.h"
#include "kernels/ops/cross_entropy.h"

namespace fairway::replay {
namespace {

constexpr kernels::Products kProducts = kernels::Products::kP4;
constexpr float kInverseTemperature = 1.25f;

Error stopped() { return Error{Errc::kInterrupted, "", "interrupted while calibrating; nothing was written"}; }

/// Adds X^T X of whatever the wanted matrices multiply.
class Moments : public model::OperandObserver {
 public:
  Moments(const std::vector<std::string>& wanted, kernels::Executor& executor) : wanted_(wanted), executor_(executor) {}

  Status see(const model::Parameter& weight, const float* x, int64_t tokens, int64_t width) override {
    if (std::find(wanted_.begin(), wanted_.end(), weight.name()) == wanted_.end()) return {};
    // Matrices that share their input (q, k and v) share the product too.
    if (x != last_ || width * width != static_cast<int64_t>(product_.size())) {
      const float* operand = executor_.fetch(x, tokens * width, copy_);
      if (!kernels::quantise_columns(operand, tokens, width, width, kernels::bits_of_products(kProducts), columns_)) {
        return Error{Errc::kData, weight.name(), model::kNotFinite};
      }
      product_.resize(static_cast<size_t>(width * width));
      kernels::exact_matmul_self(columns_, kProducts, product_.data(), width);
      last_ = x;
    }
    quant::Hessian& h = hessians_[weight.name()];
    h.n = width;
    h.values.resize(product_.size());
    for (size_t i = 0; i < product_.size(); ++i) h.values[i] = h.values[i] + static_cast<double>(product_[i]);
    return {};
  }

  void next_sequence() { last_ = nullptr; }
  std::map<std::string, quant::Hessian> take() { return std::move(hessians_); }

 private:
  const std::vector<std::string>& wanted_;
  kernels::Executor& executor_;
  const float* last_ = nullptr;
  kernels::Quantised columns_;
  std::vector<float> copy_, product_;
  std::map<std::string, quant::Hessian> hessians_;
};

class KeptLogits : public model::LogitsSink {
 public:
  explicit KeptLogits(int64_t vocab) : vocab_(vocab) {}
  Status take(int64_t, int64_t rows, float* logits) override {
    FAIRWAY_CHECK(rows == 1);
    values.assign(logits, logits + vocab_);
    return {};
  }
  std::vector<float> values;

 private:
  int64_t vocab_;
};

/// floor(u * n / 2^64)
uint64_t scaled(uint64_t u, uint64_t n) { return static_cast<uint64_t>((static_cast<unsigned __int128>(u) * n) >> 64); }

uint16_t draw(std::vector<float>& logits, float cap, uint64_t u) {
  for (float& z : logits) z = ops::softcap(z, cap);
  const float max = *std::max_element(logits.begin(), logits.end());
  std::vector<int64_t> until;  // sums of the weights up to and with each token
  until.reserve(logits.size());
  int64_t sum = 0;
  for (float z : logits) {
    sum += num::probability_units(num::exp((z - max) * kInverseTemperature));
    until.push_back(sum);
  }
  const auto target = static_cast<int64_t>(scaled(u, static_cast<uint64_t>(sum)));
  return static_cast<uint16_t>(std::upper_bound(until.begin(), until.end(), target) - until.begin());
}

}  // namespace

Result<std::map<std::string, quant::Hessian>> collect_hessians(model::Gpt& model, std::span<const uint16_t> tokens,
                                                               int64_t sequence_tokens,
                                                               const std::vector<std::string>& wanted) {
  FAIRWAY_CHECK(sequence_tokens >= 1 && tokens.size() % static_cast<size_t>(sequence_tokens) == 0);
  const size_t count = tokens.size() / static_cast<size_t>(sequence_tokens);
  Moments moments(wanted, model.tape().executor());
  const std::vector<uint16_t> targets(static_cast<size_t>(sequence_tokens));  // no loss is looked at
  Progress progress("calibrate", count, "tok", static_cast<double>(sequence_tokens));
  for (size_t i = 0; i < count; ++i) {
    if (interrupted()) return stopped();
    model::Batch batch;
    batch.sequences = 1;
    batch.length = sequence_tokens;
    batch.inputs = tokens.subspan(i * static_cast<size_t>(sequence_tokens), static_cast<size_t>(sequence_tokens));
    batch.targets = targets;
    batch.first_scored = sequence_tokens - 1;
    batch.operands = &moments;
    moments.next_sequence();
    FAIRWAY_TRY(model::checked(model.tape().executor(), [&] { return model.tape().forward(batch); }));
    progress.update(i + 1);
  }
  auto hessians = moments.take();
  for (auto& [name, h] : hessians) {
    for (double& x : h.values) x = x / static_cast<double>(count);
  }
  return hessians;
}

Result<std::vector<uint16_t>> draw_sequences(model::Gpt& model, int64_t count, int64_t length, uint64_t seed) {
  const int64_t vocab = model.config().vocab_size;
  const uint32_t word = model::tensor_word("calibration");
  KeptLogits logits(vocab);
  std::vector<uint16_t> tokens(static_cast<size_t>(count * length));
  Progress progress("draw", tokens.size(), "tok");
  for (int64_t i = 0; i < count; ++i) {
    uint16_t* sequence = tokens.data() + i * length;
    for (int64_t j = 0; j < length; ++j) {
      if (interrupted()) return stopped();
      const num::Philox block =
          num::philox(seed, static_cast<uint64_t>(i * length + j), word, num::kPurposeCalibration);
      const uint64_t u = block.word[0] | static_cast<uint64_t>(block.word[1]) << 32;
      if (j == 0) {
        sequence[0] = static_cast<uint16_t>(scaled(u, static_cast<uint64_t>(vocab)));
        continue;
      }
      model::Batch batch;
      batch.sequences = 1;
      batch.length = j;
      batch.inputs = {sequence, static_cast<size_t>(j)};
      batch.first_scored = j - 1;
      batch.sink = &logits;
      FAIRWAY_TRY(model::checked(model.tape().executor(), [&] { return model.tape().forward(batch); }));
      sequence[j] = draw(logits.values, model.config().logit_softcap, u);
      progress.update(static_cast<uint64_t>(i * length + j));
    }
  }
  return tokens;
}

Result<std::map<std::string, quant::Hessian>> calibrate(model::Gpt& model, const submission::Submission& s,
                                                        const std::vector<std::string>& train_paths) {
  const submission::CalibrationConfig& c = s.calibration;
  if (c.source == submission::Calibration::kNone) return std::map<std::string, quant::Hessian>();
  FAIRWAY_ASSIGN(auto entries, planned_entries(model, s));
  std::vector<std::string> wanted;
  for (const quant::ContainerEntry& entry : entries) {
    const bool compensated = entry.storage == quant::Storage::kInt8Rows && quant::row_method(s.scheme, entry.spec.name).rounded_scale;
    if (compensated) wanted.push_back(entry.spec.name);
  }
  if (wanted.empty()) {
    return Error{Errc::kData, "quantization.calibration",
                 "no matrix of this model is large enough to be stored in int8 rows, so there is nothing to calibrate; remove it"};
  }
  std::vector<uint16_t> tokens(static_cast<size_t>(c.sequences * c.tokens));
  if (c.source == submission::Calibration::kTrain) {
    FAIRWAY_ASSIGN(auto stream, data::TokenStream::open(train_paths, static_cast<int32_t>(s.model.vocab_size)));
    FAIRWAY_TRY(stream.read(0, tokens));
  } else {
    FAIRWAY_ASSIGN(tokens, draw_sequences(model, c.sequences, c.tokens, c.seed));
  }
  return collect_hessians(model, tokens, c.tokens, wanted);
}

}  // namespace fairway::replay
