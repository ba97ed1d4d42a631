#include <cmath>

#include "verifier/audit/source/interpreter.h"

namespace fairway::audit::source {

/// The text of a string; of an f-string, with '\1' where a value is not known. Properties of the values are kept.
Value Interpreter::eval_string(int32_t node) {
  std::string result;
  Value properties;
  bool formatted = false;
  std::vector<int32_t> open = {node};
  while (!open.empty()) {
    const int32_t at = open.back();
    open.pop_back();
    const NodeKind kind = tree()[at].kind;
    if (kind == NodeKind::kStringContent) {
      result += text(at).substr(0, 4096);
      continue;
    }
    if (kind == NodeKind::kInterpolation) {
      formatted = true;
      const Value value = eval(tree()[at].first_child);
      properties.absorb(value);
      if (value.kind == Value::Kind::kTuple) {
        for (const Value& item : *value.items) properties.absorb(item);
      }
      if (value.kind == Value::Kind::kString) {
        result += string_of(value);
      } else if (value.kind == Value::Kind::kNumber && value.number == std::floor(value.number) &&
                 std::fabs(value.number) < 1e9) {
        result += std::to_string(static_cast<long long>(value.number));
      } else {
        result += '\1';
      }
      continue;
    }
    std::vector<int32_t> children = tree().children(at);
    for (auto c = children.rbegin(); c != children.rend(); ++c) {
      if (tree()[*c].kind != NodeKind::kStringStart) open.push_back(*c);
    }
  }
  Value value = of_string(result);
  if (formatted) value.absorb(properties);
  value.taint &= ~static_cast<uint32_t>(kSetting);
  // File patterns say which data is meant.
  const bool shard = result.find(".bin") != std::string::npos || result.find('*') != std::string::npos;
  if (result.find("fineweb_val") != std::string::npos || (shard && result.find("_val_") != std::string::npos))
    value.taint |= kVal;
  if (result.find("fineweb_train") != std::string::npos || (shard && result.find("_train_") != std::string::npos))
    value.taint |= kTrain;
  return value;
}

Value Interpreter::eval_sequence(int32_t node) {
  Value result;
  result.kind = Value::Kind::kTuple;
  result.items = std::make_shared<std::vector<Value>>();
  bool splat = false;
  for (int32_t at : tree().children(node)) {
    splat |= tree()[at].kind == NodeKind::kSplat;
    const Value item = eval(at);
    result.absorb(item);
    if (result.items->size() < 256) result.items->push_back(item);
  }
  if (splat) result.kind = Value::Kind::kUnknown;
  return result;
}

Value Interpreter::eval_dict(int32_t node) {
  Value result;
  for (int32_t at : tree().children(node)) {
    if (tree()[at].kind != NodeKind::kPair) {
      result.absorb(eval(at));
      continue;
    }
    const Value key = eval(tree().child(at, Field::kKey));
    const Value value = eval(tree().child(at, Field::kValue));
    result.absorb(value);
    if (value.kind == Value::Kind::kTuple) {
      for (const Value& item : *value.items) result.absorb(item);
    }
  }
  return result;
}

Value Interpreter::eval_comprehension(int32_t node) {
  // Its variables are its own, but assigning them to the frame does no harm to what the rules ask.
  const int outer = loop_;
  int32_t body = kNoNode;
  for (int32_t at : tree().children(node)) {
    if (tree()[at].field == Field::kBody) body = at;
  }
  for (int32_t at : tree().children(node)) {
    if (tree()[at].kind != NodeKind::kForIn) continue;
    const int32_t left = tree().child(at, Field::kLeft), right = tree().child(at, Field::kRight);
    if (left == kNoNode || right == kNoNode) continue;
    const Value items = eval(right);
    open_loop(at);
    Value element;
    if (items.kind == Value::Kind::kTuple && !items.items->empty()) {
      element = (*items.items)[0];
      for (const Value& item : *items.items) element = join(element, item);
      if (items.items->size() > 1) element.forget();
    } else {
      element.absorb(items);
      if (items.kind == Value::Kind::kObject) {
        element.kind = items.kind;
        element.index = items.index;
      }
    }
    element.origins.add(timeline_.loops[static_cast<size_t>(loop_)].origin);
    const int unsure = unsure_;
    unsure_ = 0;
    assign(left, element, left);
    unsure_ = unsure;
  }
  Value result;
  result.absorb(eval(body));
  loop_ = outer;
  return result;
}

}  // namespace fairway::audit::source
