#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "verifier/audit/source/interpreter.h"

namespace fairway::audit::source {
namespace {

/// Python's reading of a number literal, or none.
bool parse_number(std::string_view text, double& number) {
  std::string digits;
  for (char c : text) {
    if (c != '_') digits += c;
  }
  if (digits.empty() || digits.size() > 64) return false;
  char* end = nullptr;
  if (digits.size() > 2 && digits[0] == '0' &&
      (digits[1] == 'b' || digits[1] == 'B' || digits[1] == 'o' || digits[1] == 'O')) {
    number = static_cast<double>(std::strtoull(digits.c_str() + 2, &end, digits[1] == 'b' || digits[1] == 'B' ? 2 : 8));
  } else {
    number = std::strtod(digits.c_str(), &end);
  }
  return end && *end == '\0';
}

}  // namespace

Tri Interpreter::truth(const Value& value) const {
  switch (value.kind) {
    case Value::Kind::kNone:
      return Tri::kFalse;
    case Value::Kind::kBool:
    case Value::Kind::kNumber:
      return tri(value.number != 0);
    case Value::Kind::kString:
      return tri(!program_.name(value.index).empty());
    case Value::Kind::kFunction:
    case Value::Kind::kClass:
    case Value::Kind::kModule:
      return Tri::kTrue;
    default:
      return Tri::kUnknown;
  }
}

Value Interpreter::eval(int32_t node) {
  if (node == kNoNode || !budget() || depth_ >= limits_.depth) return {};
  ++depth_;
  Value result;
  const Node& n = tree()[node];
  switch (n.kind) {
    case NodeKind::kIdentifier:
      result = eval_identifier(node);
      break;
    case NodeKind::kAttribute:
      result = eval_attribute(node);
      break;
    case NodeKind::kSubscript:
      result = eval_subscript(node);
      break;
    case NodeKind::kCall:
      result = eval_call(node);
      break;
    case NodeKind::kBinary:
      result = eval_binary(node);
      break;
    case NodeKind::kUnary: {
      result = eval(tree().child(node, Field::kArgument));
      const std::string_view written = text(node);
      if (result.numeric() && written[0] == '-') {
        result.kind = Value::Kind::kNumber;
        result.number = -result.number;
      } else if (written[0] != '-') {
        result.forget();
      }
      break;
    }
    case NodeKind::kNot: {
      const Value inner = eval(tree().child(node, Field::kArgument));
      result = Value::of_tri(tri_not(truth(inner)));
      result.taint = inner.taint & (kSetting | kDefault | kOpen | kOracle);
      result.origins = inner.origins;
      break;
    }
    case NodeKind::kBoolean:
      result = eval_boolean(node);
      break;
    case NodeKind::kComparison:
      result = eval_comparison(node);
      break;
    case NodeKind::kConditional:
      result = eval_conditional(node);
      break;
    case NodeKind::kString:
    case NodeKind::kConcatenatedString:
      result = eval_string(node);
      break;
    case NodeKind::kNumber: {
      double number = 0;
      if (parse_number(text(node), number)) result = Value::of_number(number);
      break;
    }
    case NodeKind::kTrue:
      result = Value::of_bool(true);
      break;
    case NodeKind::kFalse:
      result = Value::of_bool(false);
      break;
    case NodeKind::kNone:
      result = Value::none();
      break;
    case NodeKind::kTuple:
    case NodeKind::kList:
      result = eval_sequence(node);
      break;
    case NodeKind::kDict:
      result = eval_dict(node);
      break;
    case NodeKind::kComprehension:
      result = eval_comprehension(node);
      break;
    case NodeKind::kNamedExpression: {
      result = eval(tree().child(node, Field::kValue));
      if (const int32_t name = tree().child(node, Field::kName); name != kNoNode) assign(name, result, name);
      break;
    }
    case NodeKind::kAssignment:
      result = assignment(node);
      break;
    case NodeKind::kParenthesised:
    case NodeKind::kAwait:
    case NodeKind::kSplat:
      result = eval(n.first_child);
      break;
    case NodeKind::kYield: {
      const Value value = eval_children(node);
      if (!returns_.empty()) {
        returns_.back() = returned_.back() ? join(returns_.back(), value) : value;
        returns_.back().forget();
        returned_.back() = true;
      }
      break;
    }
    case NodeKind::kLambda:
      result.index = program_.function_at(file_, node);
      if (result.index >= 0) {
        result.kind = Value::Kind::kFunction;
        result.closure = frame_;
      }
      break;
    case NodeKind::kFunction:
    case NodeKind::kClass:
    case NodeKind::kToken:
      break;
    default:
      result = eval_children(node);
  }
  --depth_;
  return result;
}

Value Interpreter::eval_children(int32_t node) {
  Value result;
  for (int32_t at = tree()[node].first_child; at != kNoNode; at = tree()[at].next) {
    if (tree()[at].kind == NodeKind::kToken) continue;
    result.absorb(eval(at));
  }
  return result;
}

Value Interpreter::eval_identifier(int32_t node) {
  const int name = program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(node)];
  if (const Value* found = find(name)) return *found;
  return with_hints(name, {});
}

Value Interpreter::attribute_of(const Value& object, int name) {
  const std::string& written = program_.name(name);
  if (object.kind == Value::Kind::kModule) {
    const int frame = unit_frames_[static_cast<size_t>(object.index)];
    if (frame != -1) {
      const auto& variables = frames_[static_cast<size_t>(frame)].variables;
      if (auto at = variables.find(name); at != variables.end()) return at->second;
    }
    return {};
  }
  int index = object.kind == Value::Kind::kObject  ? object.index
              : object.kind == Value::Kind::kClass ? object.receiver
                                                   : -1;
  if (index >= 0) {
    const Object& held = objects_[static_cast<size_t>(index)];
    if (auto at = held.attributes.find(name); at != held.attributes.end()) {
      if (!held.settings) return at->second;
      const Setting* setting = settings_.find(written);
      return setting ? setting_value(*setting, at->second) : at->second;
    }
    if (held.class_index >= 0) {
      if (const int method = method_of(held.class_index, name); method >= 0) {
        Value value;
        value.kind = Value::Kind::kFunction;
        value.index = method;
        value.receiver = object.kind == Value::Kind::kObject ? index : -1;
        value.taint = object.taint & kModel;
        value.origins = object.origins;
        return value;
      }
    }
    if (held.settings) {
      if (const Setting* setting = settings_.find(written)) return setting_value(*setting, {});
    }
  }
  Value value;
  value.absorb(object);
  // Shapes and devices of tokens are not tokens.
  if (written == "shape" || written == "device" || written == "dtype" || written == "ndim") {
    value.taint &= kModel | kSetting;
    value.taint &= ~static_cast<uint32_t>(kModel);
  }
  if (written == "requires_grad" || written == "training") value = Value{};
  return with_hints(name, value);
}

Value Interpreter::eval_attribute(int32_t node) {
  const int32_t object_node = tree().child(node, Field::kObject);
  const int32_t attribute = tree().child(node, Field::kAttribute);
  if (object_node == kNoNode || attribute == kNoNode) return {};
  const Value object = eval(object_node);
  return attribute_of(object, program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(attribute)]);
}

Value Interpreter::eval_subscript(int32_t node) {
  const int32_t value_node = tree().child(node, Field::kValue);
  if (value_node == kNoNode) return {};
  if (text(value_node) == "os.environ") {
    environment_read_ = true;
    for (int32_t child : tree().children(node)) {
      if (tree()[child].field != Field::kSubscript) continue;
      const Value key = eval(child);
      if (key.kind == Value::Kind::kString) {
        Value unknown;
        unknown.taint = kSetting;
        return read_setting(string_of(key), unknown);
      }
    }
    return {};
  }
  const Value container = eval(value_node);
  Value index;
  Value exact;
  int subscripts = 0;
  bool before = false, here = false;  // [position - k], [position]
  bool next_token = false;            // [1:], [start + 1 : end + 1]
  for (int32_t child : tree().children(node)) {
    if (tree()[child].field != Field::kSubscript) continue;
    const Value part = eval(child);
    index.absorb(part);
    exact = part;
    ++subscripts;
    if (tree()[child].kind == NodeKind::kBinary) {
      const int32_t op = tree().child(child, Field::kOperator);
      before |= op != kNoNode && text(child).find('-') != std::string_view::npos;
    } else if (tree()[child].kind == NodeKind::kIdentifier || tree()[child].kind == NodeKind::kSubscript) {
      here = !part.constant();
    }
    if (tree()[child].kind == NodeKind::kSlice) {
      exact = {};
      const std::string_view written = text(child);
      const size_t colon = written.find(':');
      const std::string_view low = written.substr(0, colon);
      size_t last = low.size();
      while (last > 0 && low[last - 1] == ' ') --last;
      next_token |= low.substr(0, last) == "1" ||
                    (last >= 3 && low[last - 1] == '1' && low.substr(0, last - 1).find_last_of('+') != low.npos &&
                     low.substr(low.substr(0, last).rfind('+') + 1).find_first_not_of(" 1") == low.npos);
    }
  }
  if (container.kind == Value::Kind::kTuple && subscripts == 1 && exact.kind == Value::Kind::kNumber &&
      !container.items->empty()) {
    const auto size = static_cast<double>(container.items->size());
    const double at = exact.number < 0 ? exact.number + size : exact.number;
    if (at >= 0 && at < size && at == std::floor(at)) return (*container.items)[static_cast<size_t>(at)];
  }
  Value result;
  result.absorb(container);
  if (container.kind == Value::Kind::kTuple && !container.items->empty()) {
    result = (*container.items)[0];
    for (const Value& item : *container.items) result = join(result, item);
    result.forget();
  } else if (container.kind == Value::Kind::kObject) {
    result.kind = container.kind;  // an element of a list of objects is taken for the object
    result.index = container.index;
  }
  if (index.any(kTargetKey) && !container.any(kModelOut)) {
    Event& event = note(EventKind::kTargetRead, node, index);
    result.origins.add(event.id);
    result.origins |= index.origins;
    result.taint |= kCount | (index.taint & kVal);
    return result;
  }
  if (container.any(kModelOut) && index.any(kTarget)) result.taint |= kTokenLik;
  if (container.any(kVal) && !container.any(kModelOut | kModel | kHash)) {
    if (next_token) result.taint |= kTarget;
    if (subscripts == 1 && before) result.taint |= kBefore;
    if (subscripts == 1 && here) result.taint |= kHere;
    Event& event = note(EventKind::kSlice, node, index);
    result.origins.add(event.id);
  }
  // What is looked up depends on the index: which chunk, which origin; a table of bytes per token stays one.
  result.origins |= index.origins;
  if (!container.any(kModelOut)) result.taint |= index.taint & (kVal | kTrain | kOracle | kSetting);
  result.taint |= index.taint & kOracle;
  if (contains_lower(text(value_node), "bytes")) result.taint |= kByteLength;
  return result;
}

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

Value Interpreter::eval_conditional(int32_t node) {
  const std::vector<int32_t> parts = tree().children(node);  // value, condition, alternative
  if (parts.size() != 3) return eval_children(node);
  const Value condition = eval(parts[1]);
  const Tri t = truth(condition);
  if (t == Tri::kTrue) return eval(parts[0]);
  if (t == Tri::kFalse) return eval(parts[2]);
  Value result = join(eval(parts[0]), eval(parts[2]));
  result.taint |= condition.taint & (kSetting | kOracle);
  if (condition.any(kOracle)) result.origins |= condition.origins;
  return result;
}

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
