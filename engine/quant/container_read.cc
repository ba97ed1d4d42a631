#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "engine/base/check.h"
#include "engine/base/endian.h"
#include "engine/quant/container_layout.h"
#include "engine/quant/low_rank.h"
#include "engine/quant/row_quantiser.h"
#include "kernels/num/half.h"

namespace fairway::quant {

using namespace layout;

namespace {

Error bad(const std::string& where, size_t offset, std::string what) {
  return Error{Errc::kData, fmt::format("{} @ 0x{:x}", where, offset), std::move(what)};
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
