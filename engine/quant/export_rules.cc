#include "engine/quant/export_rules.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/check.h"
#include "kernels/num/half.h"

namespace fairway::quant {
namespace {

// The list of the baseline and of PR 65. Its plural forms ("skip_weights") contain these.
const std::vector<std::string>& control_patterns() {
  static const std::vector<std::string> patterns = {"attn_scale", "mlp_scale", "resid_mix", "q_gain", "skip_weight"};
  return patterns;
}

bool contains(const std::string& name, const std::string& part) { return name.find(part) != std::string::npos; }

}  // namespace

ExportScheme scheme_int8() {
  ExportScheme scheme;
  scheme.name = "int8";
  scheme.control_patterns = control_patterns();
  return scheme;
}

ExportScheme scheme_mixed_int6() {
  ExportScheme scheme = scheme_int8();
  scheme.name = "mixed_int6";
  scheme.limit_rules = {{"tok_emb", kInt8Limit}};
  scheme.default_limit = kInt6Limit;
  return scheme;
}

Result<ExportScheme> scheme_by_name(const std::string& name) {
  for (const ExportScheme& scheme : {scheme_int8(), scheme_mixed_int6()}) {
    if (scheme.name == name) return scheme;
  }
  return Error{Errc::kUsage, printable_name(name), "unknown export scheme; use int8 or mixed_int6"};
}

Result<ContainerEntry> plan_tensor(const TensorSpec& spec, const ExportScheme& scheme) {
  std::string where = printable_name(spec.name);
  std::optional<uint64_t> count = element_count(spec.shape);
  if (!count) return Error{Errc::kData, where, fmt::format("shape {} is not usable", shape_text(spec.shape))};
  ContainerEntry entry{spec, Storage::kFloat16, 0};
  if (*count <= scheme.small_tensor_max_elements) {
    bool control = std::any_of(scheme.control_patterns.begin(), scheme.control_patterns.end(),
                               [&](const std::string& pattern) { return contains(spec.name, pattern); });
    if (control) entry.storage = Storage::kFloat32;
  } else if (spec.shape.size() == 2 && spec.shape[1] <= kMaxRowLength) {
    auto rule = std::find_if(scheme.limit_rules.begin(), scheme.limit_rules.end(),
                             [&](const LimitRule& candidate) { return contains(spec.name, candidate.name_part); });
    entry.storage = Storage::kInt8Rows;
    entry.limit = static_cast<uint8_t>(rule != scheme.limit_rules.end() ? rule->limit : scheme.default_limit);
  } else {
    return Error{
        Errc::kData, where,
        fmt::format("shape {} has more than {} elements but is not a matrix with rows of at most {}; export it "
                    "as matrices",
                    shape_text(spec.shape), scheme.small_tensor_max_elements, kMaxRowLength)};
  }
  FAIRWAY_TRY(check_entry(entry));
  return entry;
}

Result<std::vector<ContainerEntry>> plan_export(std::span<const TensorSpec> specs, const ExportScheme& scheme) {
  std::vector<ContainerEntry> plan;
  plan.reserve(specs.size());
  for (const TensorSpec& spec : specs) {
    FAIRWAY_ASSIGN(ContainerEntry entry, plan_tensor(spec, scheme));
    plan.push_back(std::move(entry));
  }
  return plan;
}

Result<PackedTensor> pack_tensor(const ContainerEntry& entry, std::span<const float> values, float quantile) {
  FAIRWAY_CHECK(element_count(entry.spec.shape) == values.size());
  std::string where = printable_name(entry.spec.name);
  PackedTensor packed;
  packed.entry = entry;
  if (entry.storage == Storage::kInt8Rows) {
    FAIRWAY_ASSIGN(QuantisedMatrix matrix,
                   quantise_rows(where, values, entry.spec.shape[0], entry.spec.shape[1], entry.limit, quantile));
    packed.integers = std::move(matrix.integers);
    packed.half_bits = std::move(matrix.scale_bits);
    return packed;
  }
  if (int64_t bad = first_non_finite(values); bad >= 0) {
    return Error{Errc::kData, where, fmt::format("element {} is not finite; it cannot be exported", bad)};
  }
  if (entry.storage == Storage::kFloat32) {
    packed.floats.assign(values.begin(), values.end());
    return packed;
  }
  packed.half_bits.reserve(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t bits = num::to_fp16_bits(values[i]);
    if (num::magnitude_bits(num::from_fp16_bits(bits)) >= num::kInfinityBits) {
      return Error{Errc::kData, where, fmt::format("element {} is {}, beyond binary16 (65,504)", i, values[i])};
    }
    packed.half_bits.push_back(bits);
  }
  return packed;
}

Result<std::vector<PackedTensor>> export_tensors(std::span<const TensorView> tensors, const ExportScheme& scheme) {
  std::vector<PackedTensor> packed;
  packed.reserve(tensors.size());
  for (const TensorView& tensor : tensors) {
    FAIRWAY_ASSIGN(ContainerEntry entry, plan_tensor(tensor.spec, scheme));
    FAIRWAY_ASSIGN(PackedTensor one, pack_tensor(entry, tensor.values, scheme.quantile));
    packed.push_back(std::move(one));
  }
  return packed;
}

}  // namespace fairway::quant
