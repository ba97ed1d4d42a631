/// A gated delta layer in place of a block's attention (arXiv 2412.06464), as operations on the tape.
///
///   q, k, v = short convolution of (q, k, v)_proj n;  q, k = unit vectors per head, q / sqrt(key dim)
///   o = delta rule of q, k, v with decay and beta from a_proj n, b_proj n;  out = o_proj((rms(o) w) silu(g_proj n))
#pragma once

#include <string>

#include "engine/model/layout.h"
#include "engine/model/tape.h"

namespace fairway::model {

/// Appends the layer `name` ("blocks.3.attn") with input n; the id of its output. Keeps a reference to `config`.
ValueId add_delta_layer(Tape& tape, const ModelConfig& config, const DeltaParameters& parameters,
                        const std::string& name, ValueId n);

}  // namespace fairway::model
