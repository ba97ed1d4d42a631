#include "engine/quant/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "engine/base/check.h"
#include "engine/base/endian.h"
#include "kernels/num/half.h"

namespace fairway::quant {
namespace {

using Json = nlohmann::json;

constexpr size_t kLengthBytes = 8;
constexpr char kMetadataKey[] = "__metadata__";

struct HeaderTensor {
  TensorSpec spec;
  std::vector<uint64_t> offsets;
};

std::optional<FloatFormat> format_by_name(const std::string& name) {
  for (FloatFormat format : {FloatFormat::kF32, FloatFormat::kBf16, FloatFormat::kF16}) {
    if (name == float_format_name(format)) return format;
  }
  return std::nullopt;
}

// Receives the header's JSON event by event. No document is built, so nesting and size cost nothing: an event that does
// not fit the one permitted structure ends the parse. Method names and signatures are those of nlohmann's SAX
// interface.
class HeaderHandler {
 public:
  using number_integer_t = Json::number_integer_t;
  using number_unsigned_t = Json::number_unsigned_t;
  using number_float_t = Json::number_float_t;
  using string_t = Json::string_t;
  using binary_t = Json::binary_t;

  bool null() { return unexpected("null"); }
  bool boolean(bool) { return unexpected("a boolean"); }
  bool number_integer(number_integer_t) { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) { return unexpected("a number that is not an integer"); }
  bool binary(binary_t&) { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) {
    if (place_ != Place::kArray) return unexpected("a number");
    HeaderTensor& tensor = tensors_.back();
    if (field_ == "shape") {
      if (value > static_cast<uint64_t>(INT64_MAX)) return unexpected("a dimension beyond 2^63");
      if (tensor.spec.shape.size() >= kMaxShape) return unexpected("more dimensions than any tensor has");
      tensor.spec.shape.push_back(static_cast<int64_t>(value));
    } else {
      if (tensor.offsets.size() >= 2) return unexpected("a third data offset");
      tensor.offsets.push_back(value);
    }
    return true;
  }

  bool string(string_t& value) {
    if (place_ == Place::kMetadata) {
      metadata_[field_] = std::move(value);
      return true;
    }
    if (place_ != Place::kTensor || field_ != "dtype") return unexpected("a string");
    std::optional<FloatFormat> format = format_by_name(value);
    if (!format) return fail(fmt::format("dtype {} is not supported; use F32, BF16 or F16", printable_name(value)));
    tensors_.back().spec.format = *format;
    return true;
  }

  bool start_object(size_t) {
    if (place_ == Place::kStart) {
      place_ = Place::kTop;
    } else if (place_ == Place::kTop) {
      place_ = name_ == kMetadataKey ? Place::kMetadata : Place::kTensor;
      if (place_ == Place::kTensor) tensors_.push_back({{name_, {}, FloatFormat::kF32}, {}});
      fields_.clear();
    } else {
      return unexpected("an object");
    }
    return true;
  }

  bool key(string_t& value) {
    if (place_ == Place::kTop) {
      if (!names_.insert(value).second) return fail(fmt::format("the name {} occurs twice", printable_name(value)));
      name_ = std::move(value);
      return true;
    }
    if (place_ == Place::kTensor && value != "dtype" && value != "shape" && value != "data_offsets") {
      return fail(fmt::format("unknown key {} in tensor {}", printable_name(value), printable_name(name_)));
    }
    if (!fields_.insert(value).second) {
      return fail(fmt::format("the key {} occurs twice in {}", printable_name(value), printable_name(name_)));
    }
    field_ = std::move(value);
    return true;
  }

  bool end_object() {
    if (place_ == Place::kTop) {
      place_ = Place::kEnd;
      return true;
    }
    if (place_ == Place::kTensor && fields_.size() != 3) {
      return fail(fmt::format("tensor {} lacks one of dtype, shape and data_offsets", printable_name(name_)));
    }
    place_ = Place::kTop;
    return true;
  }

  bool start_array(size_t) {
    if (place_ != Place::kTensor || field_ == "dtype") return unexpected("an array");
    place_ = Place::kArray;
    return true;
  }
  bool end_array() {
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    return fail(fmt::format("the header is not valid JSON at byte {}", position));
  }

  const std::string& fault() const { return fault_; }
  std::vector<HeaderTensor>& tensors() { return tensors_; }
  std::map<std::string, std::string>& metadata() { return metadata_; }

 private:
  enum class Place { kStart, kTop, kMetadata, kTensor, kArray, kEnd };
  static constexpr size_t kMaxShape = 64;

  bool fail(std::string what) {
    if (fault_.empty()) fault_ = std::move(what);
    return false;
  }
  bool unexpected(const char* what) {
    return fail(name_.empty() ? fmt::format("unexpected {} in the header", what)
                              : fmt::format("unexpected {} in the header at {}", what, printable_name(name_)));
  }

  Place place_ = Place::kStart;
  std::string name_;   // the tensor (or __metadata__) being read
  std::string field_;  // the key being read inside it
  std::set<std::string> names_;
  std::set<std::string> fields_;
  std::vector<HeaderTensor> tensors_;
  std::map<std::string, std::string> metadata_;
  std::string fault_;
};

// Checks that the tensors, in the order of their offsets, cover [0, data_size) exactly.
Status check_layout(std::vector<HeaderTensor>& tensors, uint64_t data_size, const std::string& where) {
  std::sort(tensors.begin(), tensors.end(), [](const HeaderTensor& a, const HeaderTensor& b) {
    return a.offsets != b.offsets ? a.offsets < b.offsets : a.spec.name < b.spec.name;
  });
  uint64_t position = 0;
  for (const HeaderTensor& tensor : tensors) {
    auto fault = [&](std::string what) {
      return Error{Errc::kData, fmt::format("{} tensor {}", where, printable_name(tensor.spec.name)), std::move(what)};
    };
    if (tensor.offsets.size() != 2) return fault("data_offsets must hold two numbers");
    uint64_t begin = tensor.offsets[0];
    uint64_t end = tensor.offsets[1];
    if (begin > end || end > data_size) {
      return fault(fmt::format("data_offsets [{},{}] lie outside the {} bytes of data", begin, end, data_size));
    }
    if (begin != position) {
      return fault(fmt::format("data begins at {} where {} was due: a gap or an overlap", begin, position));
    }
    std::optional<uint64_t> count = element_count(tensor.spec.shape);
    // end - begin is below 2^62 because it is within the file, so an equal product cannot have overflowed.
    if (!count || (end - begin) % float_format_size_bytes(tensor.spec.format) != 0 ||
        *count != (end - begin) / float_format_size_bytes(tensor.spec.format)) {
      return fault(fmt::format("shape {} of {} does not fit {} bytes of data", shape_text(tensor.spec.shape),
                               float_format_name(tensor.spec.format), end - begin));
    }
    position = end;
  }
  if (position != data_size) {
    return Error{Errc::kData, where, fmt::format("{} bytes of data belong to no tensor", data_size - position)};
  }
  return {};
}

std::vector<float> load_values(std::span<const std::byte> data, FloatFormat format) {
  std::vector<float> values(data.size() / float_format_size_bytes(format));
  for (size_t i = 0; i < values.size(); ++i) {
    switch (format) {
      case FloatFormat::kF32:
        values[i] = load_le_f32(data.data() + 4 * i);
        break;
      case FloatFormat::kBf16:
        values[i] = num::from_bf16_bits(load_le16(data.data() + 2 * i));
        break;
      case FloatFormat::kF16:
        values[i] = num::from_fp16_bits(load_le16(data.data() + 2 * i));
        break;
    }
  }
  return values;
}

void store_values(std::byte* out, std::span<const float> values, FloatFormat format) {
  for (size_t i = 0; i < values.size(); ++i) {
    switch (format) {
      case FloatFormat::kF32:
        store_le32(out + 4 * i, num::bits_of(values[i]));
        break;
      case FloatFormat::kBf16:
        store_le16(out + 2 * i, num::to_bf16_bits(values[i]));
        break;
      case FloatFormat::kF16:
        store_le16(out + 2 * i, num::to_fp16_bits(values[i]));
        break;
    }
  }
}

// Place of a format in the published writer's layout: descending in its list of types.
int layout_rank(FloatFormat format) { return format == FloatFormat::kF32 ? 0 : format == FloatFormat::kBf16 ? 1 : 2; }

}  // namespace

Result<Safetensors> read_safetensors(std::span<const std::byte> bytes, const std::string& where) {
  auto fault = [&](std::string what) { return Error{Errc::kData, where, std::move(what)}; };
  if (bytes.size() < kLengthBytes) return fault("truncated: a safetensors file begins with 8 bytes of header length");
  uint64_t header_size = load_le64(bytes.data());
  if (header_size > kMaxSafetensorsHeaderBytes) {
    return fault(fmt::format("the header claims {} bytes, more than {}", header_size, kMaxSafetensorsHeaderBytes));
  }
  if (header_size > bytes.size() - kLengthBytes) {
    return fault(
        fmt::format("truncated: the header claims {} bytes, {} follow", header_size, bytes.size() - kLengthBytes));
  }
  const char* begin = reinterpret_cast<const char*>(bytes.data() + kLengthBytes);
  const char* end = begin + header_size;
  while (end != begin && end[-1] == ' ') --end;
  if (begin == end || *begin != '{') return fault("the header does not start with {");
  // The parser takes a zero byte for the end of its input; JSON text has none.
  if (end[-1] != '}' || std::find(begin, end, '\0') != end) return fault("the header is not one JSON object");
  HeaderHandler header;
  if (!Json::sax_parse(begin, end, &header)) return fault(header.fault());
  std::span<const std::byte> data = bytes.subspan(kLengthBytes + header_size);
  FAIRWAY_TRY(check_layout(header.tensors(), data.size(), where));
  Safetensors file;
  file.metadata = std::move(header.metadata());
  file.tensors.reserve(header.tensors().size());
  for (HeaderTensor& tensor : header.tensors()) {
    std::span<const std::byte> own = data.subspan(tensor.offsets[0], tensor.offsets[1] - tensor.offsets[0]);
    std::vector<float> values = load_values(own, tensor.spec.format);
    file.tensors.push_back({std::move(tensor.spec), std::move(values)});
  }
  std::sort(file.tensors.begin(), file.tensors.end(),
            [](const NamedTensor& a, const NamedTensor& b) { return a.spec.name < b.spec.name; });
  return file;
}

Result<std::vector<std::byte>> write_safetensors(std::span<const TensorView> tensors,
                                                 const std::map<std::string, std::string>& metadata) {
  std::vector<const TensorView*> order;
  std::set<std::string> names;
  for (const TensorView& tensor : tensors) {
    FAIRWAY_CHECK(element_count(tensor.spec.shape) == tensor.values.size());
    std::string where = printable_name(tensor.spec.name);
    if (tensor.spec.name == kMetadataKey) return Error{Errc::kData, where, "this name is reserved by the format"};
    if (!names.insert(tensor.spec.name).second) return Error{Errc::kData, where, "two tensors have this name"};
    order.push_back(&tensor);
  }
  std::sort(order.begin(), order.end(), [](const TensorView* a, const TensorView* b) {
    int rank_a = layout_rank(a->spec.format);
    int rank_b = layout_rank(b->spec.format);
    return rank_a != rank_b ? rank_a < rank_b : a->spec.name < b->spec.name;
  });
  std::string header = "{";
  uint64_t data_size = 0;
  try {
    if (!metadata.empty()) header += fmt::format("\"{}\":{},", kMetadataKey, Json(metadata).dump());
    for (const TensorView* tensor : order) {
      uint64_t size = tensor->values.size() * float_format_size_bytes(tensor->spec.format);
      header += fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}},",
                            Json(tensor->spec.name).dump(), float_format_name(tensor->spec.format),
                            shape_text(tensor->spec.shape), data_size, data_size + size);
      data_size += size;
    }
  } catch (const Json::exception&) {
    return Error{Errc::kData, "safetensors header", "a name or a metadata text is not UTF-8"};
  }
  if (header.back() == ',') header.pop_back();
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  if (header.size() > kMaxSafetensorsHeaderBytes) {
    return Error{Errc::kData, "safetensors header",
                 fmt::format("{} bytes are more than readers accept", header.size())};
  }
  std::vector<std::byte> out(kLengthBytes + header.size() + data_size);
  store_le64(out.data(), header.size());
  std::memcpy(out.data() + kLengthBytes, header.data(), header.size());
  std::byte* position = out.data() + kLengthBytes + header.size();
  for (const TensorView* tensor : order) {
    store_values(position, tensor->values, tensor->spec.format);
    position += tensor->values.size() * float_format_size_bytes(tensor->spec.format);
  }
  return out;
}

}  // namespace fairway::quant
