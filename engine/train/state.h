/// The training state: what a commitment hashes, a checkpoint stores and a resumed run restores.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/base/sha256.h"
#include "engine/model/gpt.h"
#include "engine/optim/optimizer.h"

namespace fairway::train {

/// A commitment to the whole state after `step` optimizer steps.
struct Commitment {
  int64_t step = 0;
  Digest root{};
  bool operator==(const Commitment&) const = default;
};

/// Everything of a run that is not a tensor.
struct Progress {
  uint64_t seed = 0;
  int64_t completed_steps = 0;
  int64_t elapsed_ms = 0;            ///< training time so far; informative, except that wallclock schedules read it
  std::vector<double> multipliers;   ///< the learning-rate multiplier of every completed step (N9)
  std::vector<Commitment> commitments;
};

/// Merkle root (RFC 6962 shape) over the state. Leaf 0 is the text "fairway-state-1\n<completed steps>\n" followed by
/// "<name> <count>\n" per tensor; then every tensor in that order, binary32 little-endian, in pieces of 1 MiB, the last of a
/// tensor shorter. Tensors: parameters in registration order, then Optimizer::state().
Digest state_root(model::Gpt& model, optim::Optimizer& optimizer, int64_t completed_steps);

/// Writes model, optimizer and progress to `path`, atomically. Layout: "FWSTATE1", u64 header size, header (JSON: config, seed,
/// step, elapsed, commitments, tensor names and counts), multipliers (binary64), tensors (binary32) in the order of
/// state_root, SHA-256 of everything before it. Little-endian.
Status write_state(const std::string& path, const Digest& config_sha256, model::Gpt& model, optim::Optimizer& optimizer,
                   const Progress& progress);

/// Restores what write_state wrote. Errors (kData): damaged, or of another config; nothing is changed then.
Result<Progress> read_state(const std::string& path, const Digest& config_sha256, uint64_t seed, model::Gpt& model,
                            optim::Optimizer& optimizer);

}  // namespace fairway::train
