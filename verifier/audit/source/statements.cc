#include "verifier/audit/source/interpreter.h"

namespace fairway::audit::source {

Interpreter::Flow Interpreter::block(int32_t node) {
  Flow flow = Flow::kNext;
  int pushed = 0;
  for (int32_t at = tree()[node].first_child; at != kNoNode && budget(); at = tree()[at].next) {
    if (tree()[at].kind == NodeKind::kToken) continue;
    flow = statement(at);
    if (pending_arm_ >= 0) {
      // An arm that always leaves: what follows in this block is its other arm.
      arms_.push_back({pending_arm_, 1});
      pending_arm_ = -1;
      ++pushed;
    }
    if (flow != Flow::kNext) break;
  }
  arms_.resize(arms_.size() - static_cast<size_t>(pushed));
  return flow;
}

Interpreter::Flow Interpreter::statement(int32_t node) {
  if (!budget()) return Flow::kNext;
  if (depth_ >= limits_.depth) return Flow::kNext;
  ++depth_;
  Flow flow = Flow::kNext;
  const Node& n = tree()[node];
  switch (n.kind) {
    case NodeKind::kExpressionStatement:
      for (int32_t at = n.first_child; at != kNoNode; at = tree()[at].next) statement(at);
      break;
    case NodeKind::kBlock:
    case NodeKind::kModule:
    case NodeKind::kError:  // what the parser could read of it
      flow = block(node);
      break;
    case NodeKind::kAssignment:
      assignment(node);
      break;
    case NodeKind::kAugmentedAssignment:
      augmented_assignment(node);
      break;
    case NodeKind::kReturn: {
      const Value value = n.first_child == kNoNode ? Value::none() : eval(n.first_child);
      if (!returns_.empty()) {
        returns_.back() = returned_.back() ? join(returns_.back(), value) : value;
        returned_.back() = true;
      }
      flow = Flow::kReturn;
      break;
    }
    case NodeKind::kIf:
      flow = if_statement(node);
      break;
    case NodeKind::kFor:
      flow = for_statement(node);
      break;
    case NodeKind::kWhile:
      flow = while_statement(node);
      break;
    case NodeKind::kWith:
      flow = with_statement(node);
      break;
    case NodeKind::kTry:
      flow = try_statement(node);
      break;
    case NodeKind::kMatch:
      for (int32_t at : tree().children(node)) {
        ++unsure_;
        if (tree()[at].kind == NodeKind::kBlock) block(at);
        if (tree()[at].kind == NodeKind::kCase) {
          if (int32_t body = tree().child(at, Field::kConsequence); body != kNoNode) block(body);
        }
        --unsure_;
      }
      break;
    case NodeKind::kBreak:
      flow = Flow::kBreak;
      break;
    case NodeKind::kContinue:
      flow = Flow::kContinue;
      break;
    case NodeKind::kRaise:
      flow = Flow::kRaise;
      break;
    case NodeKind::kGlobal:
    case NodeKind::kNonlocal:
      for (int32_t at : tree().children(node)) {
        if (tree()[at].kind == NodeKind::kIdentifier) {
          frames_[static_cast<size_t>(frame_)].outer.push_back(
              program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(at)]);
        }
      }
      break;
    case NodeKind::kImport:
    case NodeKind::kImportFrom:
      import_statement(node);
      break;
    case NodeKind::kDecorated:
      if (int32_t inner = tree().child(node, Field::kDefinition); inner != kNoNode) statement(inner);
      break;
    case NodeKind::kFunction: {
      const int index = program_.function_at(file_, node);
      if (index < 0) break;
      Value value;
      value.kind = Value::Kind::kFunction;
      value.index = index;
      value.closure = frame_;
      if (const int name = program_.functions()[static_cast<size_t>(index)].name; name >= 0) set(name, value);
      break;
    }
    case NodeKind::kClass:
      define_class(node);
      break;
    case NodeKind::kDelete:
    case NodeKind::kToken:
      break;
    default:
      eval(node);
  }
  --depth_;
  return flow;
}

Interpreter::Flow Interpreter::with_statement(int32_t node) {
  const int outer_no_grad = no_grad_;
  std::vector<int32_t> open = {node};
  const int32_t body = tree().child(node, Field::kBody);
  while (!open.empty()) {
    const int32_t at = open.back();
    open.pop_back();
    if (at == body) continue;
    if (tree()[at].kind == NodeKind::kWithItem) {
      int32_t value = tree().child(at, Field::kValue);
      if (value == kNoNode) continue;
      const std::string_view written = text(value).substr(0, 200);
      if (written.find("no_grad") != written.npos || written.find("inference_mode") != written.npos ||
          written.find("set_grad_enabled(False") != written.npos) {
        ++no_grad_;
      }
      if (written.find("enable_grad") != written.npos) no_grad_ = 0;
      int32_t as = kNoNode;  // as_pattern: value, then the target
      if (tree().type(value) == "as_pattern") {
        const std::vector<int32_t> parts = tree().children(value);
        if (!parts.empty()) value = parts[0];
        if (parts.size() > 1) as = tree()[parts[1]].first_child != kNoNode ? tree()[parts[1]].first_child : parts[1];
      }
      const Value entered = eval(value);
      if (as != kNoNode) assign(as, entered, as);
      continue;
    }
    std::vector<int32_t> children = tree().children(at);
    for (auto c = children.rbegin(); c != children.rend(); ++c) open.push_back(*c);
  }
  const Flow flow = body == kNoNode ? Flow::kNext : block(body);
  no_grad_ = outer_no_grad;
  return flow;
}

Interpreter::Flow Interpreter::try_statement(int32_t node) {
  Flow flow = Flow::kNext;
  for (int32_t at : tree().children(node)) {
    const NodeKind kind = tree()[at].kind;
    if (kind == NodeKind::kBlock) {
      flow = block(at);
    } else if (kind == NodeKind::kExcept) {
      ++unsure_;
      for (int32_t inner : tree().children(at)) {
        if (tree()[inner].kind == NodeKind::kBlock) block(inner);
      }
      --unsure_;
    } else if (kind == NodeKind::kFinally || kind == NodeKind::kElse) {
      for (int32_t inner : tree().children(at)) {
        if (tree()[inner].kind == NodeKind::kBlock) block(inner);
      }
    }
  }
  pending_arm_ = -1;
  return flow == Flow::kRaise ? Flow::kNext : flow;
}

}  // namespace fairway::audit::source
