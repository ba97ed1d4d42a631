#include "verifier/probe/probe_run.h"

#include <algorithm>

#include "engine/base/interrupt.h"

namespace fairway::verifier {
namespace {

using Bytes = std::shared_ptr<const std::vector<std::byte>>;

Error stopped() { return {Errc::kInterrupted, "probe", "stopped; nothing is decided"}; }

bool meets(const std::vector<eval::TokenRange>& given, const std::vector<bool>& changed, int64_t first_changed) {
  for (const eval::TokenRange& r : given) {
    for (int64_t t = std::max(r.first, first_changed); t < r.end(); ++t) {
      if (changed[static_cast<size_t>(t)]) return true;
    }
  }
  return false;
}

}  // namespace

eval::Harness ProbedRun::harness_over(std::span<const uint16_t> tokens, eval::TargetSink sink,
                                      const eval::RowSink& rows) {
  eval::Harness::Setup setup{
      tokens,          nullptr, alone_.get(),   {}, std::move(sink), "", 0, config_.by_document(),
      config_.seq_len, rows,    config_.seq_len};
  return eval::Harness(std::move(setup));
}

Status ProbedRun::run(const std::vector<std::vector<bool>>& changed, const std::vector<int64_t>& targets,
                      const eval::RowSink& rows) {
  std::vector<int64_t> first_changed;
  for (const auto& mask : changed) first_changed.push_back(std::find(mask.begin(), mask.end(), true) - mask.begin());
  Step current;
  eval::Harness harness = harness_over(
      tokens_,
      [&](int64_t first, std::span<const float> nll) -> Status {
        if (first < 0) {
          current.restarted = true;
          current.scores.clear();
        }
        for (size_t i = 0; i < nll.size(); ++i) current.scores.push_back({first + static_cast<int64_t>(i), nll[i]});
        return {};
      },
      rows);
  FAIRWAY_ASSIGN(procedure_, eval::make_procedure(config_, model_, harness.predictions(), harness.document_starts()));
  std::vector<std::byte> trace;
  int64_t pieces = 0;
  harness.begin_trace(
      eval::trace_header(config_, model_),
      [&](std::span<const std::byte> bytes) -> Status {
        trace.insert(trace.end(), bytes.begin(), bytes.end());
        ++pieces;
        return {};
      },
      eval::initial_state(*procedure_, model_));
  resumes_.assign(changed.size(), {});
  at_score_.assign(targets.size(), {});
  Bytes state;
  uint64_t version = 0;
  for (;;) {
    // The state is kept again only if it may have changed; most steps only score.
    if (!state || version != harness.state_version()) {
      state = std::make_shared<const std::vector<std::byte>>(procedure_->save_state());
      version = harness.state_version();
    }
    const Resume before{static_cast<int64_t>(steps_.size()), state,
                        std::make_shared<const std::vector<std::byte>>(procedure_->save_position()), true};
    if (steps_.empty()) start_ = before;
    current = {};
    current.first_event = pieces - 1;
    if (interrupted()) return stopped();
    FAIRWAY_ASSIGN(const bool worked, procedure_->step(harness));
    if (!worked) break;
    current.given = harness.take_given();
    for (size_t i = 0; i < changed.size(); ++i) {
      if (!resumes_[i].reached && meets(current.given, changed[i], first_changed[i])) resumes_[i] = before;
    }
    for (size_t i = 0; i < targets.size(); ++i) {
      for (const ScoredTarget& s : current.scores) {
        if (s.target == targets[i]) at_score_[i] = before;
      }
    }
    steps_.push_back(std::move(current));
  }
  FAIRWAY_ASSIGN(const eval::Scores scores, harness.finish());
  (void)scores;
  FAIRWAY_ASSIGN(trace_, eval::parse_trace(trace, "probe"));
  return {};
}

Result<ScoreList> ProbedRun::again(const Resume& from, std::span<const uint16_t> tokens, int64_t last,
                                   const eval::RowSink& rows) {
  ScoreList scores;
  eval::Harness harness = harness_over(
      tokens,
      [&](int64_t first, std::span<const float> nll) -> Status {
        if (first < 0) scores.clear();
        for (size_t i = 0; i < nll.size(); ++i) scores.push_back({first + static_cast<int64_t>(i), nll[i]});
        return {};
      },
      rows);
  procedure_->restore(*from.state, *from.position);
  for (int64_t step = from.step; step <= last; ++step) {
    if (interrupted()) return stopped();
    FAIRWAY_ASSIGN(const bool worked, procedure_->step(harness));
    if (!worked) break;
  }
  return scores;
}

ScoreList ProbedRun::original(int64_t from, int64_t last) const {
  ScoreList scores;
  for (int64_t s = from; s <= last; ++s) {
    const Step& step = steps_[static_cast<size_t>(s)];
    if (step.restarted) scores.clear();
    scores.insert(scores.end(), step.scores.begin(), step.scores.end());
  }
  return scores;
}

void ProbedRun::rewind() {
  if (procedure_ && start_.state) procedure_->restore(*start_.state, *start_.position);
}

}  // namespace fairway::verifier
