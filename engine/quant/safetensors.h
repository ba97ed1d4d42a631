/// safetensors files: weights in and out, exchangeable with PyTorch users.
///
/// Format: u64 little-endian header length N; N bytes of JSON, `{"__metadata__": {string: string}, name: {"dtype",
/// "shape", "data_offsets": [begin, end]}, ...}`, padded with spaces; then the data, little-endian, row-major, offsets
/// counted from the end of the header. Source: the format description of the safetensors project.
///
/// The reader is strict: header of at most 100 MB that starts with `{`; no unknown, missing or repeated key; dtype F32,
/// BF16 or F16; the tensors cover the data without gap or overlap; nothing follows. Infinities and NaNs are passed on:
/// an exchange file is not a submission, and whoever quantises or runs the weights refuses them by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/quant/tensor.h"

namespace fairway::quant {

constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;

struct Safetensors {
  std::vector<NamedTensor> tensors;             ///< sorted by name; values widened to binary32, spec.format as stored
  std::map<std::string, std::string> metadata;  ///< empty if the file has none
};

/// Errors (kData): anything the file comment forbids; where = `where`, or "<where> tensor <name>".
Result<Safetensors> read_safetensors(std::span<const std::byte> bytes, const std::string& where);

/// The file's bytes. Tensors are laid out as the published writer does it, F32 before BF16 before F16 and by name
/// within each, header entries in the same order, header padded with spaces to a multiple of 8, so the data is aligned.
/// Values are rounded to spec.format. Errors (kData): repeated or unusable names, text that is not UTF-8, a header too
/// long.
Result<std::vector<std::byte>> write_safetensors(std::span<const TensorView> tensors,
                                                 const std::map<std::string, std::string>& metadata);

}  // namespace fairway::quant
