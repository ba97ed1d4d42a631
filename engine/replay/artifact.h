/// From a model to the artifact file and back.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/base/sha256.h"
#include "engine/model/gpt.h"
#include "engine/quant/codec.h"
#include "engine/quant/gptq.h"
#include "engine/submission/submission.h"

namespace fairway::replay {

/// What an export lost: sum of squares of (value - restored value), over that of the values.
struct ExportError {
  int64_t tensors = 0;
  double squared_error = 0.0, squares = 0.0;
  double relative() const { return squares > 0.0 ? squared_error / squares : 0.0; }
};

/// An exported model.
struct Packed {
  std::vector<std::byte> container;  ///< uncompressed (engine/quant/FORMAT.md); its SHA-256 is the artifact's identity
  std::vector<std::byte> compressed; ///< what is written to the artifact file
  Digest container_sha256{};
  uint64_t payload_bytes = 0;        ///< integers, scales and passthrough values alone
  uint64_t float32_bytes = 0;        ///< the parameters as binary32
  std::map<std::string, ExportError> errors;  ///< by how tensors are stored: "int8_rows", "codebook", "low_rank", ...
};

/// Quantises, packs and compresses; `hessians` are those of calibrate(). Errors: a value that cannot be exported, by
/// tensor; kInterrupted.
Result<Packed> pack(const model::Gpt& model, const submission::Submission& s,
                    const std::map<std::string, quant::Hessian>& hessians = {});

/// Entries every container of this submission has, from names and shapes alone.
Result<std::vector<quant::ContainerEntry>> planned_entries(const model::Gpt& model, const submission::Submission& s);

/// Puts the container's values into the model, and 0 into the parameters that no container holds (multi-token heads): what an
/// evaluation finds, and may train, does not depend on whether the model was trained just now or read from the file. Errors: kData naming the offset, or a tensor that differs from the plan.
Status unpack(std::span<const std::byte> container, const submission::Submission& s, const std::string& where, model::Gpt& model);

/// Decompresses an artifact, refusing anything that does not expand to exactly the planned size. `where` starts errors.
Result<std::vector<std::byte>> decompress_artifact(std::span<const std::byte> compressed, const std::string& where,
                                                   const submission::Submission& s, const model::Gpt& model);

/// Reads and decompresses an artifact file, refusing anything that does not expand to exactly the planned size.
Result<std::vector<std::byte>> read_artifact(const std::string& path, const submission::Submission& s, const model::Gpt& model);

/// Parameters as safetensors bytes under the upstream names, E as BF16, the rest F32.
Result<std::vector<std::byte>> export_weights(const model::Gpt& model, const submission::Submission& s);

/// Name, shape and format of a parameter at the border of the engine.
quant::TensorSpec parameter_spec(const model::Parameter& p);

/// "model.zlib", "model.zst" or "model.xz".
std::string artifact_file_name(const quant::CodecSetting& codec);

}  // namespace fairway::replay
