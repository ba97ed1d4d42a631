/// Who computes: the functions of kernels/*.h as one interface, with a form for the CPU and one for a device.
///
/// Goal: the engine says what is to be computed once, and never learns where its memory lies. The CPU's form forwards
/// to the functions of kernels/*.h, whose contracts hold here too; a device's queues kernels with the same bits.
/// Non-goal: a formula; a choice per element (every call is one whole operation).
///
/// All pointers are to memory() unless said otherwise. What a function of kernels/*.h returns as false, a device may
/// learn later: calls return true then, and `sound` tells. After `watch(true)` every call waits and tells at once, so
/// that the operation can be named.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention.h"
#include "kernels/buffer.h"
#include "kernels/delta_rule.h"
#include "kernels/exclusive_attention.h"
#include "kernels/matmul.h"
#include "kernels/ops/adam.h"
#include "kernels/ops/fake_quantise.h"
#include "kernels/ops/sgd.h"

namespace fairway::kernels {

class Executor {
 public:
  virtual ~Executor() = default;
  /// Where its buffers lie; null is the host's memory.
  virtual Memory* memory() = 0;
  /// True unless a call since the last `sound` met what it cannot use. Waits for the device.
  [[nodiscard]] virtual bool sound() = 0;
  virtual void watch(bool every_call) = 0;

  // kernels/matmul.h
  [[nodiscard]] virtual bool quantise_rows(const float* x, int64_t rows, int64_t columns, int64_t ld, int bits,
                                           Quantised& out) = 0;
  [[nodiscard]] virtual bool quantise_columns(const float* x, int64_t rows, int64_t columns, int64_t ld, int bits,
                                              Quantised& out) = 0;
  virtual void exact_matmul(const Quantised& a, const Quantised& b, Products products, float* c, int64_t ldc) = 0;
  /// exact_matmul to (M, N) without gaps, then `accumulate`. `product` is working memory.
  [[nodiscard]] virtual bool exact_matmul_accumulate(const Quantised& a, const Quantised& b, Products products,
                                                     float limit, Buffer<float>& product, int64_t* acc) = 0;

  // kernels/attention.h
  [[nodiscard]] virtual bool attention_forward(const AttentionForward& a) = 0;
  [[nodiscard]] virtual bool attention_backward(const AttentionBackward& a) = 0;

  // kernels/rows.h
  [[nodiscard]] virtual bool rms_norm(const float* x, int64_t rows, int64_t n, float* y, float* r) = 0;
  [[nodiscard]] virtual bool rms_norm_backward(const float* dy, const float* y, const float* r, int64_t rows, int64_t n,
                                               float* dx) = 0;
  [[nodiscard]] virtual bool row_dot(const float* a, const float* b, int64_t rows, int64_t n, float* out) = 0;
  [[nodiscard]] virtual bool cross_entropy(float* logits, int64_t rows, int64_t vocab, float cap,
                                           const uint16_t* targets, float* nll, bool gradient) = 0;
  /// sum += the nll in units of 2^-26 (NUMERICS.md, "Loss").
  virtual void add_losses(const float* nll, int64_t count, int64_t* sum) = 0;

  // kernels/accumulate.h
  [[nodiscard]] virtual bool accumulate_products(const float* a, const float* b, int64_t rows, int64_t n, float limit,
                                                 int64_t* acc) = 0;
  [[nodiscard]] virtual bool accumulate_rows(const float* a, int64_t rows, int64_t n, float limit, int64_t* acc) = 0;
  [[nodiscard]] virtual bool accumulate_gathered(const float* g, const uint16_t* ids, int64_t rows, int64_t n,
                                                 float limit, int64_t* acc) = 0;

  // kernels/elementwise.h; a trained scalar is passed by address, since the host may not hold its value
  virtual void mix(const float* x, const float* x0, const float* m0, const float* m1, int64_t rows, int64_t n,
                   float* u) = 0;
  virtual void scaled_add(const float* x, const float* s, const float* a, int64_t rows, int64_t n, float* y) = 0;
  virtual void scale_channels(const float* x, const float* s, int64_t rows, int64_t n, float* y) = 0;
  virtual void scale_heads(const float* x, const float* g, int64_t tokens, int64_t heads, int64_t head_dim,
                           float* y) = 0;
  virtual void scale(const float* x, float s, int64_t count, float* y) = 0;
  virtual void scale_by(const float* x, const float* s, int64_t count, float* y) = 0;
  virtual void add(const float* x, const float* a, int64_t count, float* y) = 0;
  virtual void add_scaled(const float* x, const float* s, const float* a, int64_t count, float* y) = 0;
  /// y = s[0] a + s[1] b.
  virtual void mix_scalars(const float* a, const float* b, const float* s, int64_t count, float* y) = 0;
  virtual void add_to(const float* x, int64_t count, float* y) = 0;
  virtual void relu_squared(const float* a, int64_t count, float* h) = 0;
  virtual void relu_squared_backward(const float* a, const float* dh, int64_t count, float* da) = 0;
  virtual void leaky_relu_squared(const float* a, float slope, int64_t count, float* h) = 0;
  virtual void leaky_relu_squared_backward(const float* a, float slope, const float* dh, int64_t count, float* da) = 0;
  virtual void rope(float* x, int64_t tokens, int64_t length, int64_t heads, int64_t head_dim, int64_t width,
                    const float* table, bool backward) = 0;
  virtual void gather_rows(const float* table, const uint16_t* ids, int64_t tokens, int64_t n, float* y) = 0;

  // kernels/elementwise.h, kernels/gates.h, kernels/smear.h, kernels/exclusive_attention.h, kernels/fake_quantise.h
  virtual void scale_rows(const float* x, const float* s, int64_t rows, int64_t n, float* y) = 0;
  virtual void sigmoid_gates(const float* z, int64_t count, float* s, float* rest) = 0;
  virtual void head_gates(const float* z, const float* bias, int64_t tokens, int64_t heads, float* gate) = 0;
  virtual void sigmoid_gates_backward(const float* gate, int64_t count, float* dz) = 0;
  virtual void smear_channels(const float* x, const float* keep, const float* carry, int64_t tokens, int64_t length,
                              int64_t n, float* y) = 0;
  virtual void smear_channels_backward(const float* dy, const float* keep, const float* carry, int64_t tokens,
                                       int64_t length, int64_t n, float* dx) = 0;
  virtual void smear_gate_terms(const float* dy, const float* x, const float* s, bool raises_previous, int64_t tokens,
                                int64_t length, int64_t n, float* terms) = 0;
  [[nodiscard]] virtual bool smear_tokens(const float* x, const float* w, const float* b, int64_t tokens,
                                          int64_t length, int64_t n, float* gate, float* y) = 0;
  [[nodiscard]] virtual bool smear_tokens_backward(const float* dy, const float* x, const float* w, const float* gate,
                                                   int64_t tokens, int64_t length, int64_t n, float* dz, float* terms,
                                                   float* dx) = 0;
  [[nodiscard]] virtual bool exclude_value(const ExclusiveShape& shape, const float* o, const float* v, float* unit,
                                           float* norm, float* along, float* y) = 0;
  [[nodiscard]] virtual bool exclude_value_backward(const ExclusiveShape& shape, const float* dy, const float* o,
                                                    const float* unit, const float* norm, const float* along,
                                                    float* d_o, float* dv) = 0;
  [[nodiscard]] virtual bool fake_quantise_rows(const float* w, int64_t rows, int64_t columns, ops::FakeForm form,
                                                float* out) = 0;

  // kernels/unit_vectors.h, kernels/elementwise.h
  [[nodiscard]] virtual bool unit_rows(const float* x, int64_t rows, int64_t n, float* y, float* norm) = 0;
  [[nodiscard]] virtual bool unit_rows_backward(const float* dy, const float* y, const float* norm, int64_t rows,
                                                int64_t n, float* dx) = 0;
  [[nodiscard]] virtual bool unit_columns(float* x, int64_t rows, int64_t n) = 0;
  virtual void interpolation_rates(const float* rate, float factor, int64_t n, float* step, float* rest,
                                   float* slope) = 0;
  virtual void interpolate(const float* x, const float* a, const float* u, int64_t rows, int64_t n, float* y) = 0;
  virtual void scaled_difference(const float* u, const float* x, const float* s, int64_t rows, int64_t n, float* y) = 0;

  // kernels/delta_rule.h
  [[nodiscard]] virtual bool delta_rule(const DeltaForward& d) = 0;
  [[nodiscard]] virtual bool delta_rule_backward(const DeltaBackward& d) = 0;
  virtual void short_convolution(const float* x, const float* w, int64_t tokens, int64_t length, int64_t n, float* z,
                                 float* y) = 0;
  virtual void short_convolution_backward(const float* dy, const float* z, const float* w, int64_t tokens,
                                          int64_t length, int64_t n, float* dz, float* dx) = 0;
  virtual void moved_back(const float* x, int64_t taps, int64_t tokens, int64_t length, int64_t n, float* earlier) = 0;
  virtual void delta_gates(const float* a, const float* b, const float* a_log, const float* dt_bias, int64_t tokens,
                           int64_t heads, float* rate, float* time, float* decay, float* beta) = 0;
  virtual void delta_gates_backward(const DeltaGatesBackward& d) = 0;
  virtual void swish_gate(const float* n, const float* w, const float* g, int64_t count, int64_t m, float* y) = 0;
  virtual void swish_gate_backward(const float* dy, const float* n, const float* w, const float* g, int64_t count,
                                   int64_t m, float* gated, float* dg) = 0;

  // kernels/optimizers.h, kernels/newton_schulz.h, kernels/mud.h; gradients and weights
  virtual void accumulated_mean(const int64_t* acc, int64_t count, float divisor, float* g) = 0;
  virtual void round_to_bf16(float* x, int64_t count) = 0;
  [[nodiscard]] virtual bool all_finite(const float* x, int64_t count) = 0;
  virtual void adam(const float* g, bool bf16, const ops::AdamStep& step, int64_t count, float* m, float* v,
                    float* w) = 0;
  virtual void sgd(const float* g, bool bf16, const ops::SgdStep& step, int64_t count, float* u, float* w) = 0;
  virtual void muon_momentum(float mu, bool bf16, int64_t count, float* u, float* momentum) = 0;
  [[nodiscard]] virtual bool newton_schulz(float* u, int64_t count, int64_t rows, int64_t columns, int64_t steps,
                                           Products products) = 0;
  [[nodiscard]] virtual bool mud(float* u, int64_t count, int64_t rows, int64_t columns, int64_t passes,
                                 Products products) = 0;
  virtual void muon_update(const float* u, float shape_factor, float lr, float decay_before, float decay_after,
                           int64_t count, float* w) = 0;
  virtual void parallel_muon_update(const float* u, float scaled_lr, float decay, int64_t count, float* w) = 0;
  /// The sum of squares over all `parts` (kernels::SumOfSquares) into `total`, on the host; waits for a device. False
  /// if a value is not finite.
  [[nodiscard]] virtual bool sum_of_squares(std::span<const std::span<const float>> parts, double& total) = 0;
  virtual void add_worker(const float* g, bool bf16, double unit, int64_t count, int64_t* sum) = 0;
  virtual void worker_mean(const int64_t* sum, int32_t exponent, float workers, int64_t count, float* g) = 0;
  virtual void average(const float* w, float decay, float rest, int64_t count, float* ema) = 0;

  /// to[i] = from[i]; the two must not overlap.
  void copy(const float* from, int64_t count, float* to) {
    const size_t bytes = static_cast<size_t>(count) * sizeof(float);
    if (bytes == 0) return;
    if (Memory* m = memory(); m != nullptr) return m->copy(to, from, bytes);
    std::memcpy(to, from, bytes);
  }
  void zero(float* x, int64_t count) {
    const size_t bytes = static_cast<size_t>(count) * sizeof(float);
    if (bytes == 0) return;
    if (Memory* m = memory(); m != nullptr) return m->zero(x, bytes);
    std::memset(x, 0, bytes);
  }
  /// What the host holds, for the executor to read: the same place, or a copy in `buffer`.
  template <class T>
  const T* stage(std::span<const T> host, Buffer<T>& buffer, const char* what) {
    if (memory() == nullptr) return host.data();
    buffer.place(memory(), what);
    buffer.upload(host.data(), host.size());
    return buffer.data();
  }
  /// The reverse, for the host to read; waits for a device.
  const float* fetch(const float* x, int64_t count, std::vector<float>& copy) {
    if (memory() == nullptr) return x;
    copy.resize(static_cast<size_t>(count));
    if (count > 0) memory()->copy_to_host(copy.data(), x, copy.size() * sizeof(float));
    return copy.data();
  }
};

/// The CPU's, without state: any number of threads may use it.
Executor& cpu_executor();

}  // namespace fairway::kernels
