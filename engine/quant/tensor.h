/// Named tensors at the border of the engine: what exporters, containers and safetensors files exchange.
///
/// Values are always binary32 in memory (kernels/NUMERICS.md, N1); FloatFormat says what the tensor "is", that is, what
/// its values are rounded to whenever they are stored or restored.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace fairway::quant {

/// Numbers are stored in containers (FORMAT.md) and never reused.
enum class FloatFormat : uint8_t { kF32 = 1, kBf16 = 2, kF16 = 3 };

/// "F32", "BF16", "F16": the spelling of the safetensors format.
const char* float_format_name(FloatFormat format);
/// 4 or 2.
uint64_t float_format_size_bytes(FloatFormat format);
/// x rounded to the format (to nearest, ties to even), as binary32.
float round_to_format(float x, FloatFormat format);

/// Name, shape and format; shapes are row-major, last dimension fastest, [] is one value.
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
  FloatFormat format = FloatFormat::kF32;
  bool operator==(const TensorSpec&) const = default;
};

/// A tensor that owns its values; values.size() is the product of the shape.
struct NamedTensor {
  TensorSpec spec;
  std::vector<float> values;
};

/// The same without owning them.
struct TensorView {
  TensorSpec spec;
  std::span<const float> values;
};

/// Product of the dimensions; nothing if a dimension is negative or the product exceeds 2^62.
std::optional<uint64_t> element_count(std::span<const int64_t> shape);

/// "[512,256]"
std::string shape_text(std::span<const int64_t> shape);

/// A name from a file made fit for a message: printable ASCII, everything else as \xNN, at most 120 characters.
std::string printable_name(const std::string& name);

}  // namespace fairway::quant
