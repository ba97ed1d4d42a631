#include "verifier/audit/source/interpreter.h"

namespace fairway::audit::source {

/// Arithmetic, tables and hashes of numpy and torch.
bool Interpreter::call_tensor(const Call& call, Value& result) {
  if ((call.written == "dist.gather" || call.written == "dist.all_gather" ||
       call.written == "torch.distributed.all_gather") &&
      call.arguments.size() >= 2) {
    const bool to_first = call.name == "all_gather";
    Value part;
    part.absorb(call.argument(to_first ? 1 : 0));
    if (Value* place = lvalue(call.arguments[to_first ? 0 : 1].node)) place->absorb(part);
    mark_mutated(call.arguments[to_first ? 0 : 1].node);
    return true;
  }
  if (call.name == "cross_entropy" || call.name == "nll_loss" || call.name == "CrossEntropyLoss") {
    result = call.all;
    result.kind = Value::Kind::kUnknown;
    result.taint &= ~static_cast<uint32_t>(kTarget);
    if (const Value* reduction = keyword(call, "reduction");
        reduction && reduction->kind == Value::Kind::kString && string_of(*reduction) == "none") {
      result.taint |= kTokenLik;
    }
    if (call.all.any(kVal)) result.taint |= kModelOut;
    return true;
  }
  if (call.name == "gather" || call.name == "take_along_dim" || call.name == "take" || call.name == "index_select" ||
      call.name == "take_along_axis") {
    const Value& table = one_of(call.written, {"torch.gather", "torch.take_along_dim", "np.take", "numpy.take",
                                               "torch.take", "torch.index_select", "np.take_along_axis"})
                             ? call.argument(0)
                             : call.callee;
    result.absorb(table);
    result.absorb(call.all);
    if (call.all.any(kTargetKey) && !table.any(kModelOut)) {
      Event& event = note(EventKind::kTargetRead, call.node, call.all);
      result.origins.add(event.id);
      result.taint |= kCount;
      result.taint &= ~static_cast<uint32_t>(kTargetKey | kHash);
    } else if (table.any(kModelOut) && call.all.any(kTarget)) {
      result.taint |= kTokenLik;
    }
    result.taint &= ~static_cast<uint32_t>(kTarget);
    return true;
  }
  if (one_of(call.name, {"get"}) && call.argument(0).any(kTargetKey)) {
    result.absorb(call.callee);
    Event& event = note(EventKind::kTargetRead, call.node, call.argument(0));
    result.origins.add(event.id);
    result.taint |= kCount | (call.argument(0).taint & kVal);
    return true;
  }
  if (one_of(call.written, {"hash", "xxhash", "mmh3.hash", "zlib.crc32", "zlib.adler32"})) {
    result.absorb(call.all);
    result.taint |= kHash;
    if (call.all.any(kTarget)) result.taint |= kTargetKey;
    return true;
  }
  if (one_of(call.name, {"bitwise_xor", "logical_xor"})) {
    result.absorb(call.all);
    if (!call.all.any(kModelOut) && call.all.any(kVal | kTarget))
      result.taint |= kHash | (call.all.any(kTarget) ? uint32_t{kTargetKey} : 0u);
    return true;
  }
  if (call.written == "np.add.at" || call.written == "numpy.add.at" || call.name == "scatter_add_" ||
      call.name == "index_add_" || call.name == "bincount" || call.name == "index_put_" || call.name == "put_") {
    if (call.all.any(kVal | kTrain) && !call.all.any(kModelOut)) {
      const bool static_call = call.written == "np.add.at" || call.written == "numpy.add.at";
      Event& event = note(EventKind::kTableWrite, call.node, call.all);
      Value part;
      part.origins.add(event.id);
      part.origins |= call.all.origins;
      part.taint |= call.all.taint & (kVal | kTrain);
      const int32_t table = static_call && !call.arguments.empty() ? call.arguments[0].node
                                                                   : tree().child(call.function_node, Field::kObject);
      if (call.name != "bincount") {
        if (Value* place = lvalue(table)) place->absorb(part);
        mark_mutated(table);
      }
      result = part;
    }
    return true;
  }
  if (one_of(call.written, {"min", "np.minimum", "torch.minimum", "torch.min", "torch.maximum", "np.maximum"}) &&
      call.arguments.size() == 2 && call.argument(0).is(kTokenLik) && call.argument(1).is(kTokenLik)) {
    Event& event = note(EventKind::kOracle, call.node, call.all);
    result.absorb(call.all);
    result.origins.add(event.id);
    return true;
  }
  if (one_of(call.name, {"exp", "logaddexp", "log1p", "log", "logsumexp"}) &&
      (call.all.any(kPerByte) || call.callee.any(kPerByte))) {
    result.absorb(call.all);
    if (!one_of(call.written.substr(0, call.written.find('.')), {"np", "torch", "math", "numpy"}))
      result.absorb(call.callee);
    Event& event = note(EventKind::kPerByteMix, call.node, result);
    result.origins.add(event.id);
    return true;
  }
  if (one_of(call.name, {"sum", "mean"})) {
    result.absorb(call.all);
    if (call.function_node != kNoNode && tree()[call.function_node].kind == NodeKind::kAttribute)
      result.absorb(call.callee);
    result.taint &= ~static_cast<uint32_t>(kTokenLik | kTarget | kByteLength);
    return true;
  }
  return false;
}

}  // namespace fairway::audit::source
