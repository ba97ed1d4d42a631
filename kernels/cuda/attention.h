/// Attention on a queue (device.h): kernels/attention.h, bit for bit. What is returned as false there is reported into
/// the queue's failure word.
#pragma once

#include "kernels/cuda/bodies/attention_passes.h"
#include "kernels/cuda/matmul.h"

namespace fairway::cuda {

/// Working memory of attention, kept between calls.
struct AttentionScratch {
  explicit AttentionScratch(kernels::Memory& memory)
      : planes(memory, "attention's slices"),
        words(memory, "attention's exponents"),
        delta(memory, "attention's row sums") {}
  kernels::Buffer<int8_t> planes;
  kernels::Buffer<int32_t> words;
  kernels::Buffer<float> delta;
};

/// Carves slices out of two arrays; run once on null pointers to learn the sizes.
struct AttentionArena {
  int8_t* planes;
  int32_t* words;
  int64_t planes_used = 0, words_used = 0;

  Slices take(Slices shape, int slices) {
    for (int s = 0; s < slices; ++s) {
      shape.plane[s] = planes == nullptr ? nullptr : planes + planes_used;
      planes_used += shape.rows * shape.stride;
    }
    return shape;
  }
  int32_t* take(int64_t count) {
    int32_t* p = words == nullptr ? nullptr : words + words_used;
    words_used += count;
    return p;
  }

  AttentionMemory lay_out(const kernels::AttentionShape& s, bool backward) {
    const int slices = kernels::slices_of_products(s.products);
    AttentionMemory m{};
    const auto heads_of = [&](Slices& rows, Slices& turned, int64_t heads, bool want_turned) {
      rows = take(head_rows(s, heads), slices);
      rows.exponent = take(rows.rows);
      if (want_turned) turned = take(head_columns(s, heads), slices);
    };
    heads_of(m.q, m.q_turned, s.heads, backward);
    heads_of(m.k, m.k_turned, s.kv_heads, backward);
    heads_of(m.v, m.v_turned, s.kv_heads, !backward);
    if (backward) heads_of(m.dout, m.dout_turned, s.heads, true);
    m.prefix = take(s.sequences * s.kv_heads * s.length);
    m.largest = take(s.sequences * s.kv_heads * 4);
    return m;
  }
};

inline AttentionMemory attention_memory(const kernels::AttentionShape& s, bool backward, AttentionScratch& scratch) {
  FAIRWAY_CHECK(s.length > 0 && s.head_dim > 0 && s.head_dim <= 1024);
  FAIRWAY_CHECK(s.kv_heads > 0 && s.heads % s.kv_heads == 0 && s.heads / s.kv_heads <= ops::kMaxAttentionGroup);
  FAIRWAY_CHECK(s.head_dim * (s.heads / s.kv_heads) * s.length <= (int64_t{1} << 28));
  AttentionArena sizes{nullptr, nullptr};
  sizes.lay_out(s, backward);
  scratch.planes.resize(static_cast<size_t>(sizes.planes_used));
  scratch.words.resize(static_cast<size_t>(sizes.words_used));
  return AttentionArena{scratch.planes.data(), scratch.words.data()}.lay_out(s, backward);
}

template <class Queue>
void attention_forward(Queue& queue, const kernels::AttentionForward& a, AttentionScratch& scratch) {
  const AttentionMemory m = attention_memory(a.shape, false, scratch);
  const auto launch = [&](const auto& body) { queue.launch(body); };
  with_products(a.shape.products, [&]<Products P>() { attention_forward_passes<P>(launch, a, m, queue.failure()); });
}

template <class Queue>
void attention_backward(Queue& queue, const kernels::AttentionBackward& a, AttentionScratch& scratch) {
  AttentionMemory m = attention_memory(a.shape, true, scratch);
  scratch.delta.resize(static_cast<size_t>(a.shape.sequences * a.shape.length * a.shape.heads));
  m.delta = scratch.delta.data();
  const auto launch = [&](const auto& body) { queue.launch(body); };
  with_products(a.shape.products, [&]<Products P>() { attention_backward_passes<P>(launch, a, m, queue.failure()); });
}

}  // namespace fairway::cuda
