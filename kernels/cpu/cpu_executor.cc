#include "kernels/accumulate.h"
#include "kernels/elementwise.h"
#include "kernels/executor.h"
#include "kernels/fake_quantise.h"
#include "kernels/gates.h"
#include "kernels/mud.h"
#include "kernels/newton_schulz.h"
#include "kernels/num/exact_sum.h"
#include "kernels/optimizers.h"
#include "kernels/rows.h"
#include "kernels/smear.h"
#include "kernels/unit_vectors.h"

namespace fairway::kernels {
namespace {

class CpuExecutor final : public Executor {
 public:
  Memory* memory() override { return nullptr; }
  bool sound() override { return true; }
  void watch(bool) override {}

  bool quantise_rows(const float* x, int64_t rows, int64_t columns, int64_t ld, int bits, Quantised& out) override {
    return kernels::quantise_rows(x, rows, columns, ld, bits, out);
  }
  bool quantise_columns(const float* x, int64_t rows, int64_t columns, int64_t ld, int bits, Quantised& out) override {
    return kernels::quantise_columns(x, rows, columns, ld, bits, out);
  }
  void exact_matmul(const Quantised& a, const Quantised& b, Products products, float* c, int64_t ldc) override {
    kernels::exact_matmul(a, b, products, c, ldc);
  }
  bool exact_matmul_accumulate(const Quantised& a, const Quantised& b, Products products, float limit,
                               Buffer<float>& product, int64_t* acc) override {
    product.resize(static_cast<size_t>(a.rows() * b.rows()));
    kernels::exact_matmul(a, b, products, product.data(), b.rows());
    return kernels::accumulate(product.data(), a.rows() * b.rows(), limit, acc);
  }

  bool attention_forward(const AttentionForward& a) override { return kernels::attention_forward(a); }
  bool attention_backward(const AttentionBackward& a) override { return kernels::attention_backward(a); }

  bool rms_norm(const float* x, int64_t rows, int64_t n, float* y, float* r) override {
    return kernels::rms_norm(x, rows, n, y, r);
  }
  bool rms_norm_backward(const float* dy, const float* y, const float* r, int64_t rows, int64_t n, float* dx) override {
    return kernels::rms_norm_backward(dy, y, r, rows, n, dx);
  }
  bool row_dot(const float* a, const float* b, int64_t rows, int64_t n, float* out) override {
    return kernels::row_dot(a, b, rows, n, out);
  }
  bool cross_entropy(float* logits, int64_t rows, int64_t vocab, float cap, const uint16_t* targets, float* nll,
                     bool gradient) override {
    return kernels::cross_entropy(logits, rows, vocab, cap, targets, nll, gradient);
  }
  void add_losses(const float* nll, int64_t count, int64_t* sum) override {
    for (int64_t i = 0; i < count; ++i) *sum += num::loss_units(nll[i]);
  }

  bool accumulate_products(const float* a, const float* b, int64_t rows, int64_t n, float limit,
                           int64_t* acc) override {
    return kernels::accumulate_products(a, b, rows, n, limit, acc);
  }
  bool accumulate_rows(const float* a, int64_t rows, int64_t n, float limit, int64_t* acc) override {
    return kernels::accumulate_rows(a, rows, n, limit, acc);
  }
  bool accumulate_gathered(const float* g, const uint16_t* ids, int64_t rows, int64_t n, float limit,
                           int64_t* acc) override {
    return kernels::accumulate_gathered(g, ids, rows, n, limit, acc);
  }

  void mix(const float* x, const float* x0, const float* m0, const float* m1, int64_t rows, int64_t n,
           float* u) override {
    kernels::mix(x, x0, m0, m1, rows, n, u);
  }
  void scaled_add(const float* x, const float* s, const float* a, int64_t rows, int64_t n, float* y) override {
    kernels::scaled_add(x, s, a, rows, n, y);
  }
  void scale_channels(const float* x, const float* s, int64_t rows, int64_t n, float* y) override {
    kernels::scale_channels(x, s, rows, n, y);
  }
  void scale_heads(const float* x, const float* g, int64_t tokens, int64_t heads, int64_t head_dim, float* y) override {
    kernels::scale_heads(x, g, tokens, heads, head_dim, y);
  }
  void scale(const float* x, float s, int64_t count, float* y) override { kernels::scale(x, s, count, y); }
  void scale_by(const float* x, const float* s, int64_t count, float* y) override { kernels::scale(x, *s, count, y); }
  void add(const float* x, const float* a, int64_t count, float* y) override { kernels::add(x, a, count, y); }
  void add_scaled(const float* x, const float* s, const float* a, int64_t count, float* y) override {
    kernels::add_scaled(x, *s, a, count, y);
  }
  void mix_scalars(const float* a, const float* b, const float* s, int64_t count, float* y) override {
    kernels::mix_scalars(a, s[0], b, s[1], count, y);
  }
  void add_to(const float* x, int64_t count, float* y) override { kernels::add_to(x, count, y); }
  void relu_squared(const float* a, int64_t count, float* h) override { kernels::relu_squared(a, count, h); }
  void relu_squared_backward(const float* a, const float* dh, int64_t count, float* da) override {
    kernels::relu_squared_backward(a, dh, count, da);
  }
  void leaky_relu_squared(const float* a, float slope, int64_t count, float* h) override {
    kernels::leaky_relu_squared(a, slope, count, h);
  }
  void leaky_relu_squared_backward(const float* a, float slope, const float* dh, int64_t count, float* da) override {
    kernels::leaky_relu_squared_backward(a, slope, dh, count, da);
  }
  void rope(float* x, int64_t tokens, int64_t length, int64_t heads, int64_t head_dim, int64_t width,
            const float* table, bool backward) override {
    kernels::rope(x, tokens, length, heads, head_dim, width, table, backward);
  }
  void gather_rows(const float* table, const uint16_t* ids, int64_t tokens, int64_t n, float* y) override {
    kernels::gather_rows(table, ids, tokens, n, y);
  }

  void scale_rows(const float* x, const float* s, int64_t rows, int64_t n, float* y) override {
    kernels::scale_rows(x, s, rows, n, y);
  }
  void sigmoid_gates(const float* z, int64_t count, float* s, float* rest) override {
    kernels::sigmoid_gates(z, count, s, rest);
  }
  void head_gates(const float* z, const float* bias, int64_t tokens, int64_t heads, float* gate) override {
    kernels::head_gates(z, bias, tokens, heads, gate);
  }
  void sigmoid_gates_backward(const float* gate, int64_t count, float* dz) override {
    kernels::sigmoid_gates_backward(gate, count, dz);
  }
  void smear_channels(const float* x, const float* keep, const float* carry, int64_t tokens, int64_t length, int64_t n,
                      float* y) override {
    kernels::smear_channels(x, keep, carry, tokens, length, n, y);
  }
  void smear_channels_backward(const float* dy, const float* keep, const float* carry, int64_t tokens, int64_t length,
                               int64_t n, float* dx) override {
    kernels::smear_channels_backward(dy, keep, carry, tokens, length, n, dx);
  }
  void smear_gate_terms(const float* dy, const float* x, const float* s, bool raises_previous, int64_t tokens,
                        int64_t length, int64_t n, float* terms) override {
    kernels::smear_gate_terms(dy, x, s, raises_previous, tokens, length, n, terms);
  }
  bool smear_tokens(const float* x, const float* w, const float* b, int64_t tokens, int64_t length, int64_t n,
                    float* gate, float* y) override {
    return kernels::smear_tokens(x, w, *b, tokens, length, n, gate, y);
  }
  bool smear_tokens_backward(const float* dy, const float* x, const float* w, const float* gate, int64_t tokens,
                             int64_t length, int64_t n, float* dz, float* terms, float* dx) override {
    return kernels::smear_tokens_backward(dy, x, w, gate, tokens, length, n, dz, terms, dx);
  }
  bool exclude_value(const ExclusiveShape& shape, const float* o, const float* v, float* unit, float* norm,
                     float* along, float* y) override {
    return kernels::exclude_value(shape, o, v, unit, norm, along, y);
  }
  bool exclude_value_backward(const ExclusiveShape& shape, const float* dy, const float* o, const float* unit,
                              const float* norm, const float* along, float* d_o, float* dv) override {
    return kernels::exclude_value_backward(shape, dy, o, unit, norm, along, d_o, dv);
  }
  bool fake_quantise_rows(const float* w, int64_t rows, int64_t columns, ops::FakeForm form, float* out) override {
    return kernels::fake_quantise_rows(w, rows, columns, form, out);
  }

  bool unit_rows(const float* x, int64_t rows, int64_t n, float* y, float* norm) override {
    return kernels::unit_rows(x, rows, n, y, norm);
  }
  bool unit_rows_backward(const float* dy, const float* y, const float* norm, int64_t rows, int64_t n,
                          float* dx) override {
    return kernels::unit_rows_backward(dy, y, norm, rows, n, dx);
  }
  bool unit_columns(float* x, int64_t rows, int64_t n) override { return kernels::unit_columns(x, rows, n); }
  void interpolation_rates(const float* rate, float factor, int64_t n, float* step, float* rest,
                           float* slope) override {
    kernels::interpolation_rates(rate, factor, n, step, rest, slope);
  }
  void interpolate(const float* x, const float* a, const float* u, int64_t rows, int64_t n, float* y) override {
    kernels::interpolate(x, a, u, rows, n, y);
  }
  void scaled_difference(const float* u, const float* x, const float* s, int64_t rows, int64_t n, float* y) override {
    kernels::scaled_difference(u, x, s, rows, n, y);
  }

  bool delta_rule(const DeltaForward& d) override { return kernels::delta_rule(d); }
  bool delta_rule_backward(const DeltaBackward& d) override { return kernels::delta_rule_backward(d); }
  void short_convolution(const float* x, const float* w, int64_t tokens, int64_t length, int64_t n, float* z,
                         float* y) override {
    kernels::short_convolution(x, w, tokens, length, n, z, y);
  }
  void short_convolution_backward(const float* dy, const float* z, const float* w, int64_t tokens, int64_t length,
                                  int64_t n, float* dz, float* dx) override {
    kernels::short_convolution_backward(dy, z, w, tokens, length, n, dz, dx);
  }
  void moved_back(const float* x, int64_t taps, int64_t tokens, int64_t length, int64_t n, float* earlier) override {
    kernels::moved_back(x, taps, tokens, length, n, earlier);
  }
  void delta_gates(const float* a, const float* b, const float* a_log, const float* dt_bias, int64_t tokens,
                   int64_t heads, float* rate, float* time, float* decay, float* beta) override {
    kernels::delta_gates(a, b, a_log, dt_bias, tokens, heads, rate, time, decay, beta);
  }
  void delta_gates_backward(const DeltaGatesBackward& d) override { kernels::delta_gates_backward(d); }
  void swish_gate(const float* n, const float* w, const float* g, int64_t count, int64_t m, float* y) override {
    kernels::swish_gate(n, w, g, count, m, y);
  }
  void swish_gate_backward(const float* dy, const float* n, const float* w, const float* g, int64_t count, int64_t m,
                           float* gated, float* dg) override {
    kernels::swish_gate_backward(dy, n, w, g, count, m, gated, dg);
  }

  void accumulated_mean(const int64_t* acc, int64_t count, float divisor, float* g) override {
    kernels::accumulated_mean(acc, count, divisor, g);
  }
  void round_to_bf16(float* x, int64_t count) override { kernels::round_to_bf16({x, static_cast<size_t>(count)}); }
  bool all_finite(const float* x, int64_t count) override {
    return kernels::all_finite({x, static_cast<size_t>(count)});
  }
  void adam(const float* g, bool bf16, const ops::AdamStep& step, int64_t count, float* m, float* v,
            float* w) override {
    kernels::adam(g, bf16, step, count, m, v, w);
  }
  void sgd(const float* g, bool bf16, const ops::SgdStep& step, int64_t count, float* u, float* w) override {
    kernels::sgd(g, bf16, step, count, u, w);
  }
  void muon_momentum(float mu, bool bf16, int64_t count, float* u, float* momentum) override {
    kernels::muon_momentum(mu, bf16, count, u, momentum);
  }
  bool newton_schulz(float* u, int64_t count, int64_t rows, int64_t columns, int64_t steps,
                     Products products) override {
    thread_local NewtonSchulzScratch scratch;
    return kernels::newton_schulz(u, count, rows, columns, steps, products, scratch);
  }
  bool mud(float* u, int64_t count, int64_t rows, int64_t columns, int64_t passes, Products products) override {
    thread_local MudScratch scratch;
    return kernels::mud(u, count, rows, columns, passes, products, scratch);
  }
  void muon_update(const float* u, float shape_factor, float lr, float decay_before, float decay_after, int64_t count,
                   float* w) override {
    kernels::muon_update(u, shape_factor, lr, decay_before, decay_after, count, w);
  }
  void parallel_muon_update(const float* u, float scaled_lr, float decay, int64_t count, float* w) override {
    kernels::parallel_muon_update(u, scaled_lr, decay, count, w);
  }
  bool sum_of_squares(std::span<const std::span<const float>> parts, double& total) override {
    SumOfSquares squares;
    for (std::span<const float> part : parts) {
      if (!squares.add(part)) return false;
    }
    total = squares.total();
    return true;
  }
  void add_worker(const float* g, bool bf16, double unit, int64_t count, int64_t* sum) override {
    kernels::add_worker(g, bf16, unit, count, sum);
  }
  void worker_mean(const int64_t* sum, int32_t exponent, float workers, int64_t count, float* g) override {
    kernels::worker_mean(sum, exponent, workers, count, g);
  }
  void average(const float* w, float decay, float rest, int64_t count, float* ema) override {
    kernels::average(w, decay, rest, count, ema);
  }
};

}  // namespace

Executor& cpu_executor() {
  static CpuExecutor executor;
  return executor;
}

}  // namespace fairway::kernels
