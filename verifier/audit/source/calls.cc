#include <algorithm>

#include "verifier/audit/source/interpreter.h"

namespace fairway::audit::source {
namespace {

/// Methods that give the model, or a view of it, back.
bool keeps_model(std::string_view name) {
  return one_of(name, {"eval",           "train",         "to",        "cuda",          "cpu",
                       "bfloat16",       "float",         "half",      "double",        "requires_grad_",
                       "apply",          "compile",       "modules",   "named_modules", "children",
                       "named_children", "get_submodule", "zero_grad", "reset",         "add_module"});
}

bool calibration_name(std::string_view name) {
  if (has_word(name, "eval") || has_word(name, "online")) return false;
  for (const char* word : {"hessian", "calib", "awq", "gptq", "act_stat", "activation_stat"}) {
    if (contains_lower(name, word)) return true;
  }
  return false;
}

}  // namespace

/// Anything that prints a score: the values in it say which sums were reported.
bool Interpreter::note_print(std::string_view callee, const Arguments& arguments, int32_t node) {
  if (callee == "append" || callee == "join") return false;
  Value printed;
  std::string text;
  bool score = false;
  for (const Argument& argument : arguments) {
    printed.absorb(argument.value);
    if (argument.value.kind == Value::Kind::kString && text.empty()) {
      text = string_of(argument.value);
      score = contains_lower(text, "bpb") || contains_lower(text, "val_loss");
    }
  }
  if (!score || printed.origins.empty() || text.find('\1') == std::string::npos) return false;
  Event& event = note(EventKind::kPrint, node, printed);
  event.text = text.substr(0, 400);
  return true;
}

Value Interpreter::eval_call(int32_t node) {
  const int32_t function_node = tree().child(node, Field::kFunction);
  const int32_t arguments_node = tree().child(node, Field::kArguments);
  if (function_node == kNoNode) return eval_children(node);

  Value receiver, callee;
  int method = -1;
  int32_t receiver_node = kNoNode;
  if (tree()[function_node].kind == NodeKind::kAttribute) {
    receiver_node = tree().child(function_node, Field::kObject);
    const int32_t attribute = tree().child(function_node, Field::kAttribute);
    if (receiver_node == kNoNode || attribute == kNoNode) return {};
    method = program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(attribute)];
    receiver = eval(receiver_node);
    callee = attribute_of(receiver, method);
  } else {
    callee = eval(function_node);
  }

  Arguments arguments;
  if (arguments_node != kNoNode) {
    if (tree()[arguments_node].kind == NodeKind::kComprehension) {
      arguments.push_back({-1, arguments_node, eval(arguments_node), false});
    } else {
      for (int32_t at : tree().children(arguments_node)) {
        Argument argument;
        argument.node = at;
        if (tree()[at].kind == NodeKind::kKeywordArgument) {
          const int32_t name = tree().child(at, Field::kName);
          argument.node = tree().child(at, Field::kValue);
          if (name != kNoNode) argument.name = program_.intern(text(name));
        }
        argument.splat = tree()[at].kind == NodeKind::kSplat;
        argument.value = eval(argument.node);
        const Value held = argument.value;
        if (argument.splat && held.kind == Value::Kind::kTuple) {  // f(*args)
          for (const Value& item : *held.items) arguments.push_back({-1, kNoNode, item, false});
          continue;
        }
        if (argument.splat && held.kind == Value::Kind::kObject &&
            objects_[static_cast<size_t>(held.index)].keywords) {  // f(**kwargs)
          const auto attributes = objects_[static_cast<size_t>(held.index)].attributes;
          for (const auto& [name, value] : attributes) arguments.push_back({name, kNoNode, value, false});
          continue;
        }
        arguments.push_back(std::move(argument));
      }
    }
  }
  const std::string_view name = method >= 0 ? std::string_view(program_.name(method))
                                : tree()[function_node].kind == NodeKind::kIdentifier ? text(function_node)
                                                                                      : std::string_view();
  if (note_print(name, arguments, node)) return {};

  if (calibration_name(name) && (callee.kind == Value::Kind::kFunction ||
                                 (method < 0 && callee.kind == Value::Kind::kUnknown && !callee.any(kModel)))) {
    Value data;
    for (const Argument& argument : arguments) {
      if (!argument.value.any(kModelOut) && argument.value.kind != Value::Kind::kString) data.absorb(argument.value);
    }
    if (data.any(kVal | kTrain)) {
      Event& event = note(EventKind::kCalibration, node, data);
      event.text = std::string(name);
    }
  }

  const bool kept = callee.kind == Value::Kind::kString && tree()[function_node].kind == NodeKind::kIdentifier;
  Call call{name,
            kept ? string_of(callee) : text(function_node).substr(0, 120),
            method >= 0 ? receiver : callee,
            arguments,
            node,
            function_node,
            {}};
  for (const Argument& argument : arguments) call.all.absorb(argument.value);
  Value result;
  if (call_setting(call, result) || call_builtin(call, result) || call_tensor(call, result) ||
      call_training(call, result)) {
    return result;
  }
  if (method >= 0 && callee.kind != Value::Kind::kFunction && callee.kind != Value::Kind::kClass) {
    return call_method(receiver, method, arguments, node, receiver_node);
  }
  if (callee.kind == Value::Kind::kFunction && !(callee.any(kModel) && callee.receiver >= 0))
    return call_function(callee, arguments, node);
  if (callee.kind == Value::Kind::kClass) return instantiate(callee.index, arguments, node);
  if (method >= 0) return call_method(receiver, method, arguments, node, receiver_node);

  // A model called, or a function nobody here defines: the result depends on everything that went in.
  result = {};
  for (const Argument& argument : arguments) result.absorb(argument.value);
  if (callee.any(kModel)) {
    result.taint &= ~static_cast<uint32_t>(kModel | kTarget | kModelParams);
    result.taint |= kModelOut;
  }
  result.origins |= callee.origins;
  result.taint |= callee.taint & ~static_cast<uint32_t>(kModel);
  return result;
}

const Value& Interpreter::Call::argument(size_t index) const {
  static const Value none;
  return index < arguments.size() ? arguments[index].value : none;
}

const Value* Interpreter::keyword(const Call& call, std::string_view key) const {
  for (const Argument& argument : call.arguments) {
    if (argument.name >= 0 && program_.name(argument.name) == key) return &argument.value;
  }
  return nullptr;
}

/// A method of something that is no object of the folder's own classes.
Value Interpreter::call_method(const Value& receiver, int name, const Arguments& arguments, int32_t node,
                               int32_t receiver_node) {
  const std::string_view written = program_.name(name);
  Value all;
  for (const Argument& argument : arguments) all.absorb(argument.value);
  Value result = receiver;
  result.forget();
  if (receiver.any(kModel)) {
    if (keeps_model(written)) return result;
    result.kind = Value::Kind::kUnknown;
    result.absorb(all);
    result.taint &= ~static_cast<uint32_t>(kModel | kTarget | kModelParams);
    if (all.any(kVal | kTrain)) result.taint |= kModelOut;
    return result;
  }
  const bool in_place =
      one_of(written, {"append", "extend", "add", "update", "insert", "setdefault", "put", "appendleft"}) ||
      (written.size() > 2 && written.back() == '_' && written[written.size() - 2] != '_');
  if (in_place) {
    Value* place = lvalue(receiver_node);
    if (one_of(written, {"zero_", "fill_", "clear_"})) {
      if (place && unsure_ == 0) {
        place->origins = {};
        place->taint &= ~static_cast<uint32_t>(kVal | kModelOut | kTokenLik);
        mark_mutated(receiver_node);
      }
      return result;
    }
    Value part = all;
    part.kind = Value::Kind::kUnknown;
    part.origins |= control_;
    if (all.is(kVal | kModelOut)) {
      Event& event = note(EventKind::kScore, node, all);
      part.origins.add(event.id);
      if (written == "add_") part.taint &= ~static_cast<uint32_t>(kTokenLik);
    }
    if (place) {
      Value merged;
      merged.absorb(part);
      if (place->kind == Value::Kind::kTuple) {
        // [] that is appended to holds what was appended.
        if (arguments.size() == 1 && written == "append" && place->items->empty()) {
          auto items = std::make_shared<std::vector<Value>>(std::vector<Value>{arguments[0].value, arguments[0].value});
          place->items = std::move(items);
        } else if (arguments.size() == 1 && written == "append" && place->items->size() == 2) {
          auto items = std::make_shared<std::vector<Value>>(*place->items);
          for (Value& item : *items) item = join(item, arguments[0].value);
          place->items = std::move(items);
        } else {
          place->kind = Value::Kind::kUnknown;
        }
        if (place->kind == Value::Kind::kTuple) {
          auto items = std::make_shared<std::vector<Value>>(*place->items);
          for (Value& item : *items) item.absorb(merged), item.forget();
          place->items = std::move(items);
        }
      }
      place->absorb(merged);
      mark_mutated(receiver_node);
    }
    result.absorb(part);
    return result;
  }
  result.absorb(all);
  if (result.kind != Value::Kind::kObject && result.kind != Value::Kind::kTuple) result.kind = Value::Kind::kUnknown;
  if (result.kind == Value::Kind::kTuple && !one_of(written, {"copy", "clone", "items", "values"}))
    result.kind = Value::Kind::kUnknown;
  return result;
}

}  // namespace fairway::audit::source
