#include "engine/quant/upstream/pickle.h"

#include <fmt/format.h>

#include <bit>
#include <optional>

#include "engine/base/endian.h"
#include "engine/quant/tensor.h"
#include "engine/quant/upstream/pickle_names.h"

namespace fairway::quant::upstream {
namespace {

// Names of storages are short numbers; each tensor keeps a copy of its own.
constexpr size_t kMaxKeyBytes = 32;

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  Result<Pickle> run() {
    if (bytes_.size() > kMaxPickleBytes) return fail(fmt::format("a pickle of more than {} bytes", kMaxPickleBytes));
    if (bytes_.size() < 2 || byte(0) != 0x80) return fail("not a pickle of protocol 2");
    while (!stopped_) {
      at_ = position_;
      Status status = step();
      if (!status) return status.error();
      if (pickle_.values.size() > kMaxPickleValues) return fail("more values than any artifact needs");
    }
    if (position_ != bytes_.size()) return fail(fmt::format("{} bytes follow the pickle", bytes_.size() - position_));
    return std::move(pickle_);
  }

 private:
  uint8_t byte(size_t at) const { return std::to_integer<uint8_t>(bytes_[at]); }

  Error fail(std::string what) const {
    return Error{Errc::kData, fmt::format("{} @ 0x{:x}", where_, at_), std::move(what)};
  }
  Error truncated() const { return fail("the pickle ends inside an instruction"); }
  Error underflow() const { return fail("the instruction needs more values than there are"); }

  // The next `count` bytes, or nothing.
  const std::byte* take(size_t count) {
    if (bytes_.size() - position_ < count) return nullptr;
    const std::byte* at = bytes_.data() + position_;
    position_ += count;
    return at;
  }

  Status push(PickleValue value) {
    stack_.push_back(static_cast<Ref>(pickle_.values.size()));
    pickle_.values.push_back(std::move(value));
    return {};
  }

  // Values above the last mark, which is removed with them.
  Result<std::vector<Ref>> pop_to_mark() {
    if (marks_.empty()) return fail("no mark on the stack");
    const size_t mark = marks_.back();
    marks_.pop_back();
    std::vector<Ref> items(stack_.begin() + static_cast<int64_t>(mark), stack_.end());
    stack_.resize(mark);
    return items;
  }

  // Whether `count` values lie above the last mark.
  bool holds(size_t count) const { return stack_.size() - (marks_.empty() ? 0 : marks_.back()) >= count; }

  Ref pop() {
    const Ref ref = stack_.back();
    stack_.pop_back();
    return ref;
  }

  template <class T>
  T* as(Ref ref) {
    return std::get_if<T>(&pickle_.values[ref]);
  }

  Status tuple(size_t count) {
    if (!holds(count)) return underflow();
    Tuple items;
    items.items.assign(stack_.end() - static_cast<int64_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return push(std::move(items));
  }

  Status put(uint64_t slot) {
    if (!holds(1)) return underflow();
    if (slot >= kMaxPickleValues) return fail(fmt::format("memo slot {} is beyond any artifact's", slot));
    if (slot >= memo_.size()) memo_.resize(slot + 1, kNoRef);
    memo_[slot] = stack_.back();
    return {};
  }

  Status get(uint64_t slot) {
    if (slot >= memo_.size() || memo_[slot] == kNoRef) return fail(fmt::format("memo slot {} is empty", slot));
    stack_.push_back(memo_[slot]);
    return {};
  }

  Status global() {
    std::string name;
    for (int line = 0; line < 2; ++line) {
      if (line == 1) name += '.';
      while (true) {
        const std::byte* next = take(1);
        if (next == nullptr) return truncated();
        const char c = std::to_integer<char>(*next);
        if (c == '\n') break;
        name += c;
        if (name.size() > 512) return fail("the name of a global has no end");
      }
    }
    if (auto allowed = allowed_global(name)) return push(std::move(*allowed));
    return fail(fmt::format(
        "the global {} is not allowed: an artifact needs dicts and tensors only, and nothing in it is executed",
        printable_name(name)));
  }

  // ('storage', type, key, location, count) becomes a StorageRef.
  Status persistent_id() {
    if (!holds(1)) return underflow();
    const Tuple* id = as<Tuple>(pop());
    if (id == nullptr || id->items.size() != 5) return fail("a persistent id that names no storage");
    const auto* tag = as<std::string>(id->items[0]);
    const auto* type = as<StorageType>(id->items[1]);
    const auto* key = as<std::string>(id->items[2]);
    const auto* count = as<int64_t>(id->items[4]);
    if (tag == nullptr || *tag != "storage" || type == nullptr || key == nullptr || count == nullptr || *count < 0 ||
        key->size() > kMaxKeyBytes) {
      return fail("a persistent id that names no storage");
    }
    return push(StorageRef{type->dtype, *key, static_cast<uint64_t>(*count)});
  }

  std::optional<std::vector<int64_t>> numbers(Ref ref) {
    const Tuple* items = as<Tuple>(ref);
    if (items == nullptr || items->items.size() > 8) return std::nullopt;
    std::vector<int64_t> out;
    for (Ref item : items->items) {
      const auto* number = as<int64_t>(item);
      if (number == nullptr || *number < 0) return std::nullopt;
      out.push_back(*number);
    }
    return out;
  }

  // Only two things are ever "called", and neither call does anything but make a value.
  Status reduce() {
    if (!holds(2)) return underflow();
    const Tuple* arguments = as<Tuple>(pop());
    const Global* callable = as<Global>(pop());
    if (callable == nullptr || arguments == nullptr) return fail("REDUCE of something that cannot be called");
    if (*callable == Global::kOrderedDict) {
      if (!arguments->items.empty()) return fail("an ordered dict with arguments");
      return push(Dict{});
    }
    // storage, offset, shape, stride, requires_grad, hooks (and, rarely, metadata, which changes no value)
    const size_t count = arguments->items.size();
    if (count != 6 && count != 7) return fail(fmt::format("a tensor rebuilt from {} arguments instead of 6", count));
    const auto* storage = as<StorageRef>(arguments->items[0]);
    const auto* offset = as<int64_t>(arguments->items[1]);
    auto shape = numbers(arguments->items[2]);
    auto stride = numbers(arguments->items[3]);
    if (storage == nullptr || offset == nullptr || *offset < 0 || !shape || !stride ||
        shape->size() != stride->size()) {
      return fail("a tensor rebuilt from arguments of the wrong kind");
    }
    return push(TensorRef{*storage, static_cast<uint64_t>(*offset), std::move(*shape), std::move(*stride)});
  }

  Status set_items(const std::vector<Ref>& items) {
    if (!holds(1)) return underflow();
    Dict* dict = as<Dict>(stack_.back());
    if (dict == nullptr || items.size() % 2 != 0) return fail("items for something that is no dict");
    for (size_t i = 0; i < items.size(); i += 2) dict->items.emplace_back(items[i], items[i + 1]);
    return {};
  }

  Status append(const std::vector<Ref>& items) {
    if (!holds(1)) return underflow();
    List* list = as<List>(stack_.back());
    if (list == nullptr) return fail("an element for something that is no list");
    list->items.insert(list->items.end(), items.begin(), items.end());
    return {};
  }

  // The state of an ordered dict is the version table that state_dict() leaves on it; it holds no values.
  Status build() {
    if (!holds(2)) return underflow();
    const bool state_is_dict = as<Dict>(pop()) != nullptr;
    if (!state_is_dict || as<Dict>(stack_.back()) == nullptr) return fail("BUILD of something that is no ordered dict");
    return {};
  }

  Status unicode() {
    const std::byte* size = take(4);
    if (size == nullptr) return truncated();
    const uint32_t count = load_le32(size);
    const std::byte* text = take(count);
    if (text == nullptr) return truncated();
    return push(std::string(reinterpret_cast<const char*>(text), count));
  }

  Status long1() {
    const std::byte* size = take(1);
    const size_t count = size == nullptr ? 0 : std::to_integer<size_t>(*size);
    const std::byte* digits = size == nullptr ? nullptr : take(count);
    if (digits == nullptr) return truncated();
    if (count > 8) return fail("an integer of more than 64 bits");
    uint64_t value = 0;
    for (size_t i = 0; i < count; ++i) value |= std::to_integer<uint64_t>(digits[i]) << (8 * i);
    if (count > 0 && count < 8 && (value >> (8 * count - 1)) != 0) value |= ~uint64_t{0} << (8 * count);
    return push(static_cast<int64_t>(value));
  }

  Status binary_float() {
    const std::byte* raw = take(8);
    if (raw == nullptr) return truncated();
    uint64_t bits = 0;
    for (int i = 0; i < 8; ++i) bits = bits << 8 | std::to_integer<uint64_t>(raw[i]);
    return push(std::bit_cast<double>(bits));
  }

  // An operand of 1, 2 or 4 bytes, unsigned.
  std::optional<uint32_t> operand(size_t size) {
    const std::byte* raw = take(size);
    if (raw == nullptr) return std::nullopt;
    uint32_t value = 0;
    for (size_t i = 0; i < size; ++i) value |= std::to_integer<uint32_t>(raw[i]) << (8 * i);
    return value;
  }

  Status with_operand(size_t size, Status (Machine::*use)(uint64_t)) {
    const auto value = operand(size);
    return value ? (this->*use)(*value) : Status(truncated());
  }
  Status push_unsigned(uint64_t value) { return push(static_cast<int64_t>(value)); }
  Status push_signed32(uint64_t value) { return push(int64_t{static_cast<int32_t>(static_cast<uint32_t>(value))}); }
  Status protocol(uint64_t version) {
    return version == 2 ? Status() : Status(fail(fmt::format("pickle protocol {}; torch.save writes 2", version)));
  }

  Status step() {
    const std::byte* next = take(1);
    if (next == nullptr) return fail("the pickle has no end");
    const uint8_t code = std::to_integer<uint8_t>(*next);
    switch (code) {
      case 0x80:
        return with_operand(1, &Machine::protocol);
      case '}':
        return push(Dict{});
      case ']':
        return push(List{});
      case ')':
        return push(Tuple{});
      case 'N':
        return push(None{});
      case 0x88:
        return push(true);
      case 0x89:
        return push(false);
      case 'K':
        return with_operand(1, &Machine::push_unsigned);
      case 'M':
        return with_operand(2, &Machine::push_unsigned);
      case 'J':
        return with_operand(4, &Machine::push_signed32);
      case 0x8a:
        return long1();
      case 'G':
        return binary_float();
      case 'X':
        return unicode();
      case 'q':
        return with_operand(1, &Machine::put);
      case 'r':
        return with_operand(4, &Machine::put);
      case 'h':
        return with_operand(1, &Machine::get);
      case 'j':
        return with_operand(4, &Machine::get);
      case 'c':
        return global();
      case 'Q':
        return persistent_id();
      case 'R':
        return reduce();
      case 'b':
        return build();
      case 0x85:
        return tuple(1);
      case 0x86:
        return tuple(2);
      case 0x87:
        return tuple(3);
      case '(':
        marks_.push_back(stack_.size());
        return {};
      case 't': {
        FAIRWAY_ASSIGN(Tuple items, as_tuple(pop_to_mark()));
        return push(std::move(items));
      }
      case 'u': {
        FAIRWAY_ASSIGN(std::vector<Ref> items, pop_to_mark());
        return set_items(items);
      }
      case 'e': {
        FAIRWAY_ASSIGN(std::vector<Ref> items, pop_to_mark());
        return append(items);
      }
      case 's': {
        if (!holds(3)) return underflow();
        const Ref value = pop(), key = pop();
        return set_items({key, value});
      }
      case 'a': {
        if (!holds(2)) return underflow();
        return append({pop()});
      }
      case '.': {
        if (stack_.size() != 1 || !marks_.empty()) return fail("the pickle ends with other than one value");
        pickle_.top = stack_.back();
        stopped_ = true;
        return {};
      }
      default:
        return fail(fmt::format("the opcode {} is not allowed: torch.save does not write it for dicts of tensors",
                                opcode_name(code)));
    }
  }

  static Result<Tuple> as_tuple(Result<std::vector<Ref>> items) {
    if (!items) return items.error();
    return Tuple{std::move(*items)};
  }

  static constexpr Ref kNoRef = ~Ref{0};
  std::span<const std::byte> bytes_;
  const std::string& where_;
  size_t position_ = 0, at_ = 0;
  bool stopped_ = false;
  Pickle pickle_;
  std::vector<Ref> stack_, memo_;
  std::vector<size_t> marks_;
};

}  // namespace

Result<Pickle> read_pickle(std::span<const std::byte> bytes, const std::string& where) {
  return Machine(bytes, where).run();
}

}  // namespace fairway::quant::upstream
