/// The upstream artifacts: what the published scripts write, as named tensors again.
///
///   per row      {"__quant_format__": "int8_clean_per_row_v1", "quantized", "scales", "dtypes", "passthrough", and
///                optionally "qmeta", "passthrough_orig_dtypes"}: baseline, PRs 65, 212, 635
///   by category  {"w": {name | name.q | name.scale: tensor}, "m": {name: kind}}: PRs 287, 374, 414, 549, 1019
///   plain        {name: tensor}: a saved state dict
///
/// Restored: an integer times its row's scale (or the tensor's), in binary32, rounded to the original dtype where the
/// artifact names it; other values as stored, rounded likewise.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/quant/tensor.h"

namespace fairway::quant::upstream {

/// Whether these bytes begin like a zip archive.
bool is_archive(std::span<const std::byte> bytes);

/// The tensors, by name. At most `max_elements` in all. Errors (kData): as TorchArchive::open, or a dict of another
/// form, naming the key; a dtype that is no parameter's; a value that is a NaN or infinite.
Result<std::vector<NamedTensor>> read_artifact(std::span<const std::byte> bytes, uint64_t max_elements,
                                               const std::string& where);

}  // namespace fairway::quant::upstream
