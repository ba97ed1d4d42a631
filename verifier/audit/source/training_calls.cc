#include "verifier/audit/source/interpreter.h"

namespace fairway::audit::source {

/// Gradients, optimisers, parameters and weights.
bool Interpreter::call_training(const Call& call, Value& result) {
  if (call.name == "backward" || call.written == "torch.autograd.grad" || call.written == "autograd.grad") {
    const Value loss = call.name == "backward" ? call.callee : call.argument(0);
    if (loss.any(kVal | kTrain)) note(EventKind::kBackward, call.node, loss);
    result.absorb(loss);
    return true;
  }
  if (call.name == "step" && !contains_lower(call.written, "sched") && !contains_lower(call.written, "profil")) {
    Event& event = note(EventKind::kStep, call.node, call.callee);
    event.parameters = call.callee.origins;
    event.parameter_taint = call.callee.taint;
    const size_t step = timeline_.events.size() - 1;
    if (call.argument(0).kind == Value::Kind::kFunction) {
      // An optimiser that calls a closure steps after it.
      call_function(call.argument(0), {}, call.node);
      Event moved = timeline_.events[step];
      timeline_.events.push_back(std::move(moved));
    }
    return true;
  }
  if (call.name == "deepcopy" && !call.arguments.empty()) {
    result = call.argument(0);
    if (result.any(kModel)) {
      Event& event = note(EventKind::kModel, call.node, call.argument(0));
      result.origins = {};
      result.origins.add(event.id);
      result.kind = Value::Kind::kUnknown;
    }
    return true;
  }
  if (call.name == "state_dict" && call.callee.any(kModel)) {
    Event& event = note(EventKind::kSnapshot, call.node, call.callee);
    result.origins = call.callee.origins;
    result.origins.add(event.id);
    return true;
  }
  // Weights kept and put back by hand: {n: p.data.clone() for n, p in model.named_parameters()}, p.data.copy_(kept[n]).
  if (call.name == "clone" && call.callee.any(kModelParams)) {
    Event& event = note(EventKind::kSnapshot, call.node, call.callee);
    result.absorb(call.callee);
    result.origins.add(event.id);
    return true;
  }
  if (call.name == "copy_" && call.callee.any(kModelParams)) {
    Event& event = note(EventKind::kRestore, call.node, call.all);
    event.parameters = call.callee.origins;
    return true;
  }
  if (call.name == "load_state_dict") {
    Event& event = note(EventKind::kRestore, call.node, call.all);
    event.parameters = call.callee.origins;
    return true;
  }
  if (one_of(call.name, {"parameters", "named_parameters"}) && call.callee.any(kModel | kModelParams)) {
    result.origins = call.callee.origins;
    result.taint = kModelParams;
    return true;
  }
  if (call.written == "nn.Parameter" || call.written == "torch.nn.Parameter" || call.written == "Parameter") {
    result.absorb(call.all);
    result.taint |= kFresh;
    return true;
  }
  if (const Value* requires_grad = keyword(call, "requires_grad");
      requires_grad && truth(*requires_grad) == Tri::kTrue) {
    result.absorb(call.all);
    result.taint |= kFresh;
    result.taint &= ~static_cast<uint32_t>(kModel);
    return true;
  }
  if (call.name == "requires_grad_" && !call.callee.any(kModel | kModelParams)) {
    const bool on = call.arguments.empty() || truth(call.argument(0)) != Tri::kFalse;
    result = call.callee;
    if (on) {
      result.taint |= kFresh;
      if (Value* place = lvalue(tree().child(call.function_node, Field::kObject))) place->taint |= kFresh;
    }
    return true;
  }
  if (call.written.find("optim.") != call.written.npos ||
      one_of(call.name, {"AdamW", "Adam", "SGD", "LBFGS", "Muon", "Adagrad", "RMSprop"})) {
    result.absorb(call.all);
    result.taint &= kFresh | kModelParams | kModel;
    if (result.any(kModel)) result.taint |= kModelParams;
    result.taint &= ~static_cast<uint32_t>(kModel);
    result.taint |= kOptimizer;
    return true;
  }
  if (one_of(call.name, {"no_grad", "inference_mode", "autocast", "manual_seed", "barrier", "synchronize",
                         "empty_cache", "zero_grad", "clip_grad_norm_"})) {
    return true;
  }
  return false;
}

}  // namespace fairway::audit::source
