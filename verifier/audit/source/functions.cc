#include <algorithm>

#include "verifier/audit/source/interpreter.h"

namespace fairway::audit::source {

Value Interpreter::instantiate(int class_index, const Arguments& arguments, int32_t node) {
  const Class& cls = program_.classes()[static_cast<size_t>(class_index)];
  Value result;
  for (const Argument& argument : arguments) {
    if (!argument.value.any(kModel) || cls.is_module) result.absorb(argument.value);
  }
  if (cls.is_module) {
    // A new model: its weights are its own, whatever sizes it was made from; other models may be inside.
    Value inside;
    for (const Argument& argument : arguments) {
      if (argument.value.any(kModel | kModelParams)) inside.absorb(argument.value);
    }
    Event& event = note(EventKind::kModel, node, inside);
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
