/// Abstract values of the interpreter: what is known of a Python value without running anything.
///
/// A value has a constant part (exact or unknown), a set of properties (Taint) and a set of origins: the events it was
/// made from.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace fairway::audit::source {

/// Three-valued truth (Kleene): unknown stays unknown unless the other operand decides.
enum class Tri : uint8_t { kFalse, kTrue, kUnknown };

constexpr Tri tri(bool value) { return value ? Tri::kTrue : Tri::kFalse; }
constexpr Tri tri_not(Tri a) { return a == Tri::kUnknown ? a : tri(a == Tri::kFalse); }
constexpr Tri tri_and(Tri a, Tri b) {
  if (a == Tri::kFalse || b == Tri::kFalse) return Tri::kFalse;
  return a == Tri::kTrue && b == Tri::kTrue ? Tri::kTrue : Tri::kUnknown;
}
constexpr Tri tri_or(Tri a, Tri b) { return tri_not(tri_and(tri_not(a), tri_not(b))); }

/// Properties that travel with data.
enum Taint : uint32_t {
  kVal = 1u << 0,          ///< comes from validation tokens or names their files
  kTrain = 1u << 1,        ///< comes from training tokens or names their files
  kTarget = 1u << 2,       ///< the token being predicted
  kModel = 1u << 3,        ///< a model, or something that wraps one
  kModelOut = 1u << 4,     ///< computed by a model: logits, losses
  kTokenLik = 1u << 5,     ///< a likelihood or loss of the true token, one per position
  kHash = 1u << 6,         ///< went through hash arithmetic
  kTargetKey = 1u << 7,    ///< a hash of context and the token being predicted
  kFresh = 1u << 8,        ///< a tensor that requires a gradient, made outside a model
  kModelParams = 1u << 9,  ///< parameters of a model or an adapter
  kSetting = 1u << 10,     ///< a setting whose value is not known
  kByteLength = 1u << 11,  ///< the number of bytes of a token
  kPerByte = 1u << 12,     ///< a token's likelihood spread over its bytes
  kOracle = 1u << 13,      ///< a comparison of two likelihoods of the true token
  kCount = 1u << 14,       ///< read from a table at a hash of context and target
  kOptimizer = 1u << 15,
  kDefault = 1u << 16,   ///< a setting that no log names: its default, or what a command asks for
  kHere = 1u << 17,      ///< tokens taken at a position itself, not before it
  kBefore = 1u << 18,    ///< tokens taken at earlier positions
  kByteText = 1u << 19,  ///< encoded text
  kOpen = 1u << 20,      ///< a switch that is off by default, in a record without logs: it may have been on
  kRank = 1u << 21,     ///< depends on which process this is
  kStored = 1u << 22,   ///< unpacked from a file that is no shard of tokens
};

/// A small set of event numbers. Numbers beyond the last share it, which only ever loses precision.
class Origins {
 public:
  static constexpr int kCapacity = 512;
  static constexpr int kOverflow = kCapacity - 1;
  void add(int id) { words_[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64); }
  bool has(int id) const { return (words_[static_cast<size_t>(id) / 64] >> (id % 64)) & 1; }
  void remove(int id) { words_[static_cast<size_t>(id) / 64] &= ~(uint64_t{1} << (id % 64)); }
  Origins& operator|=(const Origins& other) {
    for (size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
    return *this;
  }
  bool intersects(const Origins& other) const {
    for (size_t i = 0; i < words_.size(); ++i) {
      if (words_[i] & other.words_[i]) return true;
    }
    return false;
  }
  bool empty() const {
    for (uint64_t word : words_) {
      if (word) return false;
    }
    return true;
  }

 private:
  std::array<uint64_t, kCapacity / 64> words_{};
};

struct Value {
  enum class Kind : uint8_t { kUnknown, kNone, kBool, kNumber, kString, kFunction, kClass, kObject, kModule, kTuple };
  Kind kind = Kind::kUnknown;
  uint32_t taint = 0;
  double number = 0;      ///< kBool (0 or 1) and kNumber
  int32_t index = -1;     ///< kFunction, kClass, kObject, kModule: which; kString: interned text
  int32_t closure = -1;   ///< kFunction: the frame it was defined in
  int32_t receiver = -1;  ///< kFunction: the object it is bound to
  Origins origins;
  std::shared_ptr<std::vector<Value>> items;  ///< kTuple

  static Value of_number(double number) {
    Value v;
    v.kind = Kind::kNumber;
    v.number = number;
    return v;
  }
  static Value of_bool(bool flag) {
    Value v;
    v.kind = Kind::kBool;
    v.number = flag;
    return v;
  }
  static Value of_tri(Tri t) { return t == Tri::kUnknown ? Value{} : of_bool(t == Tri::kTrue); }
  static Value none() {
    Value v;
    v.kind = Kind::kNone;
    return v;
  }
  bool numeric() const { return kind == Kind::kNumber || kind == Kind::kBool; }
  bool constant() const { return numeric() || kind == Kind::kNone || kind == Kind::kString; }
  bool is(uint32_t all) const { return (taint & all) == all; }
  bool any(uint32_t some) const { return (taint & some) != 0; }

  /// Takes over properties and origins of `other`, not what it is.
  void absorb(const Value& other) {
    taint |= other.taint;
    origins |= other.origins;
  }
  /// Forgets the constant, keeps properties.
  void forget() {
    if (constant()) kind = Kind::kUnknown;
  }
};

/// What both may be: equal constants stay.
inline Value join(const Value& a, const Value& b) {
  Value result = a;
  const bool same = a.kind == b.kind && a.number == b.number && a.index == b.index;
  if (!same) {
    // An object, function or model on one side is worth keeping: code that follows uses it.
    if (a.constant() || a.kind == Value::Kind::kUnknown) result = b;
    if (result.constant()) result.kind = Value::Kind::kUnknown;
    if (result.kind == Value::Kind::kTuple && b.kind == Value::Kind::kTuple && a.kind == Value::Kind::kTuple &&
        a.items->size() != b.items->size()) {
      result.kind = Value::Kind::kUnknown;
    }
  } else if (a.kind == Value::Kind::kTuple) {
    if (a.items->size() == b.items->size()) {
      result.items = std::make_shared<std::vector<Value>>();
      for (size_t i = 0; i < a.items->size(); ++i) result.items->push_back(join((*a.items)[i], (*b.items)[i]));
    } else {
      result.kind = Value::Kind::kUnknown;
    }
  }
  result.taint = a.taint | b.taint;
  result.origins = a.origins;
  result.origins |= b.origins;
  return result;
}

}  // namespace fairway::audit::source
