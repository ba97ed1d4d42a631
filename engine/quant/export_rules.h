/// Which tensor of a state dict is stored how: an export scheme is data, planning is one function over it.
///
/// The rules of the published "per row" exporters, tried tensor by tensor in this order:
///   1. at most 65,536 elements and the name contains a control pattern  -> binary32
///   2. at most 65,536 elements                                          -> binary16
///   3. two dimensions                                                   -> int8 rows; Q of the first matching limit
///   rule
///   4. anything else is an error (banked weights: export them unbanked)
/// Goals: a new scheme is a new value of ExportScheme. Non-goal: the exporters that round the scale first or search
/// clips.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/quant/container.h"
#include "engine/quant/row_quantiser.h"
#include "engine/quant/tensor.h"

namespace fairway::quant {

/// Tensors whose name contains `name_part` are quantised to integers within +-limit.
struct LimitRule {
  std::string name_part;
  int32_t limit;
};

struct ExportScheme {
  std::string name;  ///< the value of the config key, "int8"
  uint64_t small_tensor_max_elements = 65536;
  std::vector<std::string> control_patterns;  ///< substrings of names; small tensors that match stay binary32
  std::vector<LimitRule> limit_rules;         ///< first match wins
  int32_t default_limit = kInt8Limit;
  float quantile = kExportQuantile;
};

/// Every matrix within +-127: the published baseline.
ExportScheme scheme_int8();
/// Matrices within +-31, the token embedding (names containing "tok_emb") within +-127: PR 65.
ExportScheme scheme_mixed_int6();
/// The scheme with this name; the error (kUsage) lists the known ones.
Result<ExportScheme> scheme_by_name(const std::string& name);

/// How one tensor is stored under the scheme. Errors (kData, where = the tensor's name): a large tensor that is not a
/// matrix, rows longer than kMaxRowLength, a shape the container cannot hold.
Result<ContainerEntry> plan_tensor(const TensorSpec& spec, const ExportScheme& scheme);

/// plan_tensor for each, in the order given. Names and shapes alone decide, so a reader can plan from a config.
Result<std::vector<ContainerEntry>> plan_export(std::span<const TensorSpec> specs, const ExportScheme& scheme);

/// Quantises or rounds one tensor as its entry says. Errors (kData, where = the tensor's name): a NaN or an infinity, a
/// value or a scale beyond binary16.
Result<PackedTensor> pack_tensor(const ContainerEntry& entry, std::span<const float> values, float quantile);

/// plan_export, then pack_tensor for each: what write_container takes. Own invariant: values fit their shapes.
Result<std::vector<PackedTensor>> export_tensors(std::span<const TensorView> tensors, const ExportScheme& scheme);

}  // namespace fairway::quant
