#include "kernels/cuda/attention.h"

#include "kernels/cuda/bodies/attention_passes.h"
#include "kernels/cuda/launch.cuh"

namespace fairway::cuda {
namespace {

using kernels::AttentionShape;

void check(const AttentionShape& s) {
  FAIRWAY_CHECK(s.length > 0 && s.head_dim > 0 && s.head_dim <= 1024);
  FAIRWAY_CHECK(s.kv_heads > 0 && s.heads % s.kv_heads == 0 && s.heads / s.kv_heads <= ops::kMaxAttentionGroup);
  FAIRWAY_CHECK(s.head_dim * (s.heads / s.kv_heads) * s.length <= (int64_t{1} << 28));
}

/// Carves slices out of two arrays; run once on null pointers to learn the sizes.
struct Arena {
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
};

AttentionMemory lay_out(const AttentionShape& s, bool backward, Arena& arena) {
  const int slices = kernels::slices_of_products(s.products);
  AttentionMemory m{};
  const auto take = [&](Slices& rows, Slices& turned, int64_t heads, bool want_turned) {
    rows = arena.take(head_rows(s, heads), slices);
    rows.exponent = arena.take(rows.rows);
    if (want_turned) turned = arena.take(head_columns(s, heads), slices);
  };
  take(m.q, m.q_turned, s.heads, backward);
  take(m.k, m.k_turned, s.kv_heads, backward);
  take(m.v, m.v_turned, s.kv_heads, !backward);
  if (backward) take(m.dout, m.dout_turned, s.heads, true);
  m.prefix = arena.take(s.sequences * s.kv_heads * s.length);
  m.largest = arena.take(s.sequences * s.kv_heads * 4);
  return m;
}

AttentionMemory memory_for(const AttentionShape& s, bool backward, DeviceBuffer<int8_t>& planes, DeviceBuffer<int32_t>& words) {
  Arena sizes{nullptr, nullptr};
  lay_out(s, backward, sizes);
  planes.resize(static_cast<size_t>(sizes.planes_used));
  words.resize(static_cast<size_t>(sizes.words_used));
  Arena arena{planes.data(), words.data()};
  return lay_out(s, backward, arena);
}

/// Calls f with the products as a template argument.
template <class F>
void with_products(Products products, const F& f) {
  if (products == Products::kP3) return f.template operator()<Products::kP3>();
  if (products == Products::kP4) return f.template operator()<Products::kP4>();
  f.template operator()<Products::kS21>();
}

}  // namespace

void attention_forward(Device& device, const kernels::AttentionForward& a, AttentionScratch& scratch) {
  check(a.shape);
  const AttentionMemory m = memory_for(a.shape, false, scratch.planes_, scratch.words_);
  const auto start = [&](const auto& body) { launch(device, body); };
  with_products(a.shape.products, [&]<Products P>() { attention_forward_passes<P>(start, a, m, device.failure()); });
}

void attention_backward(Device& device, const kernels::AttentionBackward& a, AttentionScratch& scratch) {
  check(a.shape);
  AttentionMemory m = memory_for(a.shape, true, scratch.planes_, scratch.words_);
  scratch.delta_.resize(static_cast<size_t>(a.shape.sequences * a.shape.length * a.shape.heads));
  m.delta = scratch.delta_.data();
  const auto start = [&](const auto& body) { launch(device, body); };
  with_products(a.shape.products, [&]<Products P>() { attention_backward_passes<P>(start, a, m, device.failure()); });
}

}  // namespace fairway::cuda
