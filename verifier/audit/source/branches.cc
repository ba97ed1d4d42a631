#include <algorithm>

#include "verifier/audit/read/log_lines.h"
#include "verifier/audit/read/text.h"
#include "verifier/audit/source/interpreter.h"

namespace fairway::audit::source {
namespace {

constexpr size_t kTellingStart = 7;  ///< characters of a printed line that tell it from others

}  // namespace

Interpreter::Flow Interpreter::arm(int32_t node) {
  if (node == kNoNode) return Flow::kNext;
  const NodeKind kind = tree()[node].kind;
  if (kind == NodeKind::kElse) {
    const int32_t body = tree().child(node, Field::kBody);
    return body == kNoNode ? Flow::kNext : block(body);
  }
  return kind == NodeKind::kBlock ? block(node) : statement(node);
}

/// The text of a string up to the first value put in, without leading blanks.
std::string_view Interpreter::literal_start(int32_t string) const {
  std::string_view start;
  for (int32_t at : tree().children(string)) {
    if (tree()[at].kind == NodeKind::kStringStart) continue;
    if (tree()[at].kind == NodeKind::kStringContent) start = text(at);
    break;
  }
  while (!start.empty() && start.front() == ' ') start.remove_prefix(1);
  return start.size() >= kTellingStart ? start : std::string_view();
}

bool Interpreter::in_logs(std::string_view start) const {
  const auto at = std::lower_bound(logged_.lines.begin(), logged_.lines.end(), start);
  return at != logged_.lines.end() && at->compare(0, start.size(), start) == 0;
}

/// True if the branch itself prints lines that readers keep, and finished runs have none of them, nor any other line
/// from there.
bool Interpreter::is_silent(int32_t body) {
  if (body == kNoNode || logged_.tags.empty() || !logged_.complete) return false;
  bool silent = false;
  for (int32_t statement : tree().children(body)) {
    if (tree()[statement].kind != NodeKind::kExpressionStatement) continue;
    const std::vector<int32_t> expressions = tree().children(statement);
    if (expressions.size() != 1 || tree()[expressions[0]].kind != NodeKind::kCall) continue;
    const int32_t arguments = tree().child(expressions[0], Field::kArguments);
    const std::vector<int32_t> given = arguments == kNoNode ? std::vector<int32_t>() : tree().children(arguments);
    if (given.empty()) continue;
    int32_t first = given[0];
    if (tree()[first].kind == NodeKind::kConcatenatedString) first = tree()[first].first_child;
    if (first == kNoNode || tree()[first].kind != NodeKind::kString) continue;
    const std::string_view start = literal_start(first);
    // Lines of scores are judged by mark_unprinted.
    if (start.empty() || !is_marker(lower(start)) || start.find("val_loss") != start.npos) continue;
    if (in_logs(start)) return false;
    silent = true;
  }
  return silent && !was_logged(body, 4);
}

/// True if something below, or in functions called from there, prints a line that the logs have; `scores`: lines of
/// scores count too.
bool Interpreter::was_logged(int32_t root, int levels, bool scores) {
  if (root == kNoNode || logged_.lines.empty() || levels == 0) return false;
  const int64_t key = (static_cast<int64_t>(file_) << 33) | (static_cast<int64_t>(root) << 1) | scores;
  if (const auto known = was_logged_.find(key); known != was_logged_.end()) return known->second;
  was_logged_[key] = false;  // a recursion finds nothing new
  std::vector<int32_t> open = {root};
  std::vector<int> called;
  bool found = false;
  while (!open.empty() && !found) {
    const int32_t node = open.back();
    open.pop_back();
    if (tree()[node].kind == NodeKind::kString) {
      const std::string_view start = literal_start(node);
      found = !start.empty() && (scores || start.find("val_loss") == start.npos) && in_logs(start);
      continue;
    }
    if (tree()[node].kind == NodeKind::kCall) {
      const int32_t function = tree().child(node, Field::kFunction);
      if (function != kNoNode && tree()[function].kind == NodeKind::kIdentifier) {
        called.push_back(program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(function)]);
      }
    }
    for (int32_t at = tree()[node].first_child; at != kNoNode; at = tree()[at].next) open.push_back(at);
  }
  const int outer = file_;
  for (size_t i = 0; i < called.size() && !found; ++i) {
    for (int index : program_.functions_named(called[i])) {
      const Function& function = program_.functions()[static_cast<size_t>(index)];
      file_ = function.file;
      found |= was_logged(function.body, levels - 1, scores);
      file_ = outer;
    }
  }
  was_logged_[key] = found;
  return found;
}

/// Scores were printed from that event on, and none of them by the runs that the logs show.
void Interpreter::mark_unprinted(size_t first_event) {
  const auto was_printed = [&](const std::string& tag) {
    return std::any_of(logged_.tags.begin(), logged_.tags.end(),
                       [&](const std::string& logged) { return tag_of(logged) == tag; });
  };
  bool printed = false, missing = false, surely_missing = false;
  for (size_t i = first_event; i < timeline_.events.size(); ++i) {
    const Event& event = timeline_.events[i];
    if (event.kind != EventKind::kPrint) continue;
    const std::string tag = tag_of(event.text);
    // Readers know lines that carry both numbers; of another form nothing follows.
    if (tag.empty() || tag.find('\1') != tag.npos || event.text.find("val_loss") == event.text.npos) continue;
    const bool found = was_printed(tag);
    printed |= found;
    missing |= !found;
    // Had the branch run, it would have come by here.
    surely_missing |= !found && event.arms.size() == arms_.size() && event.loop == loop_;
  }
  if (logged_.tags.empty() || !missing || (printed && !surely_missing)) return;
  for (size_t i = first_event; i < timeline_.events.size(); ++i) timeline_.events[i].unprinted = true;
}

Interpreter::Flow Interpreter::if_statement(int32_t node) {
  // if, then any number of elif, then else: each condition is only asked if those before may be false.
  struct Case {
    int32_t condition, body;
  };
  std::vector<Case> cases = {{tree().child(node, Field::kCondition), tree().child(node, Field::kConsequence)}};
  for (int32_t at = tree()[node].first_child; at != kNoNode; at = tree()[at].next) {
    if (tree()[at].kind == NodeKind::kElif)
      cases.push_back({tree().child(at, Field::kCondition), tree().child(at, Field::kConsequence)});
    if (tree()[at].kind == NodeKind::kElse) cases.push_back({kNoNode, at});
  }
  const int branch = next_branch_++;
  const int unsure = unsure_, doubt = doubt_;
  const Origins control = control_;
  int open_arms = 0;     // arms that may run
  bool decided = false;  // one arm surely runs
  bool all_leave = true;
  bool first_leaves = false;
  Flow last = Flow::kNext;
  for (size_t i = 0; i < cases.size() && !decided; ++i) {
    Tri t = Tri::kTrue;
    bool not_logged = false, open_switch = false;
    if (cases[i].condition != kNoNode) {
      const Value condition = eval(cases[i].condition);
      t = truth(condition);
      not_logged = condition.any(kDefault);
      open_switch = condition.any(kOpen);
      if (t == Tri::kUnknown) {
        if (condition.any(kSetting)) ++doubt_;
        if (condition.any(kOracle)) control_ |= condition.origins;
      }
    }
    if (t == Tri::kFalse && not_logged && was_logged(cases[i].body, 4)) t = Tri::kTrue;
    // Nothing shows how it ran: the default is taken, and the other way walked too, as an open question.
    const bool open_question = cases[i].condition != kNoNode && open_switch && t != Tri::kUnknown;
    if (open_question && t == Tri::kFalse) {
      ++doubt_;
      ++unsure_;
      arms_.push_back({branch, static_cast<int>(i)});
      arm(cases[i].body);
      arms_.pop_back();
      --unsure_;
      --doubt_;
      ++open_arms;
      all_leave = false;
      continue;
    }
    if (t == Tri::kFalse) continue;
    if (t == Tri::kTrue && not_logged && is_silent(cases[i].body)) ++doubt_;  // on by default, and off in these runs?
    decided = t == Tri::kTrue;
    if (!decided || open_arms > 0) unsure_ = unsure + 1;
    const bool alone = decided && open_arms == 0;
    if (!alone) arms_.push_back({branch, static_cast<int>(i)});
    const size_t first_event = timeline_.events.size();
    last = arm(cases[i].body);
    if ((not_logged || t == Tri::kUnknown) && !was_logged(cases[i].body, 4, false)) mark_unprinted(first_event);
    if (!alone) arms_.pop_back();
    if (alone) {
      unsure_ = unsure;
      doubt_ = doubt;
      control_ = control;
      return last;
    }
    ++open_arms;
    all_leave &= last != Flow::kNext;
    if (i == 0) first_leaves = last != Flow::kNext;
  }
  unsure_ = unsure;
  doubt_ = doubt;
  control_ = control;
  if (open_arms == 0) return Flow::kNext;
  if (decided && all_leave) return last;
  if (first_leaves && open_arms == 1) pending_arm_ = branch;
  return Flow::kNext;
}

}  // namespace fairway::audit::source
