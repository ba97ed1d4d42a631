#include "verifier/audit/source_audit.h"

#include <algorithm>
#include <string>

#include "verifier/audit/limits.h"
#include "verifier/audit/rules/rule.h"
#include "verifier/audit/source/interpreter.h"

namespace fairway::audit {
namespace {

using verifier::Check;
using verifier::Verdict;

constexpr rules::Rule kRules[] = {
    rules::weights_before_scores,
    rules::tables_before_scores,
    rules::target_keyed_tables,
    rules::hindsight_choice,
    rules::byte_mixtures,
    rules::hints_of_the_target,
    rules::open_masks,
    rules::document_edges,
    rules::optimised_on_scored,
    rules::calibration_on_validation,
    rules::stored_targets,
    rules::late_training_data,
};

struct Question {
  const char* id;
  const char* holds;  ///< what a pass says
};

constexpr Question kQuestions[] = {
    {"legality.score_first", "no gradient step on a validation token comes before its score"},
    {"legality.single_pass", "the reported score is the first and only one"},
    {"legality.normalized", "no lookup or choice made with the token being predicted enters the reported score"},
    {"legality.causal", "no hint and no attention reads the token being predicted"},
    {"legality.slot", "nothing is optimised on the positions that are then scored"},
    {"legality.calibration", "no calibration looks at validation tokens"},
};

int rank(Verdict verdict) { return verdict == Verdict::kFail ? 2 : verdict == Verdict::kReview ? 1 : 0; }

/// One check of all findings with that id: the worst level, the messages and places of that level.
Check merge(const std::string& id, const std::vector<rules::Finding>& findings) {
  Check check;
  check.id = id;
  check.status = Verdict::kPass;
  for (const rules::Finding& finding : findings) {
    if (finding.id == id && rank(finding.level) > rank(check.status)) check.status = finding.level;
  }
  for (const rules::Finding& finding : findings) {
    if (finding.id != id || finding.level != check.status) continue;
    if (check.message.find(finding.message) == std::string::npos)
      check.message += (check.message.empty() ? "" : "; ") + finding.message;
    for (const verifier::Evidence& e : finding.evidence) {
      const bool known =
          std::any_of(check.evidence.begin(), check.evidence.end(), [&](const verifier::Evidence& other) {
            return other.file == e.file && other.line == e.line && other.end_line == e.end_line;
          });
      if (!known && check.evidence.size() < 24) check.evidence.push_back(e);
    }
  }
  return check;
}

source::LoggedText logged_text(const Facts& facts) {
  source::LoggedText text;
  std::vector<std::string>& lines = text.lines;
  bool finished = false;
  for (const LoggedRun& run : facts.runs) {
    text.complete &= run.markers.size() < limits::kMarkersPerRun;
    for (const LogMarker& marker : run.markers)
      lines.push_back(marker.text.substr(std::min(marker.text.find_first_not_of(" \t"), marker.text.size())));
    for (const ScoreLine& score : run.scores) {
      lines.push_back(score.tag + " val_loss");
      text.tags.push_back(score.tag);
      finished |= !score.diagnostic;
    }
  }
  std::sort(lines.begin(), lines.end());
  lines.erase(std::unique(lines.begin(), lines.end()), lines.end());
  if (!finished) text.tags.clear();
  return text;
}

/// Branches whose scores no log has are no part of the reported runs, if the claimed score is printed elsewhere in the
/// source. If the claim is that of no log, or its tag is printed nowhere in the source, they are a doubt.
void drop_unprinted(const Facts& facts, source::Timeline& timeline) {
  const rules::Scores scores(facts, timeline);
  if (scores.tag_known() && !timeline.events[static_cast<size_t>(scores.report_event())].unprinted) {
    std::erase_if(timeline.events, [](const source::Event& event) { return event.unprinted; });
  } else {
    for (source::Event& event : timeline.events) event.doubt |= event.unprinted;
  }
}

/// No rule has found anything: that is a pass only if the program could be followed to a printed score.
void judge_silence(const source::Program& program, const source::Timeline& timeline, const rules::Scores& scores,
                   const Question& question, Check& check) {
  for (const source::Unit& unit : program.units()) {
    for (uint32_t line : unit.tree.error_lines()) {
      if (check.evidence.size() < 4) check.evidence.push_back({unit.source->name, line, 0});
    }
    if (!unit.tree.problem().empty()) check.message = unit.source->name + " is " + unit.tree.problem();
  }
  if (program.units().empty()) {
    check.status = Verdict::kSkip;
    check.message = "the folder has no Python source";
  } else if (!check.message.empty() || !timeline.problems.empty()) {
    check.status = Verdict::kReview;
    if (check.message.empty()) check.message = timeline.problems[0];
    check.message += ". Does what was not read keep the rule?";
  } else if (scores.report_event() < 0) {
    // One open question keeps the whole record from passing; it need not be asked once per rule.
    const bool asks = !check.evidence.empty() || check.id == kQuestions[0].id;
    check.status = asks ? Verdict::kReview : Verdict::kSkip;
    check.message =
        !check.evidence.empty()
            ? "the source does not parse there, and no printed score could be followed. Does it keep the rule?"
        : asks ? "no printed score could be followed through these sources: which program printed it, and is it legal?"
               : "no printed score could be followed through these sources, so nothing was judged";
  } else {
    check.evidence.clear();
    check.message = question.holds;
  }
}

}  // namespace

std::vector<Check> audit_source(const Facts& facts) {
  std::vector<Check> checks;
  source::Program program(facts.sources);
  const source::Settings settings(facts);
  source::Timeline timeline = source::Interpreter(program, settings, logged_text(facts)).run();
  drop_unprinted(facts, timeline);
  const rules::Scores scores(facts, timeline);
  const rules::Context context{facts, program, settings, timeline, scores};
  std::vector<rules::Finding> findings;
  for (rules::Rule rule : kRules) rule(context, findings);

  for (const Question& question : kQuestions) {
    Check check = merge(question.id, findings);
    if (check.message.empty()) judge_silence(program, timeline, scores, question, check);
    checks.push_back(std::move(check));
  }
  Check split = merge("data.split", findings);
  if (!split.message.empty()) checks.push_back(std::move(split));
  return checks;
}

}  // namespace fairway::audit
