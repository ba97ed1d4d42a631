#include <cmath>

#include "verifier/audit/source/interpreter.h"

namespace fairway::audit::source {

Value Interpreter::arithmetic(const Value& a, const Value& b, std::string_view op, int32_t node) {
  Value result;
  result.absorb(a);
  result.absorb(b);
  if (a.numeric() && b.numeric()) {
    double r = 0;
    bool known = true;
    if (op == "+") {
      r = a.number + b.number;
    } else if (op == "-") {
      r = a.number - b.number;
    } else if (op == "*") {
      r = a.number * b.number;
    } else if (op == "/" && b.number != 0) {
      r = a.number / b.number;
    } else if (op == "//" && b.number != 0) {
      r = std::floor(a.number / b.number);
    } else if (op == "%" && b.number != 0) {
      r = a.number - b.number * std::floor(a.number / b.number);
    } else if (op == "**" && a.number > 0) {
      r = std::pow(a.number, b.number);
    } else {
      known = false;
    }
    if (known && std::isfinite(r)) {
      result.kind = Value::Kind::kNumber;
      result.number = r;
    }
    return result;
  }
  if (op == "+" && a.kind == Value::Kind::kString && b.kind == Value::Kind::kString) {
    Value joined = of_string(std::string(string_of(a)) + std::string(string_of(b)));
    joined.absorb(result);
    return joined;
  }
  if (op == "+" && a.kind == Value::Kind::kTuple && b.kind == Value::Kind::kTuple &&
      a.items->size() + b.items->size() < 256) {
    result.kind = Value::Kind::kTuple;
    result.items = std::make_shared<std::vector<Value>>(*a.items);
    result.items->insert(result.items->end(), b.items->begin(), b.items->end());
    return result;
  }
  if ((op == "*" || op == "+") && (a.kind == Value::Kind::kTuple || b.kind == Value::Kind::kTuple)) {
    const Value& sequence = a.kind == Value::Kind::kTuple ? a : b;
    if (!sequence.items->empty()) result.absorb((*sequence.items)[0]);
  }
  const bool tokens = result.any(kVal | kTrain | kTarget) && !result.any(kModelOut);
  if (tokens && op == "^") {
    // The true token, or the one at the position itself joined to a hash of those before it.
    const auto joins = [](const Value& context, const Value& token) {
      return context.is(kHash | kBefore) && !context.any(kHere) && token.any(kHere) && !token.any(kBefore);
    };
    if (result.any(kTarget) || joins(a, b) || joins(b, a)) result.taint |= kTargetKey;
    result.taint |= kHash;
  } else if (tokens && op == "*") {
    const auto large = [](const Value& v) { return v.kind == Value::Kind::kNumber && std::fabs(v.number) > 1000; };
    if (large(a) || large(b) || contains_lower(text(node), "prime") || contains_lower(text(node), "mult"))
      result.taint |= kHash;
  } else if (tokens && (op == "%" || op == "&") && result.any(kHash) && result.any(kTarget)) {
    result.taint |= kTargetKey;
  }
  if (result.any(kTargetKey) && !a.any(kTargetKey) && !b.any(kTargetKey)) {
    Event& event = note(EventKind::kTargetKey, node, result);
    result.origins.add(event.id);
  }
  if (op == "/") {
    if (a.is(kModelOut | kVal) && b.any(kByteLength)) result.taint |= kPerByte;
    result.taint &= ~static_cast<uint32_t>(kByteLength);
  }
  return result;
}

Value Interpreter::eval_binary(int32_t node) {
  const Value a = eval(tree().child(node, Field::kLeft));
  const Value b = eval(tree().child(node, Field::kRight));
  const int32_t op = tree().child(node, Field::kOperator);
  return arithmetic(a, b, op == kNoNode ? std::string_view("+") : text(op), node);
}

Value Interpreter::eval_boolean(int32_t node) {
  const Value a = eval(tree().child(node, Field::kLeft));
  const int32_t op = tree().child(node, Field::kOperator);
  const bool both = op == kNoNode || text(op) == "and";
  const Tri ta = truth(a);
  // Short circuit, as Python does: the other side is not even evaluated.
  if (both && ta == Tri::kFalse) return a;
  if (!both && ta == Tri::kTrue) return a;
  const Value b = eval(tree().child(node, Field::kRight));
  if (ta != Tri::kUnknown) return b;
  const Tri tb = truth(b);
  Value result;
  // `x or default` may be either; as a condition only the truth counts.
  if (both) {
    result = tb == Tri::kFalse ? Value::of_bool(false) : Value{};
  } else if (a.kind != Value::Kind::kUnknown || b.kind == Value::Kind::kObject || b.kind == Value::Kind::kFunction) {
    result = join(a, b);
  } else {
    result = tb == Tri::kTrue && b.kind == Value::Kind::kBool ? Value::of_bool(true) : Value{};
  }
  result.absorb(a);
  result.absorb(b);
  if (both && tb == Tri::kFalse) result.taint &= ~static_cast<uint32_t>(kSetting);
  return result;
}

Value Interpreter::eval_comparison(int32_t node) {
  // a < b, or a chain; only one operator is folded.
  std::vector<int32_t> operands;
  std::vector<std::string> operators;
  for (int32_t at = tree()[node].first_child; at != kNoNode; at = tree()[at].next) {
    if (tree()[at].kind == NodeKind::kToken || tree()[at].field == Field::kOperators) {
      operators.emplace_back(text(at));
    } else {
      operands.push_back(at);
    }
  }
  std::vector<Value> values;
  Value result;
  for (int32_t at : operands) {
    values.push_back(eval(at));
    result.absorb(values.back());
  }
  result.taint &= kSetting | kDefault | kOpen | kVal | kTarget;
  if (values.size() == 2 && values[0].is(kTokenLik) && values[1].is(kTokenLik) &&
      text(operands[0]) != text(operands[1])) {
    Event& event = note(EventKind::kOracle, node, result);
    result.origins.add(event.id);
    result.taint |= kOracle;
  }
  if (values.size() != 2 || operators.empty()) return result;
  if (operators[0] == "==" || operators[0] == "!=") {
    // Logits of a loaded model are no stored tokens.
    const auto stored = [](const Value& v) { return v.any(kStored) && !v.any(kModel); };
    if ((stored(values[0]) && values[1].is(kTarget | kVal) && !values[1].any(kStored)) ||
        (stored(values[1]) && values[0].is(kTarget | kVal) && !values[0].any(kStored))) {
      Event& event = note(EventKind::kStoredMatch, node, result);
      result.origins.add(event.id);
    }
  }
  const Value &a = values[0], &b = values[1];
  const std::string& op = operators[0];
  Tri t = Tri::kUnknown;
  const bool negated =
      operators.size() == 2 ? operators[0] == "not" || operators[1] == "not" : op == "not in" || op == "is not";
  if (a.numeric() && b.numeric()) {
    if (op == "<") t = tri(a.number < b.number);
    if (op == "<=") t = tri(a.number <= b.number);
    if (op == ">") t = tri(a.number > b.number);
    if (op == ">=") t = tri(a.number >= b.number);
    if (op == "==" || op == "is") t = tri(a.number == b.number);
    if (op == "!=") t = tri(a.number != b.number);
    if (op.rfind("is", 0) == 0 && negated) t = tri(a.number != b.number);
  } else if (a.kind == Value::Kind::kString && b.kind == Value::Kind::kString) {
    if (op == "==") t = tri(a.index == b.index);
    if (op == "!=") t = tri(a.index != b.index);
    if (op == "in" || op == "not in" || op == "not") {
      t = tri((string_of(b).find(string_of(a)) != std::string_view::npos) != negated);
    }
  } else if (a.kind == Value::Kind::kNone || b.kind == Value::Kind::kNone) {
    const Value& other = a.kind == Value::Kind::kNone ? b : a;
    const bool both_none = a.kind == b.kind;
    if (op == "==" || op == "!=" || op.rfind("is", 0) == 0) {
      const bool equal_asked = op == "==" || (op.rfind("is", 0) == 0 && !negated);
      if (both_none) {
        t = tri(equal_asked);
      } else if (other.kind != Value::Kind::kUnknown) {
        t = tri(!equal_asked);
      }
    }
  } else if (a.constant() && b.kind == Value::Kind::kTuple && (op == "in" || op == "not in" || op == "not")) {
    bool found = false, all_known = true;
    for (const Value& item : *b.items) {
      all_known &= item.constant();
      found |= item.kind == a.kind && item.number == a.number && item.index == a.index;
      found |= item.numeric() && a.numeric() && item.number == a.number;
    }
    if (found || all_known) t = tri(found != negated);
  } else if ((a.kind == Value::Kind::kString && b.numeric()) || (b.kind == Value::Kind::kString && a.numeric())) {
    if (op == "==") t = Tri::kFalse;
    if (op == "!=") t = Tri::kTrue;
  }
  if (t != Tri::kUnknown) {
    Value known = Value::of_tri(t);
    known.absorb(result);
    known.taint &= ~static_cast<uint32_t>(kSetting);
    return known;
  }
  return result;
}

}  // namespace fairway::audit::source
