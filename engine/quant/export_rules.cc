#include "engine/quant/export_rules.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/check.h"
#include "engine/base/interrupt.h"
#include "engine/base/progress.h"
#include "engine/quant/codebook.h"
#include "engine/quant/low_rank.h"
#include "kernels/num/half.h"

namespace fairway::quant {
namespace {

constexpr const char* kEmbedding = "tok_emb.weight";

bool contains_any(const std::string& name, const std::vector<std::string>& parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [&](const std::string& part) { return name.find(part) != std::string::npos; });
}

const MatrixRule& rule_of(const ExportScheme& scheme, const std::string& name) {
  for (const MatrixRule& rule : scheme.rules) {
    if (rule.name_parts.empty() || contains_any(name, rule.name_parts)) return rule;
  }
  FAIRWAY_CHECK(false);
}

// A value as binary16, or the error that names it.
Result<uint16_t> half_of(float x, const std::string& where, size_t index) {
  const uint16_t bits = num::to_fp16_bits(x);
  if (num::magnitude_bits(num::from_fp16_bits(bits)) < num::kInfinityBits) return bits;
  return Error{Errc::kData, where, fmt::format("element {} is {}, beyond binary16 (65,504)", index, x)};
}

Result<std::vector<uint16_t>> halves_of(std::span<const float> values, const std::string& where) {
  std::vector<uint16_t> halves;
  halves.reserve(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    FAIRWAY_ASSIGN(uint16_t bits, half_of(values[i], where, i));
    halves.push_back(bits);
  }
  return halves;
}

// Zeros what pruning removes; nothing for tensors it does not concern.
Result<std::vector<float>> pruned(const TensorView& tensor, const ExportScheme& scheme) {
  std::vector<float> values(tensor.values.begin(), tensor.values.end());
  if (scheme.prune <= 0.0f || tensor.spec.shape.size() < 2 || values.size() < scheme.small_tensor_max_elements) {
    return values;
  }
  const std::string where = printable_name(tensor.spec.name);
  if (values.size() > static_cast<size_t>(kMaxRowLength)) {
    return Error{Errc::kData, where, fmt::format("more than {} elements cannot be pruned", kMaxRowLength)};
  }
  if (first_non_finite(values) >= 0) return Error{Errc::kData, where, "a NaN or an infinity cannot be exported"};
  const float threshold = absolute_quantile(values, scheme.prune);
  for (float& x : values) x = num::absolute(x) > threshold ? x : 0.0f;
  return values;
}

}  // namespace

MatrixRule& ExportScheme::block_rule() {
  return const_cast<MatrixRule&>(static_cast<const ExportScheme*>(this)->block_rule());
}

const MatrixRule& ExportScheme::block_rule() const {
  auto found = std::find_if(rules.begin(), rules.end(), [](const MatrixRule& rule) { return rule.block; });
  FAIRWAY_CHECK(found != rules.end());
  return *found;
}

ExportScheme scheme_int8() {
  ExportScheme scheme;
  scheme.name = "int8";
  // Plural forms ("skip_weights") contain these.
  scheme.control_patterns = {"attn_scale", "mlp_scale", "resid_mix", "q_gain", "skip_weight"};
  scheme.rules = {{{}, kInt8Limit, {}, true}};
  return scheme;
}

ExportScheme scheme_mixed_int6() {
  ExportScheme scheme = scheme_int6();
  scheme.name = "mixed_int6";
  scheme.rules.insert(scheme.rules.begin(), {{"tok_emb"}, kInt8Limit, {}, false});
  return scheme;
}

ExportScheme scheme_int6() {
  ExportScheme scheme = scheme_int8();
  scheme.name = "int6";
  scheme.rules = {{{}, kInt6Limit, {}, true}};
  return scheme;
}

ExportScheme scheme_int6_by_category() {
  ExportScheme scheme = scheme_int8();
  scheme.name = "int6_by_category";
  scheme.control_when_small = false;
  for (const char* pattern : {"smear", "dtg_gate", "ve_layer_scales", "ve_shared.scale", "attn_gate", "vr_lambda"}) {
    scheme.control_patterns.push_back(pattern);
  }
  RowMethod row_max(1.0f);
  row_max.rounded_scale = true;
  scheme.rules = {{{"tok_emb", "lm_head"}, kInt8Limit, {}, false},
                  {{".mlp.", ".attn.", ".proj."}, kInt6Limit, row_max, true},
                  {{}, kInt8Limit, {}, false}};
  return scheme;
}

Result<ExportScheme> scheme_by_name(const std::string& name) {
  for (const ExportScheme& scheme : {scheme_int8(), scheme_mixed_int6(), scheme_int6(), scheme_int6_by_category()}) {
    if (scheme.name == name) return scheme;
  }
  return Error{Errc::kUsage, printable_name(name),
               "unknown export scheme; use int8, mixed_int6, int6 or int6_by_category"};
}

const RowMethod& row_method(const ExportScheme& scheme, const std::string& name) { return rule_of(scheme, name).method; }

bool is_exported(const std::string& name) { return !name.starts_with("mtp_heads."); }

Result<ContainerEntry> plan_tensor(const TensorSpec& spec, const ExportScheme& scheme) {
  std::string where = printable_name(spec.name);
  std::optional<uint64_t> count = element_count(spec.shape);
  if (!count) return Error{Errc::kData, where, fmt::format("shape {} is not usable", shape_text(spec.shape))};
  const bool small = *count <= scheme.small_tensor_max_elements;
  const bool matrix = spec.shape.size() == 2 && spec.shape[1] <= kMaxRowLength;
  ContainerEntry entry{spec, Storage::kFloat16, 0, 0};
  if (scheme.control_when_small == small && contains_any(spec.name, scheme.control_patterns)) {
    entry.storage = Storage::kFloat32;
  } else if (scheme.embed_rank > 0 && spec.name == kEmbedding && matrix) {
    entry.storage = Storage::kLowRank;
    entry.extra = scheme.embed_rank;
  } else if (small || contains_any(spec.name, scheme.fp16_patterns)) {
    entry.storage = Storage::kFloat16;
  } else if (matrix) {
    const MatrixRule& rule = rule_of(scheme, spec.name);
    const bool codebook = rule.block && scheme.codebook_entries > 0;
    entry.storage = codebook ? Storage::kCodebook : Storage::kInt8Rows;
    entry.limit = codebook ? uint8_t{0} : static_cast<uint8_t>(rule.limit);
    entry.extra = codebook ? scheme.codebook_entries : 0;
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

Result<PackedTensor> pack_tensor(const ContainerEntry& entry, std::span<const float> values, const RowMethod& method,
                                 const Hessian* hessian, double damping) {
  FAIRWAY_CHECK(element_count(entry.spec.shape) == values.size());
  std::string where = printable_name(entry.spec.name);
  PackedTensor packed;
  packed.entry = entry;
  if (int64_t bad = first_non_finite(values); bad >= 0) return non_finite(where, values, bad);
  switch (entry.storage) {
    case Storage::kInt8Rows: {
      const int64_t rows = entry.spec.shape[0];
      const int64_t columns = entry.spec.shape[1];
      FAIRWAY_ASSIGN(QuantisedMatrix matrix,
                     hessian == nullptr
                         ? quantise_rows(where, values, rows, columns, entry.limit, method)
                         : quantise_gptq(where, values, rows, columns, entry.limit, method, *hessian, damping));
      packed.integers = std::move(matrix.integers);
      packed.half_bits = std::move(matrix.scale_bits);
      return packed;
    }
    case Storage::kFloat32:
      packed.floats.assign(values.begin(), values.end());
      return packed;
    case Storage::kFloat16: {
      FAIRWAY_ASSIGN(packed.half_bits, halves_of(values, where));
      return packed;
    }
    case Storage::kCodebook: {
      Codebook codebook = make_codebook(values, entry.extra);
      packed.indices = std::move(codebook.indices);
      FAIRWAY_ASSIGN(packed.half_bits, halves_of(codebook.values, where));
      return packed;
    }
    case Storage::kLowRank: {
      LowRank factors = factorise(values, entry.spec.shape[0], entry.spec.shape[1], entry.extra);
      factors.left.insert(factors.left.end(), factors.right.begin(), factors.right.end());
      FAIRWAY_ASSIGN(packed.half_bits, halves_of(factors.left, where));
      return packed;
    }
  }
  FAIRWAY_CHECK(false);
}

Result<std::vector<PackedTensor>> export_tensors(std::span<const TensorView> tensors, const ExportScheme& scheme,
                                                 const std::map<std::string, Hessian>& hessians) {
  std::vector<PackedTensor> packed;
  packed.reserve(tensors.size());
  Progress progress("quantise", tensors.size(), "tensors");
  for (const TensorView& tensor : tensors) {
    if (interrupted()) return Error{Errc::kInterrupted, "", "interrupted while quantising; nothing was written"};
    FAIRWAY_ASSIGN(ContainerEntry entry, plan_tensor(tensor.spec, scheme));
    FAIRWAY_ASSIGN(std::vector<float> values, pruned(tensor, scheme));
    auto hessian = hessians.find(tensor.spec.name);
    FAIRWAY_ASSIGN(PackedTensor one, pack_tensor(entry, values, row_method(scheme, tensor.spec.name),
                                                 hessian == hessians.end() ? nullptr : &hessian->second,
                                                 scheme.gptq_damping));
    packed.push_back(std::move(one));
    progress.update(packed.size());
  }
  return packed;
}

}  // namespace fairway::quant
