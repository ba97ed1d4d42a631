#include <algorithm>
#include <cctype>

#include "verifier/audit/rules/rule.h"

namespace fairway::audit::rules {
namespace {

using source::Event;
using source::EventKind;
using source::tag_of;

/// `pattern` with '\1' for anything, against the whole of `text`.
bool matches(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = pattern.npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && (pattern[p] == text[t] || (pattern[p] == '#' && text[t] == '#'))) {
      ++p, ++t;
    } else if (p < pattern.size() && pattern[p] == '\1') {
      star = p++;
      mark = t;
    } else if (star != pattern.npos) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '\1') ++p;
  return p == pattern.size();
}

bool diagnostic(const std::string& text) {
  std::string lower;
  for (char c : text) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const char* word : {"diagnostic", "pre-quant", "pre_quant", "prequant", "post_ema", "swa:", "early", "chunk",
                           "[", "progress", "running", "step"}) {
    if (lower.find(word) != std::string::npos) return true;
  }
  return lower.empty() || lower[0] == '\1';
}

}  // namespace

Scores::Scores(const Facts& facts, const source::Timeline& timeline) {
  std::vector<size_t> prints;
  for (size_t i = 0; i < timeline.events.size(); ++i) {
    if (timeline.events[i].kind == EventKind::kPrint) prints.push_back(i);
  }
  auto has_score = [&](const Event& print) {
    for (const Event& event : timeline.events) {
      if (event.kind == EventKind::kScore && event.id != source::Origins::kOverflow &&
          print.value.origins.has(event.id))
        return true;
    }
    return false;
  };
  std::vector<size_t> scored;
  for (size_t i : prints) {
    if (has_score(timeline.events[i])) scored.push_back(i);
  }
  for (size_t i : scored) print_origins_ |= timeline.events[i].value.origins;

  std::string wanted = tag_of(facts.reported_tag);
  int claimed = -1;
  size_t known = 0;  // of the tag's characters; "final_exact" tells more than "\1_exact"
  if (!wanted.empty()) {
    for (size_t i : scored) {
      const std::string tag = tag_of(timeline.events[i].text);
      const size_t told = tag.size() - static_cast<size_t>(std::count(tag.begin(), tag.end(), '\1'));
      if (told == 0 || told < known || !matches(tag, wanted)) continue;
      known = told;
      claimed = report_event_ = static_cast<int>(i);
      tag_known_ = !diagnostic(tag);
    }
  }
  // A claim that equals an intermediate value says nothing about the final score; that one is judged too.
  if (!tag_known_) {
    report_event_ = -1;
    // The last score that the logs show; what they never printed did not run.
    for (size_t i : scored) {
      const std::string tag = tag_of(timeline.events[i].text);
      if (tag.find_first_not_of('\1') == std::string::npos) continue;
      for (const LoggedRun& run : facts.runs) {
        for (const ScoreLine& line : run.scores) {
          if (!line.diagnostic && matches(tag, tag_of(line.tag))) report_event_ = static_cast<int>(i);
        }
      }
    }
    const bool logged = report_event_ >= 0;
    for (size_t i : scored) {
      if (logged) break;
      const bool certain = !timeline.events[i].doubt;
      const bool replaces = report_event_ < 0 || certain || timeline.events[static_cast<size_t>(report_event_)].doubt;
      if (replaces && !diagnostic(tag_of(timeline.events[i].text))) report_event_ = static_cast<int>(i);
    }
    if (report_event_ < 0 && !scored.empty()) report_event_ = static_cast<int>(scored.back());
  }
  if (claimed >= 0 && timeline.events[static_cast<size_t>(claimed)].loop == -1)
    report_origins_ |= timeline.events[static_cast<size_t>(claimed)].value.origins;
  if (report_event_ >= 0) {
    // The same tag may be printed by several statements or calls: all of them are the report.
    const std::string tag = timeline.events[static_cast<size_t>(report_event_)].text;
    for (size_t i : scored) {
      const Event& print = timeline.events[i];
      // Without logs a later score behind a switch may be the one that is claimed.
      const bool may_be =
          !tag_known_ && print.doubt && static_cast<int>(i) > report_event_ && !diagnostic(tag_of(print.text));
      if (print.text == tag || may_be) report_origins_ |= timeline.events[i].value.origins;
    }
  }
  for (size_t i = 0; i < timeline.events.size(); ++i) {
    const Event& event = timeline.events[i];
    if (event.kind != EventKind::kScore) continue;
    // A sum of what was scored before is no second score.
    bool transfer = false;
    for (size_t j = 0; j < i; ++j) {
      const Event& earlier = timeline.events[j];
      transfer |= earlier.kind == EventKind::kScore && earlier.id != source::Origins::kOverflow &&
                  event.value.origins.has(earlier.id);
    }
    if (transfer) continue;
    if (reaches_print(event.id)) printed_.push_back(i);
    if (reaches_report(event.id)) reported_.push_back(i);
  }
}

std::vector<Update> updates_on_validation(const source::Timeline& timeline) {
  std::vector<Update> updates;
  const auto related = [&](int a, int b) {
    for (int at = a; at != -1; at = timeline.invocations[static_cast<size_t>(at)].parent) {
      if (at == b) return true;
    }
    for (int at = b; at != -1; at = timeline.invocations[static_cast<size_t>(at)].parent) {
      if (at == a) return true;
    }
    return a == -1 || b == -1;
  };
  for (size_t i = 0; i < timeline.events.size(); ++i) {
    const Event& event = timeline.events[i];
    if (event.kind != EventKind::kBackward || !event.value.any(source::kVal) || event.value.any(source::kTrain))
      continue;
    Update update;
    update.backward = i;
    uint32_t taint = 0;
    for (size_t j = i + 1; j < timeline.events.size() && update.step < 0; ++j) {
      const Event& step = timeline.events[j];
      if (step.kind == EventKind::kStep && related(step.invocation, event.invocation)) {
        update.step = static_cast<int>(j);
        taint = step.parameter_taint;
      }
    }
    const bool weights = (taint & source::kModelParams) != 0;
    update.fresh = !weights && ((taint & source::kFresh) != 0 || event.value.any(source::kFresh));
    updates.push_back(update);
  }
  return updates;
}

void add_construct(const Context& context, EventKind kind, const std::string& id, const std::string& message,
                   std::vector<Finding>& findings) {
  using verifier::Verdict;
  Finding finding;
  finding.id = id;
  finding.level = Verdict::kPass;
  bool doubt = false;
  for (const Event& event : context.timeline.events) {
    if (event.kind != kind) continue;
    const Verdict level = context.scores.level(event);
    if (level == Verdict::kPass || (level == Verdict::kReview && finding.level == Verdict::kFail)) continue;
    if (level != finding.level) finding.evidence.clear();
    finding.level = level;
    doubt = event.doubt;
    const verifier::Evidence place = context.timeline.evidence(event.span);
    const bool known = std::any_of(finding.evidence.begin(), finding.evidence.end(), [&](const verifier::Evidence& e) {
      return e.file == place.file && e.line == place.line;
    });
    if (known) continue;
    finding.evidence.push_back(place);
    for (const Event& key : context.timeline.events) {
      if (kind == EventKind::kTargetRead && key.kind == EventKind::kTargetKey && key.id != source::Origins::kOverflow &&
          event.value.origins.has(key.id)) {
        finding.evidence.push_back(context.timeline.evidence(key.span));
      }
    }
    if (event.invocation != -1) {
      const source::Invocation& call = context.timeline.invocations[static_cast<size_t>(event.invocation)];
      finding.evidence.push_back(
          context.timeline.evidence(context.timeline.function_spans[static_cast<size_t>(call.function)]));
    }
  }
  if (finding.evidence.empty()) return;
  finding.message = message;
  if (finding.level == Verdict::kReview) {
    finding.message +=
        doubt ? ". A setting that no log names decides whether it runs: was it on in the reported runs?"
              : ". It reaches a printed score, but the claim matches no printed tag: is that score the claimed one?";
  }
  findings.push_back(std::move(finding));
}

int repeating_loop(const source::Timeline& timeline, int loop, const source::Value& value) {
  for (; loop != -1; loop = timeline.loops[static_cast<size_t>(loop)].parent) {
    const source::Loop& l = timeline.loops[static_cast<size_t>(loop)];
    if (l.repeats && !l.once && (l.origin == source::Origins::kOverflow || !value.origins.has(l.origin))) return loop;
  }
  return -1;
}

}  // namespace fairway::audit::rules
