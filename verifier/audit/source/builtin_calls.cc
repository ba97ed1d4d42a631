#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>

#include "verifier/audit/source/interpreter.h"

namespace fairway::audit::source {

/// Python's own functions and methods of text.
bool Interpreter::call_builtin(const Call& call, Value& result) {
  if (call.written == "int" || call.written == "float") {
    result = call.argument(0);
    if (result.kind == Value::Kind::kString) {
      const std::string digits(string_of(result));
      char* end = nullptr;
      const double number = std::strtod(digits.c_str(), &end);
      result.kind = Value::Kind::kUnknown;
      if (!digits.empty() && end && *end == '\0') {
        result.kind = Value::Kind::kNumber;
        result.number = call.written == "int" ? std::trunc(number) : number;
      }
    } else if (result.numeric()) {
      result.kind = Value::Kind::kNumber;
      if (call.written == "int") result.number = std::trunc(result.number);
    } else {
      result.kind = Value::Kind::kUnknown;
    }
    return true;
  }
  if (call.written == "bool") {
    result = Value::of_tri(truth(call.argument(0)));
    result.absorb(call.argument(0));
    return true;
  }
  if (call.written == "str") {
    result = call.argument(0);
    if (result.kind != Value::Kind::kString) result.kind = Value::Kind::kUnknown;
    return true;
  }
  if (one_of(call.name, {"lower", "strip", "upper", "rstrip", "lstrip"}) && call.callee.kind == Value::Kind::kString) {
    std::string changed(string_of(call.callee));
    for (char& c : changed) {
      if (call.name == "lower") c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      if (call.name == "upper") c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    if (call.name.find("strip") != call.name.npos) {
      while (!changed.empty() && changed.back() == ' ') changed.pop_back();
      while (!changed.empty() && changed.front() == ' ') changed.erase(0, 1);
    }
    result = of_string(changed);
    result.absorb(call.callee);
    return true;
  }
  if (call.written == "range") {
    result.absorb(call.all);
    bool known = !call.arguments.empty() && call.arguments.size() <= 2;
    for (const Argument& a : call.arguments) known &= a.value.numeric();
    if (known) {
      const double begin = call.arguments.size() == 2 ? call.argument(0).number : 0;
      const double count = call.argument(call.arguments.size() - 1).number - begin;
      if (count <= 1) {
        result.kind = Value::Kind::kTuple;
        result.items = std::make_shared<std::vector<Value>>();
        if (count == 1) result.items->push_back(Value::of_number(begin));
      }
    }
    return true;
  }
  if (one_of(call.written, {"enumerate", "tqdm", "reversed", "sorted", "list", "tuple", "iter"}) &&
      !call.arguments.empty()) {
    const Value& items = call.argument(0);
    if (call.written != "enumerate") {
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
  if (call.written == "zip") {
    Value element;
    element.kind = Value::Kind::kTuple;
    element.items = std::make_shared<std::vector<Value>>();
    for (const Argument& a : call.arguments) {
      Value item;
      item.absorb(a.value);
      element.items->push_back(item);
    }
    element.absorb(call.all);
    result.kind = Value::Kind::kTuple;
    result.items = std::make_shared<std::vector<Value>>(std::vector<Value>{element, element});
    result.absorb(call.all);
    return true;
  }
  if (call.written == "len") {
    if (call.argument(0).any(kVal) && call.arguments.size() == 1 && call.arguments[0].node != kNoNode) {
      const std::string_view what = text(call.arguments[0].node);
      if (contains_lower(what, "byte") || has_word(what, "tb") || has_word(what, "raw") ||
          contains_lower(what, "encode"))
        result.taint |= kByteLength;
    }
    if (call.arguments.size() == 1 && call.arguments[0].node != kNoNode &&
        contains_lower(text(call.arguments[0].node), "byte"))
      result.taint |= kByteLength;
    if (call.argument(0).any(kByteText)) result.taint |= kByteLength;
    result.origins = call.argument(0).origins;
    return true;
  }
  if (one_of(call.written,
             {"lzma.decompress", "zlib.decompress", "bz2.decompress", "gzip.decompress", "brotli.decompress",
              "zstandard.decompress", "np.load", "numpy.load", "torch.load", "pickle.load", "pickle.loads"}) &&
      !call.all.any(kVal | kTrain)) {
    result.absorb(call.all);
    result.taint |= kStored;
    return true;
  }
  if (one_of(call.written, {"lzma.compress", "zlib.compress", "bz2.compress", "brotli.compress"}) &&
      call.all.any(kVal)) {
    result.absorb(call.all);
    result.taint |= kStored;
    return true;
  }
  if (call.name == "encode") {
    result.absorb(call.callee);
    result.taint |= kByteText;
    return true;
  }
  if (one_of(call.name, {"numel", "size", "dim", "nelement", "element_size", "isinstance", "hasattr", "perf_counter",
                         "time", "is_initialized", "is_available", "get_rank", "get_world_size"})) {
    return true;  // neither tokens nor losses
  }
  if (call.written == "getattr" && call.arguments.size() >= 2 && call.argument(1).kind == Value::Kind::kString) {
    const Value found = attribute_of(call.argument(0), call.argument(1).index);
    const bool known = found.kind != Value::Kind::kUnknown || found.taint;
    result = known || call.arguments.size() < 3 ? found : call.argument(2);
    return true;
  }
  if (one_of(call.name, {"compile", "jit", "njit", "script", "wraps"}) &&
      call.argument(0).kind == Value::Kind::kFunction) {
    result = call.argument(0);
    return true;
  }
  if (one_of(call.name, {"map", "submit", "imap", "starmap", "apply_async"}) &&
      call.argument(0).kind == Value::Kind::kFunction) {
    Arguments passed(call.arguments.begin() + 1, call.arguments.end());
    result = call_function(call.argument(0), passed, call.node);
    result.forget();
    return true;
  }
  return false;
}

}  // namespace fairway::audit::source
