#include "verifier/check/trace_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "engine/eval/config.h"

namespace fairway::verifier {
namespace {

using eval::EventKind;
using eval::Trace;
using eval::TraceEvent;

constexpr int64_t kNever = -1;

/// One pass over the events, with what is known of every token.
class Audit {
 public:
  Audit(const Trace& trace, std::span<const uint16_t> tokens) : trace_(trace), tokens_(tokens) {
    const size_t count = tokens.size();
    scored_at_.assign(count, kNever);
    last_scored_at_.assign(count, kNever);
    document_.assign(count, 0);
    for (size_t t = 1; t < count; ++t) {
      document_[t] = document_[t - 1] + (tokens[t] == eval::kDocumentStart ? 1 : 0);
    }
    for (size_t e = 0; e < trace.events.size(); ++e) {
      if (trace.events[e].kind != EventKind::kScore) continue;
      for (int64_t t = trace.events[e].tokens.first; t < trace.events[e].tokens.end(); ++t) last_scored_at_[index(t)] = static_cast<int64_t>(e);
    }
  }

  void run(Report& report) {
    state_ = trace_.header.initial_state;
    for (event_ = 0; event_ < trace_.events.size(); ++event_) {
      const TraceEvent& e = trace_.events[event_];
      if (e.kind == EventKind::kScore) score(e);
      if (e.kind == EventKind::kUpdate) update(e);
      if (e.kind == EventKind::kReset) reset(e);
      if (e.kind == EventKind::kWitness) witness(e);
      if (e.kind == EventKind::kRestart) restarted_ = true;
      if (e.kind == EventKind::kEnd) totals(e);
    }
    count_unscored();
    add(report, "trace.chain", chain_, fmt::format("{} events, every link and state digest follows from the one before", trace_.events.size()));
    add(report, "trace.order", order_, trace_.header.document_order ? "targets ascend within each document" : "targets ascend");
    add(report, "trace.once", once_, fmt::format("{} predictions scored once each{}", scored_, notes_));
    add(report, "trace.sources", sources_, fmt::format("{} updates read {} tokens, all scored before", updates_, tokens_read_));
    if (trace_.header.independent) add(report, "trace.reset", reset_, fmt::format("no document was scored by a state that knows another ({} resets)", resets_));
    add(report, "trace.witness", witness_, fmt::format("{} windows run again with other tokens after a cut: the same distributions before it", witnesses_));
  }

 private:
  /// The first thing wrong under a rule.
  struct Finding {
    Verdict status = Verdict::kPass;
    std::string message;
  };
  void add(Report& report, const char* id, const Finding& finding, const std::string& passed) {
    report.add(id, finding.status, finding.status == Verdict::kPass ? passed : finding.message);
  }
  void found(Finding& finding, Verdict status, const std::string& what) {
    if (finding.status == Verdict::kFail || (finding.status == Verdict::kReview && status == Verdict::kReview)) return;
    finding = {status, fmt::format("{}: {}", eval::describe(trace_, event_), what)};
  }
  static size_t index(int64_t t) { return static_cast<size_t>(t); }
  int64_t document_of_target(int64_t t) const { return document_[index(t) - 1]; }

  void follow(const Digest& before) {
    if (before != state_) found(chain_, Verdict::kFail, "the state it names is not the one the events before it lead to");
  }

  void score(const TraceEvent& e) {
    follow(e.before);
    if (e.tokens.count == 0 || e.tokens.first < 1) return found(chain_, Verdict::kFail, "scores no token of the stream");
    for (int64_t t = e.tokens.first; t < e.tokens.end(); ++t) {
      const int64_t earlier = scored_at_[index(t)];
      if (earlier == kNever) {
        scored_at_[index(t)] = static_cast<int64_t>(event_);
        check_order(t);
        ++scored_;
      } else {
        repeated(t, earlier, e);
      }
      check_document(t, e);
    }
    loss_units_ += e.loss_units;
    ++events_scored_;
    all_scores_ += e.tokens.count;
  }

  void check_order(int64_t t) {
    const bool same = !trace_.header.document_order || document_of_target(t) == last_document_;
    if (same && t <= last_target_) {
      found(order_, Verdict::kFail, fmt::format("token {} is scored after token {}, which comes later in the stream", t, last_target_));
    }
    last_document_ = document_of_target(t);
    last_target_ = t;
  }

  void repeated(int64_t t, int64_t earlier, const TraceEvent& e) {
    if (restarted_) return found(once_, Verdict::kFail, fmt::format("token {} was scored before, by event {}; those scores were thrown away", t, earlier));
    if (trace_.events[index(earlier)].before != e.before) {
      return found(once_, Verdict::kFail, fmt::format("token {} was scored before, by event {}, and the state has changed since", t, earlier));
    }
    ++repeats_;
    // Sliding windows that are cut at the end of the stream score their last targets again, by the same state.
    if (t <= trace_.header.predictions - trace_.header.window) {
      found(once_, Verdict::kReview, fmt::format("token {} was scored before, by event {} and the same state; such tokens count more than once", t, earlier));
    }
  }

  void check_document(int64_t t, const TraceEvent& e) {
    if (!trace_.header.independent) return;
    const int64_t own = document_of_target(t);
    if (known_document_ != kNever && known_document_ != own) {
      found(reset_, Verdict::kFail, fmt::format("token {} of document {} is scored by a state that has read document {}", t, own, known_document_));
    } else if (document_[index(e.context_first)] != own) {
      found(reset_, Verdict::kReview, fmt::format("token {} of document {} is scored in a window that begins in document {}", t, own,
                                                  document_[index(e.context_first)]));
    }
  }

  void update(const TraceEvent& e) {
    follow(e.before);
    state_ = e.after;
    ++updates_;
    for (const eval::TokenRange& r : e.sources) {
      for (int64_t t = r.first; t < r.end(); ++t) {
        ++tokens_read_;
        known_document_ = document_[index(t)];
        // Where documents have a queue of their own, their boundaries are known beforehand.
        const bool boundary = trace_.header.document_order && tokens_[index(t)] == eval::kDocumentStart;
        if (scored_at_[index(t)] == kNever && last_scored_at_[index(t)] != kNever && !boundary) {
          found(sources_, Verdict::kFail, fmt::format("the state read token {}, which is scored only by event {}", t, last_scored_at_[index(t)]));
        }
      }
    }
  }

  void reset(const TraceEvent& e) {
    follow(e.before);
    if (trace_.header.independent && e.after != trace_.header.initial_state) {
      found(reset_, Verdict::kFail, "the state after the reset is not the one at the start");
    }
    state_ = e.after;
    known_document_ = kNever;
    ++resets_;
  }

  void witness(const TraceEvent& e) {
    ++witnesses_;
    if (e.before != e.after) {
      found(witness_, Verdict::kFail, fmt::format("with other tokens from {} on, the distributions of the targets {}..{} changed", e.cut,
                                                  e.tokens.first, e.tokens.end() - 1));
    }
  }

  void totals(const TraceEvent& e) {
    if (!restarted_ && (e.scored != all_scores_ || e.loss_units != loss_units_)) {
      found(chain_, Verdict::kFail, "the totals are not the sums of the events");
    }
  }

  void count_unscored() {
    int64_t count = 0, odd = kNever;
    for (int64_t t = 1; t <= trace_.header.predictions; ++t) {
      if (scored_at_[index(t)] != kNever) continue;
      ++count;
      const bool starts_document = tokens_[index(t)] == eval::kDocumentStart && trace_.header.independent;
      const bool before_documents = trace_.header.independent && document_[index(t)] == 0 && tokens_[0] != eval::kDocumentStart;
      if (odd == kNever && t > trace_.header.window && !starts_document && !before_documents) odd = t;
    }
    if (count > 0) notes_ += fmt::format(", {} of the stream never", count);
    if (repeats_ > 0) notes_ += fmt::format(", {} more than once by the same state at the end of the stream", repeats_);
    if (odd != kNever && once_.status == Verdict::kPass) once_ = {Verdict::kReview, fmt::format("token {} and {} others were never scored", odd, count - 1)};
  }

  const Trace& trace_;
  std::span<const uint16_t> tokens_;
  std::vector<int64_t> scored_at_, last_scored_at_, document_;
  Digest state_{};
  size_t event_ = 0;
  bool restarted_ = false;
  int64_t last_target_ = 0, last_document_ = kNever, known_document_ = kNever;
  int64_t scored_ = 0, all_scores_ = 0, repeats_ = 0, loss_units_ = 0, updates_ = 0, tokens_read_ = 0, resets_ = 0, witnesses_ = 0, events_scored_ = 0;
  std::string notes_;
  Finding chain_, order_, once_, sources_, reset_, witness_;
};

}  // namespace

Status check_trace(std::span<const std::byte> bytes, const std::string& where, const TraceSubject& subject, Report& report) {
  FAIRWAY_ASSIGN(const Trace trace, eval::parse_trace(bytes, where));
  const eval::TraceHeader& h = trace.header;
  std::string foreign;
  auto compare = [&](const char* what, bool same) {
    if (!same) foreign += (foreign.empty() ? "" : ", ") + std::string(what);
  };
  compare("tokens", h.predictions + 1 == static_cast<int64_t>(subject.tokens.size()) && h.tokens_sha256 == sha256(std::as_bytes(subject.tokens)));
  compare("config", h.config_sha256 == subject.config_sha256);
  compare("container", h.container_sha256 == subject.container_sha256);
  if (!foreign.empty()) {
    report.add("trace.chain", Verdict::kFail, fmt::format("header: the trace of another run; not of this {}", foreign));
    return {};
  }
  if (!trace.defect.empty()) {
    report.add("trace.chain", Verdict::kFail, trace.defect);
    return {};
  }
  if (trace.events.back().nll_sha256 != subject.scores_sha256) {
    report.add("trace.chain", Verdict::kFail,
               fmt::format("{}: the scores it ends with are not those of the record", eval::describe(trace, trace.events.size() - 1)));
    return {};
  }
  Audit(trace, subject.tokens).run(report);
  return {};
}

void compare_traces(std::span<const std::byte> recorded, std::span<const std::byte> again, Report& report) {
  if (std::ranges::equal(recorded, again)) {
    report.add("trace.replay", Verdict::kPass, fmt::format("scoring again wrote the recorded trace, {} bytes", recorded.size()));
    return;
  }
  const auto a = eval::parse_trace(recorded, "recorded"), b = eval::parse_trace(again, "again");
  std::string where = "its header";
  if (a && b) {
    size_t event = 0;
    auto same = [&](const TraceEvent& x, const TraceEvent& y) {
      return x.kind == y.kind && x.before == y.before && x.after == y.after && x.tokens == y.tokens && x.nll_sha256 == y.nll_sha256 &&
             x.sources == y.sources && x.loss_units == y.loss_units;
    };
    while (event < a->events.size() && event < b->events.size() && same(a->events[event], b->events[event])) ++event;
    if (event > 0) where = event < a->events.size() ? eval::describe(*a, event) : fmt::format("event {}", event);
  }
  report.add("trace.replay", Verdict::kFail, fmt::format("scoring again gives another trace from {} on", where));
}

}  // namespace fairway::verifier
