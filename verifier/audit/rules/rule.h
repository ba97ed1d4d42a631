/// A legality rule: one file each, looking at the timeline of the program under its logged settings.
///
/// Three levels: a construct is *present* in the text, *reachable* under the settings of the reported runs, or it
/// *affects the reported score*. Only the last is `fail`; a doubt about reachability or effect is `review` with the
/// question a person must answer.
#pragma once

#include <string>
#include <vector>

#include "verifier/audit/facts.h"
#include "verifier/audit/source/program.h"
#include "verifier/audit/source/settings.h"
#include "verifier/audit/source/timeline.h"
#include "verifier/report/report.h"

namespace fairway::audit::rules {

struct Finding {
  std::string id;  ///< of the check it belongs to
  verifier::Verdict level = verifier::Verdict::kReview;
  std::string message;
  std::vector<verifier::Evidence> evidence;
};

/// What every rule needs to know about scores: which sums reach which printed line, and which line is the reported one.
class Scores {
 public:
  Scores(const Facts& facts, const source::Timeline& timeline);

  /// Events of kind kScore that reach the reported line, in order; indices into Timeline::events.
  const std::vector<size_t>& reported() const { return reported_; }
  /// Those that reach any printed line.
  const std::vector<size_t>& printed() const { return printed_; }
  /// True if the value of that event is part of the reported score.
  bool reaches_report(int event_id) const {
    return event_id != source::Origins::kOverflow && report_origins_.has(event_id);
  }
  /// fail: it is part of the reported score. review: a setting or the claim leaves open whether it is. pass: it is not.
  verifier::Verdict level(const source::Event& event) const {
    if (reaches_report(event.id)) return event.doubt ? verifier::Verdict::kReview : verifier::Verdict::kFail;
    return !tag_known_ && reaches_print(event.id) ? verifier::Verdict::kReview : verifier::Verdict::kPass;
  }
  bool reaches_print(int event_id) const {
    return event_id != source::Origins::kOverflow && print_origins_.has(event_id);
  }
  /// The printed line that is the claimed score, or the last one if the logs do not say; -1: none.
  int report_event() const { return report_event_; }
  /// The source prints the tag that the claim matched.
  bool tag_known() const { return tag_known_; }

 private:
  std::vector<size_t> reported_, printed_;
  source::Origins report_origins_, print_origins_;
  int report_event_ = -1;
  bool tag_known_ = false;
};

struct Context {
  const Facts& facts;
  const source::Program& program;
  const source::Settings& settings;
  const source::Timeline& timeline;
  const Scores& scores;
};

using Rule = void (*)(const Context&, std::vector<Finding>&);

void weights_before_scores(const Context& context, std::vector<Finding>& findings);      ///< score_first, single_pass
void tables_before_scores(const Context& context, std::vector<Finding>& findings);       ///< single_pass, data.split
void target_keyed_tables(const Context& context, std::vector<Finding>& findings);        ///< normalized
void hindsight_choice(const Context& context, std::vector<Finding>& findings);           ///< normalized
void byte_mixtures(const Context& context, std::vector<Finding>& findings);              ///< normalized
void hints_of_the_target(const Context& context, std::vector<Finding>& findings);        ///< causal
void open_masks(const Context& context, std::vector<Finding>& findings);                 ///< causal
void document_edges(const Context& context, std::vector<Finding>& findings);             ///< causal
void optimised_on_scored(const Context& context, std::vector<Finding>& findings);        ///< slot
void late_training_data(const Context& context, std::vector<Finding>& findings);         ///< calibration
void stored_targets(const Context& context, std::vector<Finding>& findings);             ///< data.split
void calibration_on_validation(const Context& context, std::vector<Finding>& findings);  ///< calibration

/// An optimiser step on validation tokens, found in the timeline.
struct Update {
  size_t backward = 0;  ///< index of the event
  int step = -1;        ///< index of its step, or -1
  bool fresh = false;   ///< of tensors made during evaluation, not of weights or adapters
};
std::vector<Update> updates_on_validation(const source::Timeline& timeline);

/// One finding of all events of that kind, at the strongest level any of them has; nothing if none is part of a score.
void add_construct(const Context& context, source::EventKind kind, const std::string& id, const std::string& message,
                   std::vector<Finding>& findings);

/// The nearest loop around `loop`, itself included, that repeats without moving on in the data of `value`; -1: none.
int repeating_loop(const source::Timeline& timeline, int loop, const source::Value& value);

}  // namespace fairway::audit::rules
