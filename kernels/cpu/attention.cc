#include "kernels/attention.h"

#include <atomic>

#include "kernels/check.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/parallel.h"
#include "kernels/ops/attention.h"

namespace fairway::kernels {
namespace {

void check(const AttentionShape& s) {
  FAIRWAY_CHECK(s.length > 0 && s.head_dim > 0 && s.head_dim <= 1024);
  FAIRWAY_CHECK(s.kv_heads > 0 && s.heads % s.kv_heads == 0 && s.heads / s.kv_heads <= ops::kMaxAttentionGroup);
  // dk and dv sum over the queries of all heads that share a key; up to here int64 holds the sum (NUMERICS.md).
  FAIRWAY_CHECK(s.head_dim * (s.heads / s.kv_heads) * s.length <= (int64_t{1} << 28));
}

}  // namespace

bool attention_forward(const AttentionForward& a) {
  check(a.shape);
  std::atomic<bool> ok{true};
  parallel_for(a.shape.sequences * a.shape.kv_heads, [&](int64_t i) {
    if (!table().attention_forward(a, i / a.shape.kv_heads, i % a.shape.kv_heads)) ok = false;
  });
  return ok;
}

bool attention_backward(const AttentionBackward& a) {
  check(a.shape);
  std::atomic<bool> ok{true};
  parallel_for(a.shape.sequences * a.shape.kv_heads, [&](int64_t i) {
    if (!table().attention_backward(a, i / a.shape.kv_heads, i % a.shape.kv_heads)) ok = false;
  });
  return ok;
}

}  // namespace fairway::kernels
