/// The launches of attention in their order, for a device's stream and for the simulated grid alike: `launch(body)` starts one.
#pragma once

#include "kernels/attention.h"
#include "kernels/cuda/bodies/attention.h"
#include "kernels/cuda/bodies/elementwise.h"

namespace fairway::cuda {

/// Memory of one attention. Slices have the shapes that `attention_sizes` tells.
struct AttentionMemory {
  Slices q, k, v, dout;                              ///< rows (token, head)
  Slices q_turned, k_turned, v_turned, dout_turned;  ///< rows (sequence, head, dimension), columns tokens
  int32_t* prefix;   ///< (sequences, kv_heads, length)
  int32_t* largest;  ///< (sequences, kv_heads, 4)
  float* delta;      ///< (sequences * length, heads)
};

/// Shapes of q's slices, or with `heads` = kv_heads of k's and v's, and of the turned ones.
inline Slices head_rows(const kernels::AttentionShape& s, int64_t heads) {
  Slices v;
  v.rows = s.sequences * s.length * heads;
  v.columns = s.head_dim;
  v.stride = (s.head_dim + kDepth - 1) / kDepth * kDepth;
  return v;
}
inline Slices head_columns(const kernels::AttentionShape& s, int64_t heads) {
  Slices v;
  v.rows = s.sequences * heads * head_rows(s, heads).stride;
  v.columns = s.length;
  v.stride = (s.length + kDepth - 1) / kDepth * kDepth;
  return v;
}

inline AttentionInputs attention_inputs(const kernels::AttentionShape& s, const AttentionMemory& m) {
  return {s.sequences, s.length, s.heads, s.kv_heads, s.head_dim, s.first_query, m.q, m.k, m.v, m.dout, m.prefix};
}

/// Slices of x (token, head, dimension), reported if a value or an exponent is out of range.
template <Products P, class Launch>
void quantise_heads(const Launch& launch, const float* x, const Slices& out, uint32_t* failure) {
  launch(QuantiseRows<Scheme<P>::kBits>{{x, out.rows, out.columns, out.columns}, out, failure});
  launch(Elements<CheckExponents>{out.rows, {out.exponent, failure}});
}

template <Products P, class Launch>
void attention_forward_passes(const Launch& launch, const kernels::AttentionForward& a, const AttentionMemory& m, uint32_t* failure) {
  const kernels::AttentionShape& s = a.shape;
  quantise_heads<P>(launch, a.q, m.q, failure);
  quantise_heads<P>(launch, a.k, m.k, failure);
  quantise_heads<P>(launch, a.v, m.v, failure);
  launch(ExponentPrefix{m.v.exponent, s.sequences, s.length, s.kv_heads, m.prefix});
  launch(TurnHeads<Scheme<P>::kSlices>{m.v, s.sequences, s.length, s.kv_heads, m.v_turned});
  launch(AttentionForwardPass<P>{attention_inputs(s, m), m.v_turned, a.out, a.row_max, a.row_units, failure});
}

template <Products P, class Launch>
void attention_backward_passes(const Launch& launch, const kernels::AttentionBackward& a, const AttentionMemory& m, uint32_t* failure) {
  const kernels::AttentionShape& s = a.shape;
  quantise_heads<P>(launch, a.q, m.q, failure);
  quantise_heads<P>(launch, a.k, m.k, failure);
  quantise_heads<P>(launch, a.v, m.v, failure);
  quantise_heads<P>(launch, a.dout, m.dout, failure);
  launch(ExponentPrefix{m.v.exponent, s.sequences, s.length, s.kv_heads, m.prefix});
  launch(TurnHeads<Scheme<P>::kSlices>{m.q, s.sequences, s.length, s.heads, m.q_turned});
  launch(TurnHeads<Scheme<P>::kSlices>{m.k, s.sequences, s.length, s.kv_heads, m.k_turned});
  launch(TurnHeads<Scheme<P>::kSlices>{m.dout, s.sequences, s.length, s.heads, m.dout_turned});
  launch(Elements<FillExponents>{s.sequences * s.kv_heads * 4, {m.largest}});
  const auto largest = [&](const Slices& x, int64_t group, Largest which) {
    launch(LargestExponents{x.exponent, s.sequences, s.length, s.kv_heads, group, which, m.largest});
  };
  largest(m.q, s.heads / s.kv_heads, kLargestQ);
  largest(m.k, 1, kLargestK);
  largest(m.v, 1, kLargestV);
  largest(m.dout, s.heads / s.kv_heads, kLargestDout);
  const AttentionInputs in = attention_inputs(s, m);
  const BackwardInputs back{a.row_max, a.row_units, m.delta, m.largest};
  launch(AttentionBackwardQueries<P>{in, back, m.k_turned, a.dq, failure});
  launch(AttentionBackwardKeys<P, true>{in, back, m.q_turned, a.dk, failure});
  launch(AttentionBackwardKeys<P, false>{in, back, m.dout_turned, a.dv, failure});
}

}  // namespace fairway::cuda
