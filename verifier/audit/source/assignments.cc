#include "verifier/audit/source/interpreter.h"

namespace fairway::audit::source {

Value Interpreter::assignment(int32_t node) {
  const int32_t left = tree().child(node, Field::kLeft);
  const int32_t right = tree().child(node, Field::kRight);
  if (left == kNoNode || right == kNoNode) return {};
  const Value value = tree()[right].kind == NodeKind::kAssignment ? assignment(right) : eval(right);
  assign(left, value, node);
  return value;
}

void Interpreter::assign(int32_t target, const Value& value, int32_t at) {
  const Node& n = tree()[target];
  switch (n.kind) {
    case NodeKind::kIdentifier: {
      const int name = program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(target)];
      // total = total + loss is total += loss.
      if (value.is(kVal | kModelOut) && at != target && tree()[at].kind == NodeKind::kAssignment) {
        const int32_t right = tree().child(at, Field::kRight);
        if (right != kNoNode && tree()[right].kind == NodeKind::kBinary) {
          const int32_t first = tree().child(right, Field::kLeft);
          if (first != kNoNode && tree()[first].kind == NodeKind::kIdentifier && text(first) == text(target)) {
            Value sum = value;
            sum.taint &= ~static_cast<uint32_t>(kTokenLik);
            Event& event = note(EventKind::kScore, at, sum);
            sum.origins.add(event.id);
            set(name, sum);
            return;
          }
        }
      }
      set(name, value);
      return;
    }
    case NodeKind::kTuple:
    case NodeKind::kList: {
      const std::vector<int32_t> targets = tree().children(target);
      const bool fits = value.kind == Value::Kind::kTuple && value.items->size() == targets.size();
      for (size_t i = 0; i < targets.size(); ++i) {
        Value part;
        if (fits) {
          part = (*value.items)[i];
        } else {
          part.absorb(value);
          // x, y = loader.next_batch(): what is no tensor of tokens carries no less.
        }
        assign(targets[i], part, targets[i]);
      }
      return;
    }
    case NodeKind::kAttribute: {
      const int32_t attribute = tree().child(target, Field::kAttribute);
      Value* place = lvalue(target);
      if (!place) return;
      const std::string_view name = attribute == kNoNode ? "" : text(attribute);
      if (name == "requires_grad") {
        if (!place->any(kModelParams | kModel) && value.numeric() && value.number != 0) place->taint |= kFresh;
        return;
      }
      const int32_t object_node = tree().child(target, Field::kObject);
      Value* object = object_node == kNoNode ? nullptr : lvalue(object_node);
      if (object && object->kind == Value::Kind::kObject && object != place) {
        const Value hinted =
            attribute == kNoNode
                ? value
                : with_hints(program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(attribute)], value);
        const bool known = place->kind != Value::Kind::kUnknown || place->taint || !place->origins.empty();
        *place = unsure_ > 0 && known ? join(*place, hinted) : hinted;
      } else {
        place->absorb(value);
      }
      return;
    }
    case NodeKind::kSubscript:
      store_into(target, value, at);
      return;
    default:
      for (int32_t child : tree().children(target)) {
        if (tree()[child].kind == NodeKind::kIdentifier) assign(child, value, child);
      }
  }
}

/// counts[key] = counts.get(key, 0) + 1: a sum is stored.
bool Interpreter::counts_up(int32_t assignment) const {
  const int32_t right =
      tree()[assignment].kind == NodeKind::kAssignment ? tree().child(assignment, Field::kRight) : kNoNode;
  if (right == kNoNode || tree()[right].kind != NodeKind::kBinary) return false;
  const int32_t op = tree().child(right, Field::kOperator);
  return op != kNoNode && text(op) == "+";
}

/// x[i] = value: the container takes the value's properties; a loss stored is a score, a count stored is a table write.
void Interpreter::store_into(int32_t target, const Value& raw, int32_t at) {
  Value value = raw;
  value.origins |= control_;
  Value index;
  bool sliced = false;
  for (int32_t child : tree().children(target)) {
    if (tree()[child].field == Field::kSubscript) index.absorb(eval(child));
    sliced |= tree()[child].kind == NodeKind::kSlice;
  }
  Value* place = lvalue(target);
  if (value.is(kVal | kModelOut)) {
    Event& event = note(EventKind::kScore, at, value);
    value.origins.add(event.id);
  } else if (index.any(kHash | kTargetKey) && index.any(kVal | kTrain) && !value.any(kModelOut) && counts_up(at)) {
    Event& event = note(EventKind::kTableWrite, at, index);
    value.origins.add(event.id);
    value.origins |= index.origins;
    value.taint |= index.taint & (kVal | kTrain);
  }
  place = lvalue(target);
  if (!place) return;
  Value part;
  part.absorb(value);
  if (raw.numeric() && raw.number == 1 && sliced) {  // mask[i, start:] = 1
    Event& event = note(EventKind::kSpan, at, {});
    event.text = index_text(target);
    part.origins.add(event.id);
  }
  // A cache of the module holds whatever was loaded: what comes out of it is not both.
  if (in_globals(place)) part.taint &= ~static_cast<uint32_t>(kVal | kTrain);
  place->absorb(part);
  if (place->kind == Value::Kind::kTuple) place->kind = Value::Kind::kUnknown;
  mark_mutated(target);
}

void Interpreter::augmented_assignment(int32_t node) {
  const int32_t left = tree().child(node, Field::kLeft);
  const int32_t right = tree().child(node, Field::kRight);
  const int32_t op_node = tree().child(node, Field::kOperator);
  if (left == kNoNode || right == kNoNode) return;
  std::string_view op = op_node == kNoNode ? std::string_view("+=") : text(op_node);
  const Value added = eval(right);
  if (tree()[left].kind == NodeKind::kSubscript) {
    Value sum = added;
    Value index;
    for (int32_t child : tree().children(left)) {
      if (tree()[child].field == Field::kSubscript) index.absorb(eval(child));
    }
    Value* place = lvalue(left);
    if (!place) return;
    if (added.is(kVal | kModelOut)) {
      Event& event = note(EventKind::kScore, node, added);
      sum.origins.add(event.id);
    } else if (index.any(kVal | kTrain) && !added.any(kModelOut)) {
      Event& event = note(EventKind::kTableWrite, node, index);
      sum.origins.add(event.id);
      sum.taint |= index.taint & (kVal | kTrain);
    }
    Value part;
    part.absorb(sum);
    place = lvalue(left);
    if (place) place->absorb(part);
    mark_mutated(left);
    return;
  }
  Value* place = lvalue(left);
  Value before = place ? *place : Value{};
  Value after = arithmetic(before, added, op.substr(0, op.size() - 1), node);
  if ((op == "+=" || op == "-=") && added.is(kVal | kModelOut)) {
    after.taint &= ~static_cast<uint32_t>(kTokenLik);
    Event& event = note(EventKind::kScore, node, added);
    after.origins.add(event.id);
  }
  after.origins |= control_;
  if (place) {
    mark_mutated(left);
    *place = unsure_ > 0 ? join(before, after) : after;
  } else if (tree()[left].kind == NodeKind::kIdentifier) {
    set(program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(left)], after);
  }
}

}  // namespace fairway::audit::source
