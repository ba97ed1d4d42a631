#include "engine/quant/container.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "engine/base/check.h"
#include "engine/base/endian.h"
#include "engine/quant/low_rank.h"
#include "engine/quant/row_quantiser.h"
#include "kernels/num/half.h"

namespace fairway::quant {
namespace {

constexpr char kMagic[8] = {'F', 'A', 'I', 'R', 'W', 'A', 'Y', 'Q'};
constexpr size_t kHeaderBytes = 16;
constexpr size_t kFixedEntryBytes = 6;  // name length, storage, limit, format, dimension count
constexpr uint64_t kMaxElements = uint64_t{1} << 40;

Error bad(const std::string& where, size_t offset, std::string what) {
  return Error{Errc::kData, fmt::format("{} @ 0x{:x}", where, offset), std::move(what)};
}

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

// Bytes of one tensor in each of the three sections of a container.
struct SectionBytes {
  uint64_t integers = 0;
  uint64_t scales = 0;
  uint64_t passthrough = 0;
  uint64_t total() const { return integers + scales + passthrough; }
};

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

// Whether binary16 numbers stand in the section of scales.
bool halves_are_scales(const ContainerEntry& entry) {
  return entry.storage == Storage::kInt8Rows || entry.storage == Storage::kCodebook;
}

// Binary16 numbers of one tensor: scales, codebook, factors or values.
size_t half_count(const ContainerEntry& entry) {
  SectionBytes size = section_bytes(entry);
  return entry.storage == Storage::kFloat32 ? 0 : (size.scales + size.passthrough) / 2;
}

// The reason why an entry cannot stand in a container; empty if it can.
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

bool finite_half(uint16_t bits) { return (bits & 0x7c00u) != 0x7c00u; }
bool valid_scale(uint16_t bits) { return finite_half(bits) && (bits & 0x8000u) == 0; }
bool within_limit(int8_t q, uint8_t limit) { return q >= -int{limit} && q <= int{limit}; }
bool finite(float x) { return num::magnitude_bits(x) < num::kInfinityBits; }

// Faults shared by writer and reader, found in a loop over elements: index of the first bad one, or the count.
template <class T, class Good>
size_t first_bad(const std::vector<T>& values, Good good) {
  return static_cast<size_t>(std::find_if_not(values.begin(), values.end(), good) - values.begin());
}

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

// Reads the header table front to back; `position_` never passes the end of the bytes.
class TableReader {
 public:
  TableReader(std::span<const std::byte> bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  Result<std::vector<ContainerEntry>> read() {
    if (bytes_.size() < kHeaderBytes) return bad(where_, bytes_.size(), "truncated: a container has at least 16 bytes");
    if (std::memcmp(bytes_.data(), kMagic, sizeof kMagic) != 0) {
      return bad(where_, 0, "not a container: it does not start with FAIRWAYQ");
    }
    uint32_t version = load_le32(bytes_.data() + 8);
    if (version != kContainerVersion) {
      return bad(
          where_, 8,
          fmt::format("container version {} is unknown; this program reads version {}", version, kContainerVersion));
    }
    uint32_t count = load_le32(bytes_.data() + 12);
    position_ = kHeaderBytes;
    std::vector<ContainerEntry> entries;
    for (uint32_t i = 0; i < count; ++i) {
      size_t start = position_;
      FAIRWAY_ASSIGN(ContainerEntry entry, read_entry());
      if (std::string fault = entry_fault(entry); !fault.empty()) return bad(where_, start, fault);
      if (!entries.empty() && !(entries.back().spec.name < entry.spec.name)) {
        return bad(where_, start,
                   fmt::format("name {} does not follow {} in byte order, or repeats it",
                               printable_name(entry.spec.name), printable_name(entries.back().spec.name)));
      }
      uint64_t size = section_bytes(entry).total();
      if (size > bytes_.size() - payload_) {
        return bad(where_, start,
                   fmt::format("tensor {} needs {} bytes, more than the container has left",
                               printable_name(entry.spec.name), size));
      }
      payload_ += size;
      entries.push_back(std::move(entry));
    }
    if (bytes_.size() - position_ != payload_) {
      return bad(where_, position_,
                 fmt::format("the table is followed by {} bytes instead of {}", bytes_.size() - position_, payload_));
    }
    return entries;
  }

  size_t position() const { return position_; }

 private:
  Error truncated() const { return bad(where_, bytes_.size(), "truncated inside the header table"); }

  Result<ContainerEntry> read_entry() {
    if (bytes_.size() - position_ < 2) return truncated();
    size_t name_size = load_le16(bytes_.data() + position_);
    position_ += 2;
    if (bytes_.size() - position_ < name_size + 4) return truncated();
    ContainerEntry entry;
    entry.spec.name.assign(reinterpret_cast<const char*>(bytes_.data() + position_), name_size);
    position_ += name_size;
    const std::byte* fields = bytes_.data() + position_;
    entry.storage = static_cast<Storage>(fields[0]);
    entry.limit = std::to_integer<uint8_t>(fields[1]);
    entry.spec.format = static_cast<FloatFormat>(fields[2]);
    size_t dimensions = std::to_integer<size_t>(fields[3]);
    position_ += 4;
    if (bytes_.size() - position_ < 4 * dimensions) return truncated();
    for (size_t d = 0; d < dimensions; ++d) {
      entry.spec.shape.push_back(load_le32(bytes_.data() + position_));
      position_ += 4;
    }
    if (has_extra(entry)) {
      if (bytes_.size() - position_ < 4) return truncated();
      entry.extra = load_le32(bytes_.data() + position_);
      position_ += 4;
    }
    return entry;
  }

  std::span<const std::byte> bytes_;
  const std::string& where_;
  size_t position_ = 0;
  uint64_t payload_ = 0;
};

}  // namespace

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
  std::string fault = entry_fault(entry);
  if (fault.empty()) return {};
  return Error{Errc::kData, printable_name(entry.spec.name), fault};
}

uint64_t payload_size_bytes(std::span<const ContainerEntry> entries) {
  uint64_t total = 0;
  for (const ContainerEntry& entry : entries) total += section_bytes(entry).total();
  return total;
}

uint64_t container_size_bytes(std::span<const ContainerEntry> entries) {
  uint64_t total = kHeaderBytes + payload_size_bytes(entries);
  for (const ContainerEntry& entry : entries) total += table_bytes(entry);
  return total;
}

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

Result<std::vector<ContainerEntry>> read_container_table(std::span<const std::byte> bytes, const std::string& where) {
  return TableReader(bytes, where).read();
}

Result<std::vector<PackedTensor>> read_packed(std::span<const std::byte> bytes, const std::string& where) {
  TableReader table(bytes, where);
  FAIRWAY_ASSIGN(std::vector<ContainerEntry> entries, table.read());
  SectionBytes sections;
  for (const ContainerEntry& entry : entries) {
    SectionBytes one = section_bytes(entry);
    sections.integers += one.integers;
    sections.scales += one.scales;
  }
  size_t integers_at = table.position();
  size_t scales_at = integers_at + sections.integers;
  size_t values_at = scales_at + sections.scales;
  std::vector<PackedTensor> tensors;
  tensors.reserve(entries.size());
  for (ContainerEntry& entry : entries) {
    SectionBytes size = section_bytes(entry);
    PackedTensor& tensor = tensors.emplace_back();
    tensor.entry = std::move(entry);
    std::string name = printable_name(tensor.entry.spec.name);
    if (tensor.entry.storage == Storage::kInt8Rows) {
      tensor.integers.resize(size.integers);
      std::memcpy(tensor.integers.data(), bytes.data() + integers_at, size.integers);
      uint8_t limit = tensor.entry.limit;
      size_t index = first_bad(tensor.integers, [&](int8_t q) { return within_limit(q, limit); });
      if (index < tensor.integers.size()) {
        return bad(
            where, integers_at + index,
            fmt::format("integer {} of tensor {} exceeds its limit {}", int{tensor.integers[index]}, name, int{limit}));
      }
    }
    if (tensor.entry.storage == Storage::kCodebook) {
      tensor.indices.resize(size.integers);
      std::memcpy(tensor.indices.data(), bytes.data() + integers_at, size.integers);
      uint32_t entries_in_book = tensor.entry.extra;
      size_t index = first_bad(tensor.indices, [&](uint8_t i) { return i < entries_in_book; });
      if (index < tensor.indices.size()) {
        return bad(where, integers_at + index,
                   fmt::format("index {} of tensor {} exceeds its codebook of {}", tensor.indices[index], name,
                               entries_in_book));
      }
    }
    integers_at += size.integers;
    bool rows = tensor.entry.storage == Storage::kInt8Rows;
    size_t& halves_at = halves_are_scales(tensor.entry) ? scales_at : values_at;
    if (tensor.entry.storage != Storage::kFloat32) {
      tensor.half_bits.resize(half_count(tensor.entry));
      for (size_t i = 0; i < tensor.half_bits.size(); ++i) {
        tensor.half_bits[i] = load_le16(bytes.data() + halves_at + 2 * i);
      }
      size_t index = first_bad(tensor.half_bits, rows ? valid_scale : finite_half);
      if (index < tensor.half_bits.size()) {
        return bad(
            where, halves_at + 2 * index,
            fmt::format("{} {} of tensor {} is not a usable binary16 number", rows ? "scale" : "value", index, name));
      }
      halves_at += 2 * tensor.half_bits.size();
    } else {
      tensor.floats.resize(size.passthrough / 4);
      for (size_t i = 0; i < tensor.floats.size(); ++i)
        tensor.floats[i] = load_le_f32(bytes.data() + values_at + 4 * i);
      size_t index = first_bad(tensor.floats, finite);
      if (index < tensor.floats.size()) {
        return bad(where, values_at + 4 * index, fmt::format("value {} of tensor {} is not finite", index, name));
      }
      values_at += size.passthrough;
    }
  }
  FAIRWAY_CHECK(values_at == bytes.size());
  return tensors;
}

NamedTensor restore_tensor(const PackedTensor& packed) {
  NamedTensor tensor{packed.entry.spec, {}};
  FloatFormat format = packed.entry.spec.format;
  switch (packed.entry.storage) {
    case Storage::kInt8Rows: {
      size_t columns = static_cast<size_t>(packed.entry.spec.shape[1]);
      tensor.values.resize(packed.integers.size());
      for (size_t r = 0; r < packed.half_bits.size(); ++r) {
        for (size_t i = r * columns; i < (r + 1) * columns; ++i) {
          tensor.values[i] = round_to_format(dequantise_element(packed.integers[i], packed.half_bits[r]), format);
        }
      }
      break;
    }
    case Storage::kFloat32:
      tensor.values = packed.floats;
      break;
    case Storage::kFloat16:
      tensor.values.reserve(packed.half_bits.size());
      for (uint16_t bits : packed.half_bits) {
        tensor.values.push_back(round_to_format(num::from_fp16_bits(bits), format));
      }
      break;
    case Storage::kCodebook:
      tensor.values.reserve(packed.indices.size());
      for (uint8_t index : packed.indices) {
        tensor.values.push_back(round_to_format(num::from_fp16_bits(packed.half_bits[index]), format));
      }
      break;
    case Storage::kLowRank: {
      std::vector<float> factors;
      factors.reserve(packed.half_bits.size());
      for (uint16_t bits : packed.half_bits) factors.push_back(num::from_fp16_bits(bits));
      const size_t left = static_cast<size_t>(packed.entry.spec.shape[0]) * packed.entry.extra;
      tensor.values = multiply_factors(std::span(factors).first(left), std::span(factors).subspan(left),
                                       packed.entry.extra);
      for (float& x : tensor.values) x = round_to_format(x, format);
      break;
    }
  }
  return tensor;
}

Result<std::vector<NamedTensor>> read_container(std::span<const std::byte> bytes,
                                                std::span<const ContainerEntry> expected, const std::string& where) {
  for (const ContainerEntry& entry : expected) FAIRWAY_TRY(check_entry(entry));
  uint64_t size = container_size_bytes(expected);
  if (bytes.size() != size) {
    return bad(where, bytes.size(),
               fmt::format("the model's config asks for a container of {} bytes, this one has {}", size, bytes.size()));
  }
  std::vector<size_t> order(expected.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return expected[a].spec.name < expected[b].spec.name; });
  FAIRWAY_ASSIGN(std::vector<PackedTensor> packed, read_packed(bytes, where));
  if (packed.size() != expected.size()) {
    return bad(where, 12,
               fmt::format("{} tensors, but the model's config asks for {}", packed.size(), expected.size()));
  }
  std::vector<NamedTensor> tensors(expected.size());
  for (size_t i = 0; i < packed.size(); ++i) {
    const ContainerEntry& found = packed[i].entry;
    const ContainerEntry& wanted = expected[order[i]];
    if (found != wanted) {
      auto text = [](const ContainerEntry& entry) {
        return fmt::format("{} {} {} storage {} limit {} extra {}", printable_name(entry.spec.name),
                           float_format_name(entry.spec.format), shape_text(entry.spec.shape),
                           static_cast<int>(entry.storage), int{entry.limit}, entry.extra);
      };
      return bad(where, kHeaderBytes,
                 fmt::format("table entry {} is {}, but the model's config asks for {}", i, text(found), text(wanted)));
    }
    NamedTensor& tensor = tensors[order[i]];
    tensor = restore_tensor(packed[i]);
    packed[i] = PackedTensor{};  // Freed as we go, so that integers and values of a whole model are not held together.
    if (first_non_finite(tensor.values) >= 0) {
      return bad(where, kHeaderBytes,
                 fmt::format("tensor {} exceeds its original format {} when it is restored",
                             printable_name(tensor.spec.name), float_format_name(tensor.spec.format)));
    }
  }
  return tensors;
}

}  // namespace fairway::quant
