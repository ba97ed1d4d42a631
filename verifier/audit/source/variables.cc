#include <algorithm>

#include "verifier/audit/source/interpreter.h"

namespace fairway::audit::source {

Value* Interpreter::find(int name) {
  for (int frame = frame_; frame != -1; frame = frames_[static_cast<size_t>(frame)].lexical) {
    Frame& f = frames_[static_cast<size_t>(frame)];
    // A class body is no scope for the functions in it.
    if (f.class_body && frame != frame_) continue;
    if (auto at = f.variables.find(name); at != f.variables.end()) return &at->second;
  }
  const int global = unit_frames_[static_cast<size_t>(file_)];
  if (global != -1) {
    auto& variables = frames_[static_cast<size_t>(global)].variables;
    if (auto at = variables.find(name); at != variables.end()) return &at->second;
  }
  return nullptr;
}

/// Names say what data flow may have lost; they never take a property away.
Value Interpreter::with_hints(int name, Value value) const {
  const std::string& text = program_.name(name);
  if (text == "rank") value.taint |= kRank;
  if (value.constant() || value.kind == Value::Kind::kFunction || value.kind == Value::Kind::kClass) return value;
  if (!value.any(kModelOut | kTrain) && value.kind != Value::Kind::kTuple &&
      (contains_lower(text, "val_tok") || contains_lower(text, "validation_tok") || text == "val_np" ||
       text == "val_data_tokens")) {
    value.taint |= kVal;
  }
  if (value.any(kVal) && !value.any(kModelOut | kModel | kHash) &&
      (has_word(text, "y") || has_word(text, "tgt") || has_word(text, "tgts") || has_word(text, "target") ||
       has_word(text, "targets") || has_word(text, "label") || has_word(text, "labels") || has_word(text, "yb") ||
       has_word(text, "ys"))) {
    value.taint |= kTarget;
  }
  if (value.kind == Value::Kind::kUnknown && (text == "model" || text == "base_model" || text == "eval_model") &&
      !value.any(kVal | kTrain)) {
    value.taint |= kModel;
  }
  return value;
}

void Interpreter::set(int name, const Value& raw) {
  Frame* frame = &frames_[static_cast<size_t>(frame_)];
  if (std::find(frame->outer.begin(), frame->outer.end(), name) != frame->outer.end()) {
    if (Value* outer = find(name)) {
      *outer = unsure_ > 0 ? join(*outer, raw) : raw;
      return;
    }
    frame = &frames_[static_cast<size_t>(unit_frames_[static_cast<size_t>(file_)])];
  }
  Value value = with_hints(name, raw);
  value.origins |= control_;
  auto [at, inserted] = frame->variables.try_emplace(name, value);
  if (!inserted) at->second = unsure_ > 0 ? join(at->second, value) : value;
}

/// Where the value of an expression lives: a variable, an attribute of an object, the container of an element.
Value* Interpreter::lvalue(int32_t node) {
  for (int guard = 0; node != kNoNode && guard < 64; ++guard) {
    const Node& n = tree()[node];
    switch (n.kind) {
      case NodeKind::kIdentifier:
        return find(program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(node)]);
      case NodeKind::kSubscript:
        node = tree().child(node, Field::kValue);
        break;
      case NodeKind::kParenthesised:
        node = n.first_child;
        break;
      case NodeKind::kCall: {  // x.view(-1).add_(y)
        const int32_t function = tree().child(node, Field::kFunction);
        if (function == kNoNode || tree()[function].kind != NodeKind::kAttribute) return nullptr;
        node = tree().child(function, Field::kObject);
        break;
      }
      case NodeKind::kAttribute: {
        const int32_t object_node = tree().child(node, Field::kObject);
        const int32_t attribute = tree().child(node, Field::kAttribute);
        if (object_node == kNoNode || attribute == kNoNode) return nullptr;
        Value* object = lvalue(object_node);
        if (!object) return nullptr;
        if (object->kind != Value::Kind::kObject) {
          node = object_node;  // x.data is x
          break;
        }
        const int name = program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(attribute)];
        return &objects_[static_cast<size_t>(object->index)].attributes[name];
      }
      default:
        return nullptr;
    }
  }
  return nullptr;
}

void Interpreter::mark_mutated(int32_t node) {
  for (int guard = 0; node != kNoNode && guard < 64; ++guard) {
    const Node& n = tree()[node];
    if (n.kind == NodeKind::kIdentifier) {
      const int name = program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(node)];
      auto& mutated = frames_[static_cast<size_t>(frame_)].mutated;
      if (std::find(mutated.begin(), mutated.end(), name) == mutated.end()) mutated.push_back(name);
      return;
    }
    if (n.kind == NodeKind::kSubscript) {
      node = tree().child(node, Field::kValue);
    } else if (n.kind == NodeKind::kAttribute) {
      node = tree().child(node, Field::kObject);
    } else if (n.kind == NodeKind::kCall) {
      node = tree().child(node, Field::kFunction);
    } else {
      return;
    }
  }
}

bool Interpreter::in_globals(const Value* place) const {
  const int global = unit_frames_[static_cast<size_t>(file_)];
  if (global == -1 || global == frame_) return false;
  for (const auto& [name, value] : frames_[static_cast<size_t>(global)].variables) {
    if (&value == place) return true;
  }
  return false;
}

}  // namespace fairway::audit::source
