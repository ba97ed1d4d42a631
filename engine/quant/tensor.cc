#include "engine/quant/tensor.h"

#include <fmt/format.h>

#include "engine/base/check.h"
#include "kernels/num/half.h"

namespace fairway::quant {

const char* float_format_name(FloatFormat format) {
  switch (format) {
    case FloatFormat::kF32:
      return "F32";
    case FloatFormat::kBf16:
      return "BF16";
    case FloatFormat::kF16:
      return "F16";
  }
  FAIRWAY_CHECK(false);
}

uint64_t float_format_size_bytes(FloatFormat format) { return format == FloatFormat::kF32 ? 4 : 2; }

float round_to_format(float x, FloatFormat format) {
  switch (format) {
    case FloatFormat::kF32:
      return x;
    case FloatFormat::kBf16:
      return num::round_to_bf16(x);
    case FloatFormat::kF16:
      return num::from_fp16_bits(num::to_fp16_bits(x));
  }
  FAIRWAY_CHECK(false);
}

std::optional<uint64_t> element_count(std::span<const int64_t> shape) {
  constexpr uint64_t kMost = uint64_t{1} << 62;
  bool empty = false;
  uint64_t product = 1;
  for (int64_t dimension : shape) {
    if (dimension < 0) return std::nullopt;
    if (dimension == 0) {
      empty = true;  // Later dimensions are still checked, so that the answer does not depend on their order.
      continue;
    }
    if (__builtin_mul_overflow(product, static_cast<uint64_t>(dimension), &product) || product > kMost) {
      return std::nullopt;
    }
  }
  return empty ? 0 : product;
}

std::string shape_text(std::span<const int64_t> shape) {
  std::string text;
  for (int64_t dimension : shape) text += fmt::format("{}{}", text.empty() ? "[" : ",", dimension);
  return text.empty() ? "[]" : text + "]";
}

std::string printable_name(const std::string& name) {
  constexpr size_t kMost = 120;
  std::string text;
  for (char c : name) {
    if (text.size() >= kMost) return text + "...";
    if (c >= 0x20 && c < 0x7f && c != '\\') {
      text += c;
    } else {
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return text;
}

}  // namespace fairway::quant
