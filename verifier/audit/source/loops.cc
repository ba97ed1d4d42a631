#include <algorithm>

#include "verifier/audit/source/interpreter.h"

namespace fairway::audit::source {

const std::vector<int>& Interpreter::assigned_in(int32_t node) {
  const int64_t key = (static_cast<int64_t>(file_) << 32) | node;
  auto [at, inserted] = assigned_.try_emplace(key);
  if (!inserted) return at->second;
  std::vector<int> names;
  std::vector<int32_t> open = {node};
  const auto& unit = program_.units()[static_cast<size_t>(file_)];
  auto add_targets = [&](int32_t target) {
    std::vector<int32_t> targets = {target};
    while (!targets.empty()) {
      const int32_t t = targets.back();
      targets.pop_back();
      if (unit.tree[t].kind == NodeKind::kIdentifier) names.push_back(unit.names[static_cast<size_t>(t)]);
      if (unit.tree[t].kind == NodeKind::kTuple) {
        for (int32_t child : unit.tree.children(t)) targets.push_back(child);
      }
    }
  };
  while (!open.empty()) {
    const int32_t n = open.back();
    open.pop_back();
    const NodeKind kind = unit.tree[n].kind;
    if ((kind == NodeKind::kFunction || kind == NodeKind::kClass || kind == NodeKind::kLambda) && n != node) continue;
    if (kind == NodeKind::kAssignment || kind == NodeKind::kAugmentedAssignment || kind == NodeKind::kFor) {
      if (int32_t left = unit.tree.child(n, Field::kLeft); left != kNoNode) add_targets(left);
    }
    for (int32_t c = unit.tree[n].first_child; c != kNoNode; c = unit.tree[c].next) open.push_back(c);
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  at->second = std::move(names);
  return at->second;
}

/// A loop body is walked once, so what it assigns is not the constant it was before the first iteration.
void Interpreter::forget_assigned(int32_t node) {
  auto& variables = frames_[static_cast<size_t>(frame_)].variables;
  for (int name : assigned_in(node)) {
    if (auto at = variables.find(name); at != variables.end()) at->second.forget();
  }
}

int Interpreter::open_loop(int32_t node) {
  Loop loop;
  loop.span = span(node);
  loop.parent = loop_;
  loop.origin = std::min(next_origin_++, Origins::kOverflow);
  timeline_.loops.push_back(loop);
  loop_ = static_cast<int>(timeline_.loops.size()) - 1;
  return loop_;
}

Interpreter::Flow Interpreter::for_statement(int32_t node) {
  const int32_t target = tree().child(node, Field::kLeft);
  const int32_t iterable = tree().child(node, Field::kRight);
  const int32_t body = tree().child(node, Field::kBody);
  if (target == kNoNode || iterable == kNoNode || body == kNoNode) return Flow::kNext;
  const Value items = eval(iterable);
  const std::string_view written = text(iterable).substr(0, 200);
  const bool range = written.rfind("range(", 0) == 0 || written.rfind("trange(", 0) == 0;
  const bool none = items.kind == Value::Kind::kTuple && items.items->empty() && range;  // range(0)
  if (none && !items.any(kOpen)) return Flow::kNext;
  if (none) ++doubt_;

  const int outer = loop_;
  Loop& loop = timeline_.loops[static_cast<size_t>(open_loop(node))];
  const std::string_view variable = text(target).substr(0, 60);
  loop.ranges = range;
  for (const char* word : {"epoch", "epochs", "ep", "pass", "passes", "round", "iter", "repeat"}) {
    loop.repeats |=
        has_word(variable, word) ||
        has_word(
            variable.substr(variable.find_first_not_of('_') == variable.npos ? 0 : variable.find_first_not_of('_')),
            word);
  }
  for (const char* word : {"epochs", "passes", "rounds", "repeats", "n_epoch", "num_epoch", "epoch"})
    loop.repeats |= range && contains_lower(written, word);
  const int origin = loop.origin;
  Value element;
  element.absorb(items);
  if (items.kind == Value::Kind::kTuple && !items.items->empty()) {
    element = (*items.items)[0];
    for (size_t i = 1; i < items.items->size(); ++i) element = join(element, (*items.items)[i]);
    loop.once = items.items->size() == 1;
    if (!loop.once) element.forget();
  }
  element.origins.add(origin);
  if (element.kind == Value::Kind::kTuple) {
    auto copy = std::make_shared<std::vector<Value>>(*element.items);
    for (Value& item : *copy) item.origins.add(origin);
    element.items = std::move(copy);
  }
  const bool once = loop.once;
  if (!once) forget_assigned(body);
  assign(target, element, target);
  const Flow flow = block(body);
  if (none) --doubt_;
  pending_arm_ = -1;
  loop_ = outer;
  if (!once) forget_assigned(body);
  return flow == Flow::kReturn && once ? flow : Flow::kNext;
}

Interpreter::Flow Interpreter::while_statement(int32_t node) {
  const int32_t condition = tree().child(node, Field::kCondition);
  const int32_t body = tree().child(node, Field::kBody);
  if (condition == kNoNode || body == kNoNode) return Flow::kNext;
  forget_assigned(body);
  const Value value = eval(condition);
  if (truth(value) == Tri::kFalse) return Flow::kNext;
  const int outer = loop_;
  open_loop(node);
  if (value.any(kSetting)) ++doubt_;
  block(body);
  if (value.any(kSetting)) --doubt_;
  pending_arm_ = -1;
  loop_ = outer;
  forget_assigned(body);
  return Flow::kNext;
}

}  // namespace fairway::audit::source
