/// R1, R2, R3: weights trained on validation tokens must not score those tokens afterwards.
///
/// Legal: score a chunk, then train on it, any number of epochs. Illegal: train on the validation set, then score it
/// (score_first); score it again after a legal pass, or score in each of several epochs (single_pass).
#include <algorithm>
#include <set>

#include "verifier/audit/rules/rule.h"

namespace fairway::audit::rules {
namespace {

using source::Event;
using source::EventKind;
using source::Origins;
using source::Timeline;
using verifier::Verdict;

/// The slices of validation tokens that a value was computed from.
Origins slices_of(const Timeline& timeline, const source::Value& value) {
  Origins slices;
  for (const Event& event : timeline.events) {
    if (event.kind == EventKind::kSlice && event.id != Origins::kOverflow && value.origins.has(event.id))
      slices.add(event.id);
  }
  return slices;
}

/// The models that a value was computed by, with those that they were made from.
Origins models_of(const Timeline& timeline, Origins origins) {
  Origins models;
  for (bool grown = true; grown;) {
    grown = false;
    for (const Event& event : timeline.events) {
      if (event.kind != EventKind::kModel || event.id == Origins::kOverflow || !origins.has(event.id) ||
          models.has(event.id))
        continue;
      models.add(event.id);
      origins |= event.value.origins;
      grown = true;
    }
  }
  return models;
}

/// True if the score is that of other models than those that were trained, and nothing of these was copied since.
bool is_of_another_model(const Timeline& timeline, const Update& update, const Event& score) {
  const Event& step = timeline.events[static_cast<size_t>(update.step)];
  Origins trained = timeline.events[update.backward].value.origins;
  trained |= step.parameters;
  const Origins scored = models_of(timeline, score.value.origins);
  if (score.value.origins.has(Origins::kOverflow) || trained.has(Origins::kOverflow)) return false;
  trained = models_of(timeline, trained);
  if (trained.empty() || scored.empty() || trained.intersects(scored)) return false;
  for (size_t i = static_cast<size_t>(update.step); i < timeline.events.size(); ++i) {
    const Event& copy = timeline.events[i];
    if ((copy.kind == EventKind::kSnapshot || copy.kind == EventKind::kRestore) &&
        models_of(timeline, copy.value.origins).intersects(trained))
      return false;
  }
  return true;
}

/// Adapters made for the occasion and unknown to the later score leave it alone.
bool leaves_alone(const Timeline& timeline, const Update& update, const Event& score) {
  if (update.step < 0) return false;
  if (is_of_another_model(timeline, update, score)) return true;
  const Event& step = timeline.events[static_cast<size_t>(update.step)];
  bool any = false;
  for (const Event& event : timeline.events) {
    if (event.kind != EventKind::kModel || event.id == Origins::kOverflow || !step.parameters.has(event.id)) continue;
    any = true;
    if (score.value.origins.has(event.id)) return false;
    // An adapter that the loss does not name was put into the model itself.
    if (!timeline.events[update.backward].value.origins.has(event.id)) return false;
    bool local = false;
    for (int at = event.invocation; at != -1; at = timeline.invocations[static_cast<size_t>(at)].parent) {
      local |= at == timeline.events[update.backward].invocation;
    }
    if (!local) return false;
    // Nor of one whose weights are copied out afterwards.
    for (size_t i = static_cast<size_t>(update.step); i < timeline.events.size(); ++i) {
      const Event& copy = timeline.events[i];
      if (copy.kind == EventKind::kSnapshot && copy.value.origins.has(event.id)) return false;
    }
  }
  return any;
}

/// Weights saved before the update are loaded again between it and the score.
bool restored(const Timeline& timeline, size_t update, size_t score) {
  for (size_t i = update + 1; i < score; ++i) {
    const Event& restore = timeline.events[i];
    if (restore.kind != EventKind::kRestore || restore.doubt) continue;
    bool before = false, after = false;
    for (size_t j = 0; j < i; ++j) {
      const Event& snapshot = timeline.events[j];
      if (snapshot.kind != EventKind::kSnapshot || snapshot.id == Origins::kOverflow ||
          !restore.value.origins.has(snapshot.id))
        continue;
      (j < update ? before : after) = true;
    }
    if (before && !after) return true;
  }
  return false;
}

/// The lines of an update a reader wants: its loop (or function), backward to step, and the call that runs it.
std::vector<verifier::Evidence> places(const Timeline& timeline, const Update& update, const Event* score) {
  const Event& backward = timeline.events[update.backward];
  std::vector<verifier::Evidence> evidence;
  source::Span span = backward.span;
  if (update.step >= 0) {
    const source::Span& step = timeline.events[static_cast<size_t>(update.step)].span;
    if (step.file == span.file && step.line >= span.line && step.line < span.line + 60)
      span.end_line = std::max(span.end_line, step.end_line);
  }
  evidence.push_back(timeline.evidence(span));
  int outermost = -1;
  for (int loop = backward.loop; loop != -1; loop = timeline.loops[static_cast<size_t>(loop)].parent) {
    if (timeline.loops[static_cast<size_t>(loop)].span.file == span.file) outermost = loop;
    if (timeline.loops[static_cast<size_t>(loop)].repeats) break;
  }
  if (outermost != -1) evidence.push_back(timeline.evidence(timeline.loops[static_cast<size_t>(outermost)].span));
  if (backward.invocation != -1) {
    const source::Invocation& call = timeline.invocations[static_cast<size_t>(backward.invocation)];
    evidence.push_back(timeline.evidence(timeline.function_spans[static_cast<size_t>(call.function)]));
    evidence.push_back(timeline.evidence(call.call));
  }
  if (score) evidence.push_back(timeline.evidence(score->span));
  return evidence;
}

std::string where(const Timeline& timeline, const Event& event) {
  if (event.invocation == -1) return "the main program";
  return timeline
      .function_names[static_cast<size_t>(timeline.invocations[static_cast<size_t>(event.invocation)].function)];
}

}  // namespace

void weights_before_scores(const Context& context, std::vector<Finding>& findings) {
  const Timeline& timeline = context.timeline;
  std::set<std::pair<std::string, uint32_t>> seen;
  // Where no printed line is known to be the claimed one, each may be.
  std::vector<size_t> scores = context.scores.reported();
  if (!context.scores.tag_known()) {
    for (size_t i : context.scores.printed()) {
      if (!context.scores.reaches_report(timeline.events[i].id)) scores.push_back(i);
    }
  }
  for (const Update& update : updates_on_validation(timeline)) {
    if (update.fresh) continue;  // optimised_on_scored
    const Event& backward = timeline.events[update.backward];
    // A score of the same data that comes first, in the same iteration, makes the update a legal one.
    bool score_first = false;
    for (size_t i : context.scores.printed()) {
      const Event& score = timeline.events[i];
      score_first |=
          i < update.backward && timeline.common_loop(score, backward) != -1 && !Timeline::exclusive(score, backward);
    }
    for (size_t i : scores) {
      const Event& score = timeline.events[i];
      if (Timeline::exclusive(score, backward) || leaves_alone(timeline, update, score)) continue;
      const int common = timeline.common_loop(score, backward);
      Finding finding;
      const bool reported = context.scores.reaches_report(score.id);
      finding.level = backward.doubt || score.doubt || !reported ? Verdict::kReview : Verdict::kFail;
      if (common == -1) {
        if (i < update.backward || restored(timeline, update.backward, i)) continue;
        if (score_first) {
          finding.id = "legality.single_pass";
          finding.message = "the reported score is computed again after " + where(timeline, backward) +
                            " has trained on the tokens it scores";
        } else {
          finding.id = "legality.score_first";
          finding.message = where(timeline, backward) + " trains on validation tokens before they are scored";
        }
      } else if (i < update.backward) {
        const int repeats = repeating_loop(timeline, common, score.value);
        if (repeats == -1) continue;
        finding.id = "legality.single_pass";
        finding.message =
            where(timeline, backward) +
            " scores the same tokens in every epoch and trains in between, so the last epoch's score counts";
        finding.evidence.push_back(timeline.evidence(timeline.loops[static_cast<size_t>(repeats)].span));
      } else {
        if (!slices_of(timeline, backward.value).intersects(slices_of(timeline, score.value))) continue;
        finding.id = "legality.score_first";
        finding.message = where(timeline, backward) + " trains on a chunk of validation tokens before scoring it";
      }
      if (update.step < 0) {
        finding.level = Verdict::kReview;
        finding.message += "; no optimiser step was found. Does anything use these gradients?";
      } else if (!reported) {
        finding.message += "; the claim matches no printed tag. Is this score the claimed one?";
      } else if (backward.doubt || score.doubt) {
        finding.message +=
            "; a setting that neither logs nor commands agree on decides whether it runs. Was it on in the reported "
            "runs?";
      }
      for (verifier::Evidence& e : places(timeline, update, &score)) finding.evidence.push_back(std::move(e));
      if (seen.insert({finding.id, backward.span.line}).second) findings.push_back(std::move(finding));
    }
  }
}

}  // namespace fairway::audit::rules
