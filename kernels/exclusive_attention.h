/// Exclusive self attention (NUMERICS.md, "Exclusive attention"): o (tokens, heads, head_dim), v (tokens, kv_heads, head_dim).
#pragma once

#include <cstdint>

namespace fairway::kernels {

struct ExclusiveShape {
  int64_t tokens, heads, kv_heads, head_dim;
};

/// unit = v / max(|v|, 1e-12) per token and key head; along = dot(o, unit) per token and query head; y = o - along * unit.
/// unit (like v), norm (tokens, kv_heads) and along (tokens, heads) are kept for the backward pass. False if not finite.
[[nodiscard]] bool exclude_value(const ExclusiveShape& shape, const float* o, const float* v, float* unit, float* norm, float* along, float* y);

/// d_o and dv from dy; both are overwritten. The query heads that share a key head meet in an integer sum. False if not finite.
[[nodiscard]] bool exclude_value_backward(const ExclusiveShape& shape, const float* dy, const float* o, const float* unit, const float* norm,
                                          const float* along, float* d_o, float* dv);

}  // namespace fairway::kernels
