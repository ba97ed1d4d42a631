/// Second moments of what every matrix multiplies, over calibration sequences: the Hessians of full GPTQ (quant/gptq.h).
///
/// For each sequence a forward pass without gradient; X (tokens, in) is what the matrix sees. C = X^T X is the exact
/// product of NUMERICS.md, 6 (`p4`, tokens as the contraction), rounded to binary32 once; H is the binary64 sum of C over
/// the sequences in their order, divided by their number (N10; NUMERICS.md, 17.7).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/model/gpt.h"
#include "engine/quant/gptq.h"
#include "engine/submission/submission.h"

namespace fairway::replay {

/// One Hessian for every matrix of the model that multiplies something and has `wanted` names. Sequences of equal
/// length, one after the other in `tokens`. Errors: a value that is not finite, by operation; kInterrupted.
Result<std::map<std::string, quant::Hessian>> collect_hessians(model::Gpt& model, std::span<const uint16_t> tokens,
                                                               int64_t sequence_tokens,
                                                               const std::vector<std::string>& wanted);

/// `count` sequences of `length` tokens drawn from the model at temperature 0.8. Token j of sequence i uses
/// u = the first two words (first one low) of Philox block i * length + j of ("calibration", purpose 3), 64 bits:
/// the first token is floor(u * V / 2^64); later ones are the least y for which the integer weights
/// w_k = rint(exp((z_k - max z) * 1.25) * 2^30), k <= y, sum to more than floor(u * sum w / 2^64).
Result<std::vector<uint16_t>> draw_sequences(model::Gpt& model, int64_t count, int64_t length, uint64_t seed);

/// What the submission's [quantization] asks for: nothing without calibration. `train_paths` are read for "train" only:
/// sequence i is the tokens i * calibration_tokens ... of the training stream.
Result<std::map<std::string, quant::Hessian>> calibrate(model::Gpt& model, const submission::Submission& s,
                                                        const std::vector<std::string>& train_paths);

}  // namespace fairway::replay
