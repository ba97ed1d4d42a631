#include <algorithm>
#include <cstdlib>

#include "verifier/audit/source/interpreter.h"

namespace fairway::audit::source {

Value Interpreter::setting_value(const Setting& setting, const Value& fallback) {
  Value value;
  if (setting.conflict) {
    value.absorb(fallback);
    value.taint |= kSetting;
    return value;
  }
  const std::string& text = setting.text;
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  if (text == "True" || text == "true" || text == "False" || text == "false") {
    value = fallback.kind == Value::Kind::kString ? of_string(text) : Value::of_bool(text[0] == 'T' || text[0] == 't');
  } else if (text == "None") {
    value = Value::none();
  } else if (!text.empty() && end && *end == '\0' && fallback.kind != Value::Kind::kString) {
    value = Value::of_number(number);
  } else {
    value = of_string(text);
  }
  value.absorb(fallback);
  value.taint &= ~static_cast<uint32_t>(kDefault | kSetting);
  if (!setting.logged) value.taint |= kDefault;
  return value;
}

/// os.environ.get(NAME, fallback): always text, as in Python.
Value Interpreter::read_setting(std::string_view name, const Value& fallback) {
  environment_read_ = true;
  const Setting* setting = settings_.find(name);
  if (!setting) {
    Value value = fallback;
    value.taint |= kDefault;
    ++defaults_read_;
    if (!settings_.any_run() &&
        ((value.numeric() && value.number == 0) ||
         (value.kind == Value::Kind::kString && one_of(string_of(value), {"0", "False", "false"})))) {
      if (settings_.titled(name)) {
        value = of_string("1");
        value.taint = kDefault;
      } else {
        value.taint |= kOpen;
      }
    }
    // Without logs, a value that the README mentions may be that of the reported runs.
    if (const std::string* said = settings_.any_run() ? nullptr : settings_.mentioned(name)) {
      char* end = nullptr;
      const double number = std::strtod(said->c_str(), &end);
      const bool same = value.kind == Value::Kind::kString ? *said == string_of(value)
                                                           : value.numeric() && *end == '\0' && number == value.number;
      if (!same) {
        value.forget();
        value.taint |= kSetting;
      }
    }
    return value;
  }
  Value text = of_string(setting->text);
  if (setting->conflict) {
    text = Value{};
    text.taint = kSetting;
  }
  // A log prints what was made of the text; "True" stands for whatever switched it on.
  if (setting->text == "True" || setting->text == "False") {
    if (!setting->conflict) text = of_string(setting->text == "True" ? "1" : "0");
  }
  text.absorb(fallback);
  if (!setting->logged) text.taint |= kDefault;
  return text;
}

/// Where a program asks for its settings: the environment, argparse, namespaces.
bool Interpreter::call_setting(const Call& call, Value& result) {
  if (call.written == "os.environ.get" || call.written == "os.getenv" || call.written == "environ.get" ||
      call.written == "getenv" || call.written == "os.environ.setdefault") {
    environment_read_ = true;
    if (call.argument(0).kind == Value::Kind::kString) {
      result = read_setting(string_of(call.argument(0)), call.arguments.size() > 1 ? call.argument(1) : Value::none());
    }
    return true;
  }
  if (call.name == "add_argument") {
    std::string option;
    for (const Argument& a : call.arguments) {
      if (a.name < 0 && a.value.kind == Value::Kind::kString &&
          string_of(a.value).rfind("-", 0) != std::string_view::npos)
        option = string_of(a.value);
    }
    if (const Value* dest = keyword(call, "dest"); dest && dest->kind == Value::Kind::kString)
      option = string_of(*dest);
    while (!option.empty() && option[0] == '-') option.erase(0, 1);
    std::replace(option.begin(), option.end(), '-', '_');
    const Value* fallback = keyword(call, "default");
    const Value* action = keyword(call, "action");
    Value value = fallback ? *fallback : Value::none();
    if (!fallback && action && action->kind == Value::Kind::kString)
      value = Value::of_bool(string_of(*action) == "store_false");
    if (Value* parser = lvalue(tree().child(call.function_node, Field::kObject)); parser && !option.empty()) {
      if (parser->kind != Value::Kind::kObject) {
        parser->kind = Value::Kind::kObject;
        parser->index = static_cast<int>(objects_.size());
        objects_.push_back({});
        objects_.back().settings = true;
      }
      objects_[static_cast<size_t>(parser->index)].attributes[program_.intern(option)] = value;
    }
    return true;
  }
  if (call.name == "parse_args" || call.name == "parse_known_args") {
    result = call.callee;
    return true;
  }
  if (call.name == "SimpleNamespace" || call.name == "Namespace") {
    result.kind = Value::Kind::kObject;
    result.index = static_cast<int>(objects_.size());
    objects_.push_back({});
    objects_.back().settings = true;
    for (const Argument& a : call.arguments) {
      if (a.name >= 0) objects_.back().attributes[a.name] = a.value;
    }
    return true;
  }
  return false;
}

}  // namespace fairway::audit::source
