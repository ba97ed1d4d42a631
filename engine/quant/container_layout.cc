#include "engine/quant/container_layout.h"

#include <fmt/format.h>

#include <limits>

#include "engine/base/check.h"
#include "engine/quant/row_quantiser.h"

namespace fairway::quant {
namespace layout {
namespace {

constexpr uint64_t kMaxElements = uint64_t{1} << 40;

}  // namespace

uint64_t entry_elements(const ContainerEntry& entry) {
  std::optional<uint64_t> count = element_count(entry.spec.shape);
  FAIRWAY_CHECK(count.has_value());
  return *count;
}

bool has_extra(const ContainerEntry& entry) {
  return entry.storage == Storage::kCodebook || entry.storage == Storage::kLowRank;
}

uint64_t table_bytes(const ContainerEntry& entry) {
  return kFixedEntryBytes + entry.spec.name.size() + 4 * entry.spec.shape.size() + (has_extra(entry) ? 4 : 0);
}

SectionBytes section_bytes(const ContainerEntry& entry) {
  uint64_t count = entry_elements(entry);
  switch (entry.storage) {
    case Storage::kInt8Rows:
      return {count, 2 * static_cast<uint64_t>(entry.spec.shape[0]), 0};
    case Storage::kFloat32:
      return {0, 0, 4 * count};
    case Storage::kFloat16:
      return {0, 0, 2 * count};
    case Storage::kCodebook:
      return {count, 2 * uint64_t{entry.extra}, 0};
    case Storage::kLowRank:
      return {0, 0, 2 * uint64_t{entry.extra} * static_cast<uint64_t>(entry.spec.shape[0] + entry.spec.shape[1])};
  }
  FAIRWAY_CHECK(false);
}

bool halves_are_scales(const ContainerEntry& entry) {
  return entry.storage == Storage::kInt8Rows || entry.storage == Storage::kCodebook;
}

size_t half_count(const ContainerEntry& entry) {
  SectionBytes size = section_bytes(entry);
  return entry.storage == Storage::kFloat32 ? 0 : (size.scales + size.passthrough) / 2;
}

std::string entry_fault(const ContainerEntry& entry) {
  const TensorSpec& spec = entry.spec;
  if (spec.name.empty() || spec.name.size() > kMaxNameBytes) {
    return fmt::format("a tensor's name must have 1 to {} bytes", kMaxNameBytes);
  }
  if (std::any_of(spec.name.begin(), spec.name.end(), [](char c) { return c < 0x21 || c > 0x7e; })) {
    return "a tensor's name must be printable ASCII without spaces";
  }
  if (spec.shape.size() > kMaxDimensions) return fmt::format("more than {} dimensions", kMaxDimensions);
  for (int64_t dimension : spec.shape) {
    if (dimension < 0 || dimension > std::numeric_limits<uint32_t>::max()) {
      return fmt::format("dimension {} is outside 0 .. 2^32 - 1", dimension);
    }
  }
  std::optional<uint64_t> count = element_count(spec.shape);
  if (!count || *count > kMaxElements) return fmt::format("shape {} has too many elements", shape_text(spec.shape));
  if (spec.format != FloatFormat::kF32 && spec.format != FloatFormat::kBf16 && spec.format != FloatFormat::kF16) {
    return fmt::format("unknown original format {}", static_cast<int>(spec.format));
  }
  if (entry.storage < Storage::kInt8Rows || entry.storage > Storage::kLowRank) {
    return fmt::format("unknown storage {}", static_cast<int>(entry.storage));
  }
  if (!has_extra(entry) && entry.extra != 0) return fmt::format("{} on a storage without it", entry.extra);
  if (entry.storage != Storage::kInt8Rows && entry.limit != 0) {
    return fmt::format("limit {} on a tensor without integers", int{entry.limit});
  }
  switch (entry.storage) {
    case Storage::kInt8Rows:
      if (spec.shape.size() != 2 || *count == 0) return "int8 rows need a matrix that is not empty";
      if (entry.limit < 1 || entry.limit > kInt8Limit) {
        return fmt::format("limit {} is outside 1 .. 127", int{entry.limit});
      }
      return {};
    case Storage::kFloat32:
    case Storage::kFloat16:
      return {};
    case Storage::kCodebook:
      if (spec.shape.size() != 2 || *count == 0) return "a codebook needs a matrix that is not empty";
      if (entry.extra < 1 || entry.extra > kMaxCodebookEntries) {
        return fmt::format("a codebook of {} values; 1 to {} are possible", entry.extra, kMaxCodebookEntries);
      }
      return {};
    case Storage::kLowRank:
      if (spec.shape.size() != 2 || *count == 0) return "factors need a matrix that is not empty";
      if (entry.extra < 1 || entry.extra > std::min(spec.shape[0], spec.shape[1])) {
        return fmt::format("rank {} is outside 1 to the smaller side of {}", entry.extra, shape_text(spec.shape));
      }
      return {};
  }
  FAIRWAY_CHECK(false);
}

}  // namespace layout

const char* storage_name(Storage storage) {
  switch (storage) {
    case Storage::kInt8Rows:
      return "int8_rows";
    case Storage::kFloat32:
      return "binary32";
    case Storage::kFloat16:
      return "binary16";
    case Storage::kCodebook:
      return "codebook";
    case Storage::kLowRank:
      return "low_rank";
  }
  FAIRWAY_CHECK(false);
}

Status check_entry(const ContainerEntry& entry) {
  std::string fault = layout::entry_fault(entry);
  if (fault.empty()) return {};
  return Error{Errc::kData, printable_name(entry.spec.name), fault};
}

uint64_t payload_size_bytes(std::span<const ContainerEntry> entries) {
  uint64_t total = 0;
  for (const ContainerEntry& entry : entries) total += layout::section_bytes(entry).total();
  return total;
}

uint64_t container_size_bytes(std::span<const ContainerEntry> entries) {
  uint64_t total = layout::kHeaderBytes + payload_size_bytes(entries);
  for (const ContainerEntry& entry : entries) total += layout::table_bytes(entry);
  return total;
}

}  // namespace fairway::quant
