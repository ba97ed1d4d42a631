/// Reads the pickle inside a torch.save archive without executing it.
///
/// A pickle is a program for a stack machine that can import and call anything. This machine knows the opcodes that
/// torch.save writes for dicts of tensors (protocol 2) and, of everything that could be imported, only the names in
/// pickle_names.cc's list: an ordered dict, the function that rebuilds a tensor, and the storage types. They become
/// plain values; nothing is called. Every other opcode and name is refused with its offset.
///
/// Values live in one array and refer to each other by index, so that a pickle that contains itself costs nothing and
/// no depth of nesting uses the call stack. Limits: 16 MiB of pickle, 2^17 values, 2^17 memo slots.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engine/base/result.h"

namespace fairway::quant::upstream {

constexpr uint64_t kMaxPickleBytes = 16 << 20;
constexpr size_t kMaxPickleValues = 1 << 17;

/// Index of a value in Pickle::values.
using Ref = uint32_t;

enum class Dtype : uint8_t { kFloat64, kFloat32, kFloat16, kBfloat16, kInt64, kInt32, kInt16, kInt8, kUint8, kBool };

/// "float16": as in `torch.float16`.
const char* dtype_name(Dtype dtype);
uint64_t dtype_size_bytes(Dtype dtype);

struct None {};
enum class Global : uint8_t { kOrderedDict, kRebuildTensor };
struct StorageType {
  Dtype dtype;
};
/// Elements of the archive's member data/<key>.
struct StorageRef {
  Dtype dtype;
  std::string key;
  uint64_t count;
};
/// A view of a storage: element (i, j, ...) is storage[offset + i * stride[0] + j * stride[1] + ...].
struct TensorRef {
  StorageRef storage;
  uint64_t offset;
  std::vector<int64_t> shape, stride;
};
struct Tuple {
  std::vector<Ref> items;
};
struct List {
  std::vector<Ref> items;
};
struct Dict {
  std::vector<std::pair<Ref, Ref>> items;  ///< in the order of insertion; keys may be any value and may repeat
};

using PickleValue = std::variant<None, bool, int64_t, double, std::string, Global, StorageType, StorageRef, TensorRef,
                                 Tuple, List, Dict>;

struct Pickle {
  std::vector<PickleValue> values;
  Ref top = 0;  ///< what the pickle stands for

  /// The value as a T, or null.
  template <class T>
  const T* get(Ref ref) const {
    return std::get_if<T>(&values[ref]);
  }
};

/// Errors (kData, where = "<where> @ 0x<offset>"): an opcode or a global that is not allowed, by name; a stack that
/// does not hold what an opcode needs; sizes that do not fit; bytes after the end.
Result<Pickle> read_pickle(std::span<const std::byte> bytes, const std::string& where);

}  // namespace fairway::quant::upstream
