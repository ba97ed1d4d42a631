/// The container: all tensors of an exported model in one byte string (FORMAT.md gives it byte by byte).
///
/// Its SHA-256, before compression, is the identity of an artifact. Writing is canonical: the same packed tensors give
/// the same bytes whatever order they come in. Reading is strict: every byte is accounted for, and a container that was
/// read writes back to the same bytes. Non-goals: compression (codec.h), choosing what is stored how (export_rules.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/quant/tensor.h"

namespace fairway::quant {

/// Numbers stand in the file and are never reused.
enum class Storage : uint8_t {
  kInt8Rows = 1,  ///< a matrix as int8 with one binary16 scale per row
  kFloat32 = 2,
  kFloat16 = 3,
  kCodebook = 4,  ///< a matrix as one byte per element, an index into binary16 values
  kLowRank = 5,   ///< a matrix as the product of two binary16 factors
};

/// "int8_rows", "binary32", "binary16", "codebook", "low_rank".
const char* storage_name(Storage storage);

constexpr uint32_t kContainerVersion = 1;
constexpr size_t kMaxNameBytes = 255;
constexpr size_t kMaxDimensions = 4;
constexpr uint32_t kMaxCodebookEntries = 256;

/// What is known of a tensor before its content.
struct ContainerEntry {
  TensorSpec spec;  ///< spec.format is the original format, to which restored values return
  Storage storage = Storage::kFloat16;
  uint8_t limit = 0;   ///< kInt8Rows: |integers| <= limit, 1..127; otherwise 0
  uint32_t extra = 0;  ///< kCodebook: values, 1..256; kLowRank: the rank, 1..min(rows, columns); otherwise 0
  bool operator==(const ContainerEntry&) const = default;
};

/// A tensor as it is stored. Used: integers and half_bits (scales) for kInt8Rows, floats for kFloat32, half_bits for
/// kFloat16; indices and half_bits (values) for kCodebook; half_bits (left factor, then right) for kLowRank.
struct PackedTensor {
  ContainerEntry entry;
  std::vector<int8_t> integers;
  std::vector<uint8_t> indices;
  std::vector<uint16_t> half_bits;
  std::vector<float> floats;
};

/// Whether the container can hold such an entry: 1 to 255 printable ASCII bytes of name (0x21..0x7e), at most 4
/// dimensions, each below 2^32 and together at most 2^40 elements, storage and limit consistent. Error kData naming it.
Status check_entry(const ContainerEntry& entry);

/// Bytes of integers, scales and passthrough values alone: the "payload" of the published logs.
uint64_t payload_size_bytes(std::span<const ContainerEntry> entries);
/// Exact size of the whole container. Names and shapes decide, so a reader knows it before it sees a byte.
uint64_t container_size_bytes(std::span<const ContainerEntry> entries);

/// Serialises in the order of names; the input may be in any order.
/// Errors (kData): an entry that fails check_entry, two tensors of one name, an integer beyond its limit, a scale that
/// is negative or not finite, a value that is not finite. Own invariant: the vectors have the sizes of the shapes.
Result<std::vector<std::byte>> write_container(std::span<const PackedTensor> tensors);

/// Reads the header table only and checks that the total size is the one it implies. `where` starts error messages.
Result<std::vector<ContainerEntry>> read_container_table(std::span<const std::byte> bytes, const std::string& where);

/// Reads everything; tensors in the order of names. Errors (kData, where = "<where> @ 0x<offset>"): anything FORMAT.md
/// forbids.
Result<std::vector<PackedTensor>> read_packed(std::span<const std::byte> bytes, const std::string& where);

/// The values a packed tensor stands for, rounded to its original format; binary32 tensors are returned as stored.
NamedTensor restore_tensor(const PackedTensor& packed);

/// Reads a container that must hold exactly `expected` (in any order) and restores the values; the result is in the
/// order of `expected`. Errors (kData): as read_packed, or a size, name, shape, format, storage or limit that differs,
/// or a value that overflows its original format when it is restored (possible for F16 only).
Result<std::vector<NamedTensor>> read_container(std::span<const std::byte> bytes,
                                                std::span<const ContainerEntry> expected, const std::string& where);

}  // namespace fairway::quant
