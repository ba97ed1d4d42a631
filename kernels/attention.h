/// Causal grouped-query attention (NUMERICS.md, N5a). Query heads h share key/value head floor(h * kv_heads / heads).
#pragma once

#include "kernels/cpu/isa/table.h"

namespace fairway::kernels {

/// out = softmax(q k^T / sqrt(D), keys 0..i of the same sequence) v. head_dim <= 1,024, heads a multiple of kv_heads.
/// row_max and row_units are kept for the backward pass. False if an input is not finite, exceeds 2^100, or a score in base 2
/// exceeds 2^21. Outputs and row statistics of queries before shape.first_query are left undefined.
[[nodiscard]] bool attention_forward(const AttentionForward& a);

/// dq, dk, dv from dout and the forward pass's inputs and row statistics; all three are overwritten. False as above.
[[nodiscard]] bool attention_backward(const AttentionBackward& a);

}  // namespace fairway::kernels
