/// Tiny models and streams with documents, and one configuration of every evaluation procedure, honest and dishonest.
#pragma once

#include <string>
#include <vector>

#include "engine/eval/evaluator.h"
#include "tests/engine/model/small_model.h"
#include "verifier/check/trace_check.h"
#include "verifier/probe/causality.h"

namespace fairway::test {

struct EvalCase {
  std::string name;
  eval::EvalConfig config;
};

/// Windows of 24 tokens every 6; chunks and caches small enough that everything happens several times in 200 tokens.
inline eval::EvalConfig case_config(eval::ProcedureKind procedure, eval::Method method = eval::Method::kSlidingB) {
  eval::EvalConfig c;
  c.method = method;
  c.seq_len = 24;
  c.stride = method == eval::Method::kStandard ? 24 : 6;
  c.procedure = procedure;
  c.sgd.lr = 0.05;
  c.sgd.epochs = 2;
  c.sgd.chunk_tokens = 48;
  c.sgd.batch_rows = 2;
  c.lora.rank = 2;
  c.lora.chunk_tokens = 8;
  c.phases.documents = 4;
  c.phases.count = 2;
  c.cache.tokens = 40;
  c.ngram.order = 3;
  c.ngram.alpha = 0.3;
  c.dishonest.max_steps = 2;
  c.dishonest.buckets = 32;
  return c;
}

inline std::vector<EvalCase> honest_cases() {
  using eval::Method;
  using eval::ProcedureKind;
  std::vector<EvalCase> list;
  for (Method m : {Method::kStandard, Method::kSlidingA, Method::kSlidingB, Method::kSlidingC, Method::kSlidingD}) {
    list.push_back({eval::method_name(m), case_config(ProcedureKind::kWindows, m)});
  }
  for (ProcedureKind p : {ProcedureKind::kDocuments, ProcedureKind::kScoreFirstTtt, ProcedureKind::kLoraTtt,
                          ProcedureKind::kPhasedTtt, ProcedureKind::kNeuralCache, ProcedureKind::kNgram}) {
    list.push_back({eval::procedure_name(p), case_config(p)});
  }
  list.push_back({"temperature", case_config(ProcedureKind::kWindows)});
  list.back().config.temperature = 0.9;
  return list;
}

inline std::vector<EvalCase> dishonest_cases() {
  std::vector<EvalCase> list;
  for (const char* trick :
       {"ttt_before_scoring", "train_then_score", "last_epoch", "second_pass", "hashed_ngram", "oracle_gate", "slot",
        "calibrated_temperature", "mask_off_by_one", "key_exponent_over_suffix", "value_exponent_over_suffix",
        "late_alignment", "state_leaks_across_documents"}) {
    list.push_back({trick, case_config(eval::ProcedureKind::kDishonest)});
    list.back().config.dishonest.trick = trick;
  }
  return list;
}

/// Random tokens with repeated phrases, so that counts and caches find something, and documents of 5 to 40 tokens.
inline std::vector<uint16_t> stream_of_documents(int64_t count, int64_t vocab, uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<uint16_t> tokens;
  while (static_cast<int64_t>(tokens.size()) < count) {
    tokens.push_back(eval::kDocumentStart);
    const size_t length = 5 + engine() % 36;
    for (size_t i = 0; i < length; ++i) {
      const bool again = tokens.size() > 12 && engine() % 2 == 0;
      const uint16_t token = again ? tokens[tokens.size() - 1 - engine() % 11]
                                   : static_cast<uint16_t>(2 + engine() % static_cast<uint64_t>(vocab - 2));
      tokens.push_back(token == eval::kDocumentStart ? 2 : token);
    }
  }
  tokens.resize(static_cast<size_t>(count));
  return tokens;
}

inline model::ModelConfig tiny_config() {
  model::ModelConfig c = small_config(2);
  c.vocab_size = 23;
  c.width = 24;
  c.heads = 2;
  c.kv_heads = 1;
  c.mlp_hidden = 32;
  return c;
}

/// A tiny model, every weight away from its initial value, and a stream for it: P = 144 predictions.
struct EvalSubject {
  explicit EvalSubject(uint64_t seed)
      : model(tiny_config()), tokens(stream_of_documents(145, model.config().vocab_size, seed)) {
    model.initialise(seed);
    perturb(model, seed + 1);
  }
  model::Gpt model;
  std::vector<uint16_t> tokens;
};

/// Evaluates and returns the bytes of the trace.
inline std::vector<std::byte> trace_of(EvalSubject& subject, const eval::EvalConfig& config,
                                       eval::Scores* scores = nullptr) {
  std::vector<std::byte> bytes;
  const auto alone = comm::single_process();
  eval::EvalRun run{config, subject.tokens, nullptr, alone.get(), {}, ""};
  run.trace.sink = [&](std::span<const std::byte> piece) -> Status {
    bytes.insert(bytes.end(), piece.begin(), piece.end());
    return {};
  };
  auto found = eval::evaluate(subject.model, run);
  EXPECT_TRUE(found) << found.error().message();
  if (found && scores != nullptr) *scores = *found;
  return bytes;
}

/// The audit of a trace of one's own.
inline verifier::Report audit_of(EvalSubject& subject, const eval::EvalConfig& config) {
  eval::Scores scores;
  const auto bytes = trace_of(subject, config, &scores);
  verifier::Report report;
  const Status status =
      verifier::check_trace(bytes, "trace.bin", {subject.tokens, {}, {}, scores.stream_sha256}, report);
  EXPECT_TRUE(status) << status.error().message();
  return report;
}

inline std::string failed_checks(const verifier::Report& report) {
  std::string list;
  for (const auto& c : report.checks) {
    if (c.status != verifier::Verdict::kPass && c.status != verifier::Verdict::kSkip)
      list += c.id + ": " + c.message + "\n";
  }
  return list;
}

}  // namespace fairway::test
