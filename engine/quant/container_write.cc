#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "engine/base/check.h"
#include "engine/base/endian.h"
#include "engine/quant/container_layout.h"

namespace fairway::quant {

using namespace layout;

namespace {

void append(std::vector<std::byte>& out, const void* data, size_t size) {
  const auto* begin = static_cast<const std::byte*>(data);
  out.insert(out.end(), begin, begin + size);
}
void append8(std::vector<std::byte>& out, uint8_t value) { out.push_back(std::byte{value}); }
void append16(std::vector<std::byte>& out, uint16_t value) {
  std::byte raw[2];
  store_le16(raw, value);
  append(out, raw, sizeof raw);
}
void append32(std::vector<std::byte>& out, uint32_t value) {
  std::byte raw[4];
  store_le32(raw, value);
  append(out, raw, sizeof raw);
}

void append_entry(std::vector<std::byte>& out, const ContainerEntry& entry) {
  append16(out, static_cast<uint16_t>(entry.spec.name.size()));
  append(out, entry.spec.name.data(), entry.spec.name.size());
  append8(out, static_cast<uint8_t>(entry.storage));
  append8(out, entry.limit);
  append8(out, static_cast<uint8_t>(entry.spec.format));
  append8(out, static_cast<uint8_t>(entry.spec.shape.size()));
  for (int64_t dimension : entry.spec.shape) append32(out, static_cast<uint32_t>(dimension));
  if (has_extra(entry)) append32(out, entry.extra);
}

// Checks one tensor before it is written; its sizes are our own invariant, its values come from outside.
Status check_packed(const PackedTensor& tensor) {
  FAIRWAY_TRY(check_entry(tensor.entry));
  const ContainerEntry& entry = tensor.entry;
  std::string where = printable_name(entry.spec.name);
  size_t count = entry_elements(entry);
  bool rows = entry.storage == Storage::kInt8Rows;
  FAIRWAY_CHECK(tensor.integers.size() == (rows ? count : 0));
  FAIRWAY_CHECK(tensor.indices.size() == (entry.storage == Storage::kCodebook ? count : 0));
  FAIRWAY_CHECK(tensor.floats.size() == (entry.storage == Storage::kFloat32 ? count : 0));
  size_t halves = half_count(entry);
  FAIRWAY_CHECK(tensor.half_bits.size() == halves);
  size_t index = first_bad(tensor.integers, [&](int8_t q) { return within_limit(q, entry.limit); });
  if (index < tensor.integers.size()) {
    return Error{
        Errc::kData, where,
        fmt::format("integer {} at {} exceeds the limit {}", int{tensor.integers[index]}, index, int{entry.limit})};
  }
  index = first_bad(tensor.indices, [&](uint8_t i) { return i < entry.extra; });
  if (index < tensor.indices.size()) {
    return Error{Errc::kData, where,
                 fmt::format("index {} at {} exceeds its codebook of {}", tensor.indices[index], index, entry.extra)};
  }
  index = first_bad(tensor.half_bits, rows ? valid_scale : finite_half);
  if (index < halves) {
    return Error{Errc::kData, where,
                 fmt::format("{} {} is not a usable binary16 number", rows ? "scale" : "value", index)};
  }
  index = first_bad(tensor.floats, finite);
  if (index < tensor.floats.size()) return Error{Errc::kData, where, fmt::format("value {} is not finite", index)};
  return {};
}

}  // namespace

Result<std::vector<std::byte>> write_container(std::span<const PackedTensor> tensors) {
  FAIRWAY_CHECK(tensors.size() <= std::numeric_limits<uint32_t>::max());
  std::vector<const PackedTensor*> sorted;
  uint64_t size = kHeaderBytes;
  for (const PackedTensor& tensor : tensors) {
    FAIRWAY_TRY(check_packed(tensor));
    size += table_bytes(tensor.entry) + section_bytes(tensor.entry).total();
    sorted.push_back(&tensor);
  }
  // std::string compares bytes as unsigned, so this is the byte order of FORMAT.md.
  std::sort(sorted.begin(), sorted.end(),
            [](const PackedTensor* a, const PackedTensor* b) { return a->entry.spec.name < b->entry.spec.name; });
  for (size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i - 1]->entry.spec.name == sorted[i]->entry.spec.name) {
      return Error{Errc::kData, printable_name(sorted[i]->entry.spec.name), "two tensors have this name"};
    }
  }
  std::vector<std::byte> out;
  out.reserve(size);
  append(out, kMagic, sizeof kMagic);
  append32(out, kContainerVersion);
  append32(out, static_cast<uint32_t>(sorted.size()));
  for (const PackedTensor* tensor : sorted) append_entry(out, tensor->entry);
  for (const PackedTensor* tensor : sorted) {
    append(out, tensor->integers.data(), tensor->integers.size());
    append(out, tensor->indices.data(), tensor->indices.size());
  }
  for (const PackedTensor* tensor : sorted) {
    if (!halves_are_scales(tensor->entry)) continue;
    for (uint16_t bits : tensor->half_bits) append16(out, bits);
  }
  for (const PackedTensor* tensor : sorted) {
    if (halves_are_scales(tensor->entry)) continue;
    for (uint16_t bits : tensor->half_bits) append16(out, bits);
    for (float value : tensor->floats) append32(out, num::bits_of(value));
  }
  FAIRWAY_CHECK(out.size() == size);
  return out;
}

}  // namespace fairway::quant
