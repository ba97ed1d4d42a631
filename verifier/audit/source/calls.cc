#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>

#include "verifier/audit/source/interpreter.h"

namespace fairway::audit::source {
namespace {

bool one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

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

int Interpreter::method_of(int class_index, int name) const {
  for (int guard = 0; class_index >= 0 && guard < 16; ++guard) {
    const Class& cls = program_.classes()[static_cast<size_t>(class_index)];
    if (auto found = cls.methods.find(name); found != cls.methods.end()) return found->second;
    int base = -1;
    for (const std::string& text : cls.bases) {
      for (size_t i = 0; i < program_.classes().size(); ++i) {
        const int id = program_.classes()[i].name;
        if (id >= 0 && program_.name(id) == text && static_cast<int>(i) != class_index) base = static_cast<int>(i);
      }
    }
    class_index = base;
  }
  return -1;
}

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
      value.taint |= kOpen;
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

  Value result;
  if (call_named(name, method >= 0 ? receiver : callee, arguments, node, result)) return result;
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

/// What the library functions that matter do; false: not one of them.
bool Interpreter::call_named(std::string_view name, const Value& callee, const Arguments& arguments, int32_t node,
                             Value& result) {
  const auto argument = [&](size_t i) -> const Value& {
    static const Value none;
    return i < arguments.size() ? arguments[i].value : none;
  };
  const auto keyword = [&](std::string_view key) -> const Value* {
    for (const Argument& a : arguments) {
      if (a.name >= 0 && program_.name(a.name) == key) return &a.value;
    }
    return nullptr;
  };
  Value all;
  for (const Argument& a : arguments) all.absorb(a.value);
  const int32_t function_node = tree().child(node, Field::kFunction);
  const std::string_view written = text(function_node).substr(0, 120);

  if (written == "os.environ.get" || written == "os.getenv" || written == "environ.get" || written == "getenv" ||
      written == "os.environ.setdefault") {
    environment_read_ = true;
    if (argument(0).kind == Value::Kind::kString) {
      result = read_setting(string_of(argument(0)), arguments.size() > 1 ? argument(1) : Value::none());
    }
    return true;
  }
  if (name == "add_argument") {
    std::string option;
    for (const Argument& a : arguments) {
      if (a.name < 0 && a.value.kind == Value::Kind::kString &&
          string_of(a.value).rfind("-", 0) != std::string_view::npos)
        option = string_of(a.value);
    }
    if (const Value* dest = keyword("dest"); dest && dest->kind == Value::Kind::kString) option = string_of(*dest);
    while (!option.empty() && option[0] == '-') option.erase(0, 1);
    std::replace(option.begin(), option.end(), '-', '_');
    const Value* fallback = keyword("default");
    const Value* action = keyword("action");
    Value value = fallback ? *fallback : Value::none();
    if (!fallback && action && action->kind == Value::Kind::kString)
      value = Value::of_bool(string_of(*action) == "store_false");
    if (Value* parser = lvalue(tree().child(function_node, Field::kObject)); parser && !option.empty()) {
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
  if (name == "parse_args" || name == "parse_known_args") {
    result = callee;
    return true;
  }
  if (name == "SimpleNamespace" || name == "Namespace") {
    result.kind = Value::Kind::kObject;
    result.index = static_cast<int>(objects_.size());
    objects_.push_back({});
    objects_.back().settings = true;
    for (const Argument& a : arguments) {
      if (a.name >= 0) objects_.back().attributes[a.name] = a.value;
    }
    return true;
  }
  if (written == "int" || written == "float") {
    result = argument(0);
    if (result.kind == Value::Kind::kString) {
      const std::string digits(string_of(result));
      char* end = nullptr;
      const double number = std::strtod(digits.c_str(), &end);
      result.kind = Value::Kind::kUnknown;
      if (!digits.empty() && end && *end == '\0') {
        result.kind = Value::Kind::kNumber;
        result.number = written == "int" ? std::trunc(number) : number;
      }
    } else if (result.numeric()) {
      result.kind = Value::Kind::kNumber;
      if (written == "int") result.number = std::trunc(result.number);
    } else {
      result.kind = Value::Kind::kUnknown;
    }
    return true;
  }
  if (written == "bool") {
    result = Value::of_tri(truth(argument(0)));
    result.absorb(argument(0));
    return true;
  }
  if (written == "str") {
    result = argument(0);
    if (result.kind != Value::Kind::kString) result.kind = Value::Kind::kUnknown;
    return true;
  }
  if (one_of(name, {"lower", "strip", "upper", "rstrip", "lstrip"}) && callee.kind == Value::Kind::kString) {
    std::string changed(string_of(callee));
    for (char& c : changed) {
      if (name == "lower") c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      if (name == "upper") c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    if (name.find("strip") != name.npos) {
      while (!changed.empty() && changed.back() == ' ') changed.pop_back();
      while (!changed.empty() && changed.front() == ' ') changed.erase(0, 1);
    }
    result = of_string(changed);
    result.absorb(callee);
    return true;
  }
  if (written == "range") {
    result.absorb(all);
    bool known = !arguments.empty() && arguments.size() <= 2;
    for (const Argument& a : arguments) known &= a.value.numeric();
    if (known) {
      const double begin = arguments.size() == 2 ? argument(0).number : 0;
      const double count = argument(arguments.size() - 1).number - begin;
      if (count <= 1) {
        result.kind = Value::Kind::kTuple;
        result.items = std::make_shared<std::vector<Value>>();
        if (count == 1) result.items->push_back(Value::of_number(begin));
      }
    }
    return true;
  }
  if (one_of(written, {"enumerate", "tqdm", "reversed", "sorted", "list", "tuple", "iter"}) && !arguments.empty()) {
    const Value& items = argument(0);
    if (written != "enumerate") {
      result = items;
      if (result.constant()) result.kind = Value::Kind::kUnknown;
      return true;
    }
    Value element;
    element.absorb(items);
    if (items.kind == Value::Kind::kTuple && !items.items->empty()) {
      element = (*items.items)[0];
      for (const Value& item : *items.items) element = join(element, item);
      element.forget();
    }
    Value pair;
    pair.kind = Value::Kind::kTuple;
    pair.items = std::make_shared<std::vector<Value>>(std::vector<Value>{Value{}, element});
    pair.absorb(items);
    result.kind = Value::Kind::kTuple;
    result.items = std::make_shared<std::vector<Value>>(std::vector<Value>{pair, pair});
    result.absorb(items);
    return true;
  }
  if (written == "zip") {
    Value element;
    element.kind = Value::Kind::kTuple;
    element.items = std::make_shared<std::vector<Value>>();
    for (const Argument& a : arguments) {
      Value item;
      item.absorb(a.value);
      element.items->push_back(item);
    }
    element.absorb(all);
    result.kind = Value::Kind::kTuple;
    result.items = std::make_shared<std::vector<Value>>(std::vector<Value>{element, element});
    result.absorb(all);
    return true;
  }
  if (written == "len") {
    if (argument(0).any(kVal) && arguments.size() == 1 && arguments[0].node != kNoNode) {
      const std::string_view what = text(arguments[0].node);
      if (contains_lower(what, "byte") || has_word(what, "tb") || has_word(what, "raw") ||
          contains_lower(what, "encode"))
        result.taint |= kByteLength;
    }
    if (arguments.size() == 1 && arguments[0].node != kNoNode && contains_lower(text(arguments[0].node), "byte"))
      result.taint |= kByteLength;
    if (argument(0).any(kByteText)) result.taint |= kByteLength;
    result.origins = argument(0).origins;
    return true;
  }
  if (name == "encode") {
    result.absorb(callee);
    result.taint |= kByteText;
    return true;
  }
  if ((written == "dist.gather" || written == "dist.all_gather" || written == "torch.distributed.all_gather") &&
      arguments.size() >= 2) {
    const bool to_first = name == "all_gather";
    Value part;
    part.absorb(argument(to_first ? 1 : 0));
    if (Value* place = lvalue(arguments[to_first ? 0 : 1].node)) place->absorb(part);
    mark_mutated(arguments[to_first ? 0 : 1].node);
    return true;
  }
  if (one_of(name, {"numel", "size", "dim", "nelement", "element_size", "isinstance", "hasattr", "perf_counter", "time",
                    "is_initialized", "is_available", "get_rank", "get_world_size"})) {
    return true;  // neither tokens nor losses
  }
  if (written == "getattr" && arguments.size() >= 2 && argument(1).kind == Value::Kind::kString) {
    const Value found = attribute_of(argument(0), argument(1).index);
    const bool known = found.kind != Value::Kind::kUnknown || found.taint;
    result = known || arguments.size() < 3 ? found : argument(2);
    return true;
  }
  if (name == "backward" || written == "torch.autograd.grad" || written == "autograd.grad") {
    const Value loss = name == "backward" ? callee : argument(0);
    if (loss.any(kVal | kTrain)) note(EventKind::kBackward, node, loss);
    result.absorb(loss);
    return true;
  }
  if (name == "step" && !contains_lower(written, "sched") && !contains_lower(written, "profil")) {
    Event& event = note(EventKind::kStep, node, callee);
    event.parameters = callee.origins;
    event.parameter_taint = callee.taint;
    const size_t step = timeline_.events.size() - 1;
    if (argument(0).kind == Value::Kind::kFunction) {
      // An optimiser that calls a closure steps after it.
      call_function(argument(0), {}, node);
      Event moved = timeline_.events[step];
      timeline_.events.push_back(std::move(moved));
    }
    return true;
  }
  if (one_of(name, {"compile", "jit", "njit", "script", "wraps"}) && argument(0).kind == Value::Kind::kFunction) {
    result = argument(0);
    return true;
  }
  if (one_of(name, {"map", "submit", "imap", "starmap", "apply_async"}) && argument(0).kind == Value::Kind::kFunction) {
    Arguments passed(arguments.begin() + 1, arguments.end());
    result = call_function(argument(0), passed, node);
    result.forget();
    return true;
  }
  if (name == "cross_entropy" || name == "nll_loss" || name == "CrossEntropyLoss") {
    result = all;
    result.kind = Value::Kind::kUnknown;
    result.taint &= ~static_cast<uint32_t>(kTarget);
    if (const Value* reduction = keyword("reduction");
        reduction && reduction->kind == Value::Kind::kString && string_of(*reduction) == "none") {
      result.taint |= kTokenLik;
    }
    if (all.any(kVal)) result.taint |= kModelOut;
    return true;
  }
  if (name == "gather" || name == "take_along_dim" || name == "take" || name == "index_select" ||
      name == "take_along_axis") {
    const Value& table = one_of(written, {"torch.gather", "torch.take_along_dim", "np.take", "numpy.take", "torch.take",
                                          "torch.index_select", "np.take_along_axis"})
                             ? argument(0)
                             : callee;
    result.absorb(table);
    result.absorb(all);
    if (all.any(kTargetKey) && !table.any(kModelOut)) {
      Event& event = note(EventKind::kTargetRead, node, all);
      result.origins.add(event.id);
      result.taint |= kCount;
      result.taint &= ~static_cast<uint32_t>(kTargetKey | kHash);
    } else if (table.any(kModelOut) && all.any(kTarget)) {
      result.taint |= kTokenLik;
    }
    result.taint &= ~static_cast<uint32_t>(kTarget);
    return true;
  }
  if (one_of(name, {"get"}) && argument(0).any(kTargetKey)) {
    result.absorb(callee);
    Event& event = note(EventKind::kTargetRead, node, argument(0));
    result.origins.add(event.id);
    result.taint |= kCount | (argument(0).taint & kVal);
    return true;
  }
  if (one_of(written, {"hash", "xxhash", "mmh3.hash", "zlib.crc32", "zlib.adler32"})) {
    result.absorb(all);
    result.taint |= kHash;
    if (all.any(kTarget)) result.taint |= kTargetKey;
    return true;
  }
  if (one_of(name, {"bitwise_xor", "logical_xor"})) {
    result.absorb(all);
    if (!all.any(kModelOut) && all.any(kVal | kTarget))
      result.taint |= kHash | (all.any(kTarget) ? uint32_t{kTargetKey} : 0u);
    return true;
  }
  if (written == "np.add.at" || written == "numpy.add.at" || name == "scatter_add_" || name == "index_add_" ||
      name == "bincount" || name == "index_put_" || name == "put_") {
    if (all.any(kVal | kTrain) && !all.any(kModelOut)) {
      const bool static_call = written == "np.add.at" || written == "numpy.add.at";
      Event& event = note(EventKind::kTableWrite, node, all);
      Value part;
      part.origins.add(event.id);
      part.origins |= all.origins;
      part.taint |= all.taint & (kVal | kTrain);
      const int32_t table =
          static_call && !arguments.empty() ? arguments[0].node : tree().child(function_node, Field::kObject);
      if (name != "bincount") {
        if (Value* place = lvalue(table)) place->absorb(part);
        mark_mutated(table);
      }
      result = part;
    }
    return true;
  }
  if (one_of(written, {"min", "np.minimum", "torch.minimum", "torch.min", "torch.maximum", "np.maximum"}) &&
      arguments.size() == 2 && argument(0).is(kTokenLik) && argument(1).is(kTokenLik)) {
    Event& event = note(EventKind::kOracle, node, all);
    result.absorb(all);
    result.origins.add(event.id);
    return true;
  }
  if (one_of(name, {"exp", "logaddexp", "log1p", "log", "logsumexp"}) && (all.any(kPerByte) || callee.any(kPerByte))) {
    result.absorb(all);
    if (!one_of(written.substr(0, written.find('.')), {"np", "torch", "math", "numpy"})) result.absorb(callee);
    Event& event = note(EventKind::kPerByteMix, node, result);
    result.origins.add(event.id);
    return true;
  }
  if (one_of(name, {"sum", "mean"})) {
    result.absorb(all);
    if (function_node != kNoNode && tree()[function_node].kind == NodeKind::kAttribute) result.absorb(callee);
    result.taint &= ~static_cast<uint32_t>(kTokenLik | kTarget | kByteLength);
    return true;
  }
  if (name == "deepcopy" && !arguments.empty()) {
    result = argument(0);
    if (result.any(kModel)) {
      Event& event = note(EventKind::kModel, node, {});
      result.origins = {};
      result.origins.add(event.id);
      result.kind = Value::Kind::kUnknown;
    }
    return true;
  }
  if (name == "state_dict" && callee.any(kModel)) {
    Event& event = note(EventKind::kSnapshot, node, callee);
    result.origins = callee.origins;
    result.origins.add(event.id);
    return true;
  }
  if (name == "load_state_dict") {
    Event& event = note(EventKind::kRestore, node, all);
    event.parameters = callee.origins;
    return true;
  }
  if (one_of(name, {"parameters", "named_parameters"}) && callee.any(kModel | kModelParams)) {
    result.origins = callee.origins;
    result.taint = kModelParams;
    return true;
  }
  if (written == "nn.Parameter" || written == "torch.nn.Parameter" || written == "Parameter") {
    result.absorb(all);
    result.taint |= kFresh;
    return true;
  }
  if (const Value* requires_grad = keyword("requires_grad"); requires_grad && truth(*requires_grad) == Tri::kTrue) {
    result.absorb(all);
    result.taint |= kFresh;
    result.taint &= ~static_cast<uint32_t>(kModel);
    return true;
  }
  if (name == "requires_grad_" && !callee.any(kModel | kModelParams)) {
    const bool on = arguments.empty() || truth(argument(0)) != Tri::kFalse;
    result = callee;
    if (on) {
      result.taint |= kFresh;
      if (Value* place = lvalue(tree().child(function_node, Field::kObject))) place->taint |= kFresh;
    }
    return true;
  }
  if (written.find("optim.") != written.npos ||
      one_of(name, {"AdamW", "Adam", "SGD", "LBFGS", "Muon", "Adagrad", "RMSprop"})) {
    result.absorb(all);
    result.taint &= kFresh | kModelParams | kModel;
    if (result.any(kModel)) result.taint |= kModelParams;
    result.taint &= ~static_cast<uint32_t>(kModel);
    result.taint |= kOptimizer;
    return true;
  }
  if (one_of(name, {"no_grad", "inference_mode", "autocast", "manual_seed", "barrier", "synchronize", "empty_cache",
                    "zero_grad", "clip_grad_norm_"})) {
    return true;
  }
  return false;
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

Value Interpreter::instantiate(int class_index, const Arguments& arguments, int32_t node) {
  const Class& cls = program_.classes()[static_cast<size_t>(class_index)];
  Value result;
  for (const Argument& argument : arguments) {
    if (!argument.value.any(kModel) || cls.is_module) result.absorb(argument.value);
  }
  if (cls.is_module) {
    // A new model: its weights are its own, whatever sizes it was made from.
    Event& event = note(EventKind::kModel, node, {});
    event.text = cls.name < 0 ? "" : program_.name(cls.name);
    Value model;
    model.taint = kModel;
    model.origins.add(event.id);
    return model;
  }
  for (const std::string& base : cls.bases) {
    if (contains_lower(base, "optimizer")) {
      result.taint &= kFresh | kModelParams | kModel;
      if (result.any(kModel)) result.taint |= kModelParams;
      result.taint &= ~static_cast<uint32_t>(kModel);
      result.taint |= kOptimizer;
      return result;
    }
  }
  result.kind = Value::Kind::kObject;
  result.index = static_cast<int>(objects_.size());
  result.items = nullptr;
  objects_.push_back({});
  Object& object = objects_.back();
  object.class_index = class_index;
  // Class attributes, as defaults of the instance.
  const int unit = cls.file;
  const int global = unit_frames_[static_cast<size_t>(unit)];
  const Value* shared = nullptr;
  if (cls.name >= 0 && global != -1) {
    auto& variables = frames_[static_cast<size_t>(global)].variables;
    if (auto at = variables.find(cls.name); at != variables.end() && at->second.kind == Value::Kind::kClass)
      shared = &at->second;
  }
  if (shared && shared->receiver >= 0) {
    object.attributes = objects_[static_cast<size_t>(shared->receiver)].attributes;
    object.settings = objects_[static_cast<size_t>(shared->receiver)].settings;
  }
  for (const Argument& argument : arguments) {
    if (argument.name >= 0 && cls.dataclass) object.attributes[argument.name] = argument.value;
  }
  const int init = method_of(class_index, program_.intern("__init__"));
  if (init >= 0) {
    Value bound;
    bound.kind = Value::Kind::kFunction;
    bound.index = init;
    bound.receiver = result.index;
    const bool outer_read = environment_read_;
    environment_read_ = false;
    call_function(bound, arguments, node);
    if (environment_read_) objects_[static_cast<size_t>(result.index)].settings = true;
    environment_read_ = outer_read;
  }
  forget_changing_attributes(class_index, result.index);
  return result;
}

/// What methods assign later is not the constant that __init__ gave it.
void Interpreter::forget_changing_attributes(int class_index, int object) {
  auto [at, inserted] = changing_.try_emplace(class_index);
  if (inserted) {
    const int init = program_.intern("__init__");
    for (const auto& [name, index] : program_.classes()[static_cast<size_t>(class_index)].methods) {
      if (name == init) continue;
      const Function& function = program_.functions()[static_cast<size_t>(index)];
      const Unit& unit = program_.units()[static_cast<size_t>(function.file)];
      std::vector<int32_t> open = {function.node};
      while (!open.empty()) {
        const int32_t node = open.back();
        open.pop_back();
        const NodeKind kind = unit.tree[node].kind;
        if (kind == NodeKind::kAssignment || kind == NodeKind::kAugmentedAssignment) {
          const int32_t left = unit.tree.child(node, Field::kLeft);
          if (left != kNoNode && unit.tree[left].kind == NodeKind::kAttribute) {
            if (const int32_t attribute = unit.tree.child(left, Field::kAttribute); attribute != kNoNode) {
              at->second.push_back(unit.names[static_cast<size_t>(attribute)]);
            }
          }
        }
        for (int32_t c = unit.tree[node].first_child; c != kNoNode; c = unit.tree[c].next) open.push_back(c);
      }
    }
  }
  for (int name : at->second) {
    auto& attributes = objects_[static_cast<size_t>(object)].attributes;
    if (auto attribute = attributes.find(name); attribute != attributes.end()) attribute->second.forget();
  }
}

Value Interpreter::call_function(const Value& callee, const Arguments& arguments, int32_t node) {
  Value all;
  for (const Argument& argument : arguments) all.absorb(argument.value);
  const Function& function = program_.functions()[static_cast<size_t>(callee.index)];
  const bool recursive = std::count(active_.begin(), active_.end(), callee.index) > 0;
  if (recursive || static_cast<int>(active_.size()) >= limits_.calls || function.body == kNoNode ||
      depth_ + 20 > limits_.depth) {
    all.absorb(callee);
    return all;
  }

  Frame frame;
  frame.file = function.file;
  frame.function = callee.index;
  const int global = unit_frames_[static_cast<size_t>(function.file)];
  frame.lexical = callee.closure != -1 && callee.closure != global ? callee.closure : -1;
  size_t first = 0;
  if (function.class_index >= 0 && callee.receiver >= 0 && !function.parameters.empty()) {
    Value self;
    self.kind = Value::Kind::kObject;
    self.index = callee.receiver;
    self.taint = callee.taint;
    self.origins = callee.origins;
    frame.variables[function.parameters[0].name] = self;
    first = 1;
  }
  std::vector<std::pair<int32_t, int>> bound;  // argument node, parameter name
  std::vector<bool> given(function.parameters.size(), false);
  size_t position = first;
  Value rest;
  Value extra;  // what *args holds
  extra.kind = Value::Kind::kTuple;
  extra.items = std::make_shared<std::vector<Value>>();
  Object named;  // what **kwargs holds
  named.keywords = true;
  for (const Argument& argument : arguments) {
    size_t at = function.parameters.size();
    if (argument.name >= 0) {
      for (size_t i = first; i < function.parameters.size(); ++i) {
        if (function.parameters[i].name == argument.name) at = i;
      }
    } else if (!argument.splat && position < function.parameters.size() && !function.parameters[position].rest) {
      at = position++;
    }
    if (at == function.parameters.size()) {
      if (argument.splat) {
        rest.absorb(argument.value);
      } else if (argument.name >= 0) {
        named.attributes[argument.name] = argument.value;
      } else {
        extra.items->push_back(argument.value);
        extra.absorb(argument.value);
      }
      continue;
    }
    given[at] = true;
    frame.variables[function.parameters[at].name] = with_hints(function.parameters[at].name, argument.value);
    bound.push_back({argument.node, function.parameters[at].name});
  }

  const int outer_file = file_, outer_frame = frame_, outer_invocation = invocation_, outer_no_grad = no_grad_,
            outer_unsure = unsure_;
  const Span call = span(node);
  file_ = function.file;
  frame_ = global != -1 ? global : outer_frame;
  for (size_t i = first; i < function.parameters.size(); ++i) {
    if (given[i]) continue;
    Value value = rest;
    if (function.parameters[i].keywords) {
      value.kind = Value::Kind::kObject;
      value.index = static_cast<int>(objects_.size());
      objects_.push_back(named);
    } else if (function.parameters[i].rest) {
      value = extra;
      value.absorb(rest);
    }
    if (function.parameters[i].default_node != kNoNode) {
      value = eval(function.parameters[i].default_node);
      value.absorb(rest);
    }
    frame.variables[function.parameters[i].name] = with_hints(function.parameters[i].name, value);
  }
  frame_ = static_cast<int>(frames_.size());
  frames_.push_back(std::move(frame));
  timeline_.invocations.push_back({call, callee.index, outer_invocation});
  invocation_ = static_cast<int>(timeline_.invocations.size()) - 1;
  if (function.no_grad) ++no_grad_;
  unsure_ = 0;  // a fresh frame has nothing to be joined with
  active_.push_back(callee.index);
  returns_.push_back({});
  returned_.push_back(false);
  ++depth_;
  const int pending = pending_arm_;
  pending_arm_ = -1;
  const int64_t defaults_read = defaults_read_;
  if (tree()[function.body].kind == NodeKind::kBlock) {
    block(function.body);
  } else {  // a lambda
    returns_.back() = eval(function.body);
    returned_.back() = true;
  }
  pending_arm_ = pending;
  --depth_;
  Value result = returned_.back() ? returns_.back() : Value::none();
  // A helper around os.environ gives back a default of its own.
  if (defaults_read_ > defaults_read && result.constant()) {
    result.taint |= kDefault;
    if (!settings_.any_run() && truth(result) == Tri::kFalse) result.taint |= kOpen;
  }
  returns_.pop_back();
  returned_.pop_back();
  active_.pop_back();
  const int inner = frame_;
  file_ = outer_file;
  frame_ = outer_frame;
  invocation_ = outer_invocation;
  no_grad_ = outer_no_grad;
  unsure_ = outer_unsure;

  // Tensors and lists are passed by reference: what was done to them in place is seen by the caller.
  const Frame& done = frames_[static_cast<size_t>(inner)];
  for (const auto& [argument_node, name] : bound) {
    if (argument_node == kNoNode || std::find(done.mutated.begin(), done.mutated.end(), name) == done.mutated.end())
      continue;
    const auto at = done.variables.find(name);
    if (at == done.variables.end()) continue;
    if (Value* place = lvalue(argument_node); place && !place->constant()) {
      place->absorb(at->second);
      mark_mutated(argument_node);
    }
  }
  return result;
}

}  // namespace fairway::audit::source
