/// Which tensor of a state dict is stored how: an export scheme is data, planning is one function over it.
///
/// Two families of published exporters, tried tensor by tensor in this order ("small": at most 65,536 elements):
///
///   per row (baseline, PRs 65, 212, 635)        by category (PRs 287, 374, 414, 549, 1019)
///   1. small, a control pattern   -> binary32   1. small                     -> binary16
///   2. small                      -> binary16   2. a control pattern         -> binary32
///   3. an fp16 pattern            -> binary16   3. an fp16 pattern           -> binary16
///   4. a matrix: int8 rows by the first rule whose parts the name contains (or a codebook, or two factors)
///   5. anything else is an error (banked weights are exported as the matrices they stack)
///
/// Tensors named "mtp_heads." serve training alone and are in no export. Goal: a new scheme is a new value.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/quant/container.h"
#include "engine/quant/gptq.h"
#include "engine/quant/row_quantiser.h"
#include "engine/quant/tensor.h"

namespace fairway::quant {

/// Matrices whose name contains one of `name_parts` (none: every name) become integers within +-limit.
struct MatrixRule {
  std::vector<std::string> name_parts;
  int32_t limit = kInt8Limit;
  RowMethod method;
  bool block = false;  ///< the matrices of the blocks: what the keys limit, clip, codebook and prune are about
};

struct ExportScheme {
  std::string name;  ///< the value of the config key, "int8"
  uint64_t small_tensor_max_elements = 65536;
  std::vector<std::string> control_patterns;  ///< substrings of names that stay binary32
  bool control_when_small = true;             ///< false: control patterns are asked for large tensors only
  std::vector<std::string> fp16_patterns;     ///< substrings of names of large tensors that stay binary16
  std::vector<MatrixRule> rules;              ///< first match wins; the last one matches every name

  /// Quantile: every element of a large tensor with |x| <= the quantile_{prune} of its |x| becomes 0 first. 0: off.
  float prune = 0.0f;
  uint32_t codebook_entries = 0;  ///< block matrices as indices into so many values, 1 to 256; 0: as int8 rows
  uint32_t embed_rank = 0;        ///< tok_emb.weight as two factors of this rank; 0: as the rules say
  bool gptq = false;              ///< int8 rows with a rounded scale are quantised with error compensation
  double gptq_damping = 0.01;     ///< of the mean of the Hessian's diagonal

  /// The first block rule.
  MatrixRule& block_rule();
  const MatrixRule& block_rule() const;
};

/// Every matrix within +-127: the published baseline.
ExportScheme scheme_int8();
/// Matrices within +-31, the token embedding (names containing "tok_emb") within +-127: PR 65.
ExportScheme scheme_mixed_int6();
/// Every matrix within +-31: PRs 65b, 212 and 635.
ExportScheme scheme_int6();
/// Matrices of attention and MLP within +-31 with a scale that is rounded first, others within +-127: PRs 287 to 1019.
ExportScheme scheme_int6_by_category();
/// The scheme with this name; the error (kUsage) lists the known ones.
Result<ExportScheme> scheme_by_name(const std::string& name);

/// Whether a tensor belongs to an export at all.
bool is_exported(const std::string& name);

/// How the rows of a matrix of this name are quantised, if it is stored as int8 rows.
const RowMethod& row_method(const ExportScheme& scheme, const std::string& name);

/// How one tensor is stored under the scheme. Errors (kData, where = the tensor's name): a large tensor that is not a
/// matrix, rows longer than kMaxRowLength, a shape the container cannot hold, a rank beyond the matrix's.
Result<ContainerEntry> plan_tensor(const TensorSpec& spec, const ExportScheme& scheme);

/// plan_tensor for each, in the order given. Names and shapes alone decide, so a reader can plan from a config.
Result<std::vector<ContainerEntry>> plan_export(std::span<const TensorSpec> specs, const ExportScheme& scheme);

/// Quantises or rounds one tensor as its entry says; `method` is used for int8 rows, with `hessian` if there is one.
/// Errors (kData, where = the tensor's name): a NaN or an infinity, a value or a scale beyond binary16.
Result<PackedTensor> pack_tensor(const ContainerEntry& entry, std::span<const float> values, const RowMethod& method,
                                 const Hessian* hessian = nullptr, double damping = 0.0);

/// plan_export, pruning, then pack_tensor for each: what write_container takes. `hessians` by tensor name, for matrices
/// with a rounded scale only. Own invariant: values fit their shapes.
Result<std::vector<PackedTensor>> export_tensors(std::span<const TensorView> tensors, const ExportScheme& scheme,
                                                 const std::map<std::string, Hessian>& hessians = {});

}  // namespace fairway::quant
