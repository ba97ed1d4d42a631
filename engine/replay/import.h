/// Weights from outside: safetensors under the upstream names, and the upstream artifacts.
#pragma once

#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/base/sha256.h"
#include "engine/model/gpt.h"
#include "engine/quant/tensor.h"
#include "engine/submission/submission.h"

namespace fairway::replay {

/// Replaces every parameter by the tensor of the same name, rounded to the parameter's format; all must be there with the
/// same shape, finite, and nothing else. Heads that no export holds may be missing. The banks of the parallel-Muon scripts
/// (qo_bank, kv_bank, mlp_up_bank, mlp_down_bank) are unstacked. Errors (kData): name the tensor, and for a shape the key of
/// the config that asks for another. After an error the model is as it was.
Status set_parameters(std::vector<quant::NamedTensor> tensors, const std::string& where, model::Gpt& model);

/// set_parameters from a safetensors file.
Status import_weights(const std::string& path, model::Gpt& model);

/// From an artifact file of this submission, or of an upstream script (quant/upstream/artifact.h) under any of the codecs
/// or none: the content tells. Returns the digest of the container, zeros for an upstream artifact. Errors: as read_artifact and unpack; as quant::upstream::read_artifact and set_parameters.
Result<Digest> load_artifact(const std::string& path, const submission::Submission& s, model::Gpt& model);

}  // namespace fairway::replay
