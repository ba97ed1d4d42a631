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
  // A configuration that could not be followed: a switch has the value that the logs print under its name.
  if (object.kind == Value::Kind::kUnknown && object.taint == 0 && written.find('_') != std::string::npos) {
    const Setting* setting = settings_.find(written);
    if (setting && setting->logged && (setting->text == "True" || setting->text == "False"))
      return setting_value(*setting, {});
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
  // A library function kept in a variable is its dotted name: e = os.environ.get.
  if (const std::string_view written = text(node); written == "os.environ.get" || written == "os.getenv")
    return of_string(written);
  const Value object = eval(object_node);
  return attribute_of(object, program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(attribute)]);
}

/// What stands between the brackets, without blanks.
std::string Interpreter::index_text(int32_t node) const {
  const std::string_view written = text(node).substr(0, 200);
  const size_t value = tree()[tree().child(node, Field::kValue)].end - tree()[node].begin;
  std::string index;
  for (char c : written.substr(std::min(value, written.size()))) {
    if (c != ' ' && c != '\n') index += c;
  }
  return index;
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
  bool at_target = false, sliced = false;
  for (int32_t child : tree().children(node)) {
    if (tree()[child].field != Field::kSubscript) continue;
    const Value part = eval(child);
    index.absorb(part);
    at_target |= part.any(kTarget) && !part.any(kModelOut);
    exact = part;
    ++subscripts;
    if (tree()[child].kind == NodeKind::kBinary) {
      const int32_t op = tree().child(child, Field::kOperator);
      before |= op != kNoNode && text(child).find('-') != std::string_view::npos;
    } else if (tree()[child].kind == NodeKind::kIdentifier || tree()[child].kind == NodeKind::kSubscript) {
      here = !part.constant();
    }
    sliced |= tree()[child].kind == NodeKind::kSlice;
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
  if (container.any(kModelOut) && at_target) result.taint |= kTokenLik;
  if (container.is(kModelOut | kFresh) && sliced) {
    Event& event = note(EventKind::kSpan, node, {});
    event.text = index_text(node);
    result.origins.add(event.id);
  }
  if (container.any(kVal) && !container.any(kModelOut | kModel | kHash)) {
    if (next_token) result.taint |= kTarget;
    if (subscripts == 1 && before) result.taint |= kBefore;
    if (subscripts == 1 && here) result.taint |= kHere;
    Event& event = note(EventKind::kSlice, node, index);
    result.origins.add(event.id);
  }
  // What is looked up depends on the index: which chunk, which origin; a table of bytes per token stays one.
  result.origins |= index.origins;
  if (!container.any(kModelOut)) result.taint |= index.taint & (kVal | kTrain | kOracle | kSetting | kRank);
  result.taint |= index.taint & kOracle;
  const std::string_view written = text(value_node);
  if (contains_lower(written.substr(written.rfind('.') == written.npos ? 0 : written.rfind('.')), "bytes"))
    result.taint |= kByteLength;
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

}  // namespace fairway::audit::source
