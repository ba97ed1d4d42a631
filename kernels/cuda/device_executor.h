/// The executor of a queue (device.h): each call starts the bodies of the same name.
///
/// Calls are queued and return true; what bodies reported is learned by `sound`, or, after `watch(true)`, by the call
/// itself.
#pragma once

#include <utility>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/bodies/delta_rule.h"
#include "kernels/cuda/bodies/elementwise.h"
#include "kernels/cuda/bodies/gates.h"
#include "kernels/cuda/bodies/rows.h"
#include "kernels/cuda/bodies/turn.h"
#include "kernels/cuda/bodies/unit_vectors.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/mud.h"
#include "kernels/cuda/newton_schulz.h"
#include "kernels/executor.h"
#include "kernels/quantile.h"

namespace fairway::cuda {

template <class Queue>
class DeviceExecutor final : public kernels::Executor {
 public:
  /// Makes a queue from the arguments and keeps it.
  template <class... Arguments>
  explicit DeviceExecutor(Arguments&&... arguments)
      : queue_(std::forward<Arguments>(arguments)...),
        attention_(queue_),
        newton_schulz_(queue_),
        mud_(queue_),
        maxima_(queue_, "column maxima"),
        turned_(queue_, "turned matrices of unit columns"),
        states_(queue_, "states of delta layers"),
        squares_(queue_, "row sums of squares"),
        total_(queue_, "a sum of squares", 1) {}

  Queue& queue() { return queue_; }

  kernels::Memory* memory() override { return &queue_; }
  bool sound() override { return queue_.take_failure() == 0; }
  void watch(bool every_call) override { watching_ = every_call; }

  bool quantise_rows(const float* x, int64_t rows, int64_t columns, int64_t ld, int bits,
                     kernels::Quantised& out) override {
    cuda::quantise_rows(queue_, {x, rows, columns, ld}, bits, out);
    return done();
  }
  bool quantise_columns(const float* x, int64_t rows, int64_t columns, int64_t ld, int bits,
                        kernels::Quantised& out) override {
    cuda::quantise_columns(queue_, {x, rows, columns, ld}, bits, out, maxima_);
    return done();
  }
  void exact_matmul(const kernels::Quantised& a, const kernels::Quantised& b, Products products, float* c,
                    int64_t ldc) override {
    cuda::exact_matmul(queue_, a, b, products, {c, a.rows(), b.rows(), ldc});
  }
  bool exact_matmul_accumulate(const kernels::Quantised& a, const kernels::Quantised& b, Products products, float limit,
                               kernels::Buffer<float>&, int64_t* acc) override {
    cuda::exact_matmul_accumulate(queue_, a, b, products, limit, {acc, a.rows(), b.rows(), b.rows()});
    return done();
  }

  bool attention_forward(const kernels::AttentionForward& a) override {
    cuda::attention_forward(queue_, a, attention_);
    return done();
  }
  bool attention_backward(const kernels::AttentionBackward& a) override {
    cuda::attention_backward(queue_, a, attention_);
    return done();
  }

  bool rms_norm(const float* x, int64_t rows, int64_t n, float* y, float* r) override {
    return rows_of(rows, RmsNorm{x, n, y, r, failure()});
  }
  bool rms_norm_backward(const float* dy, const float* y, const float* r, int64_t rows, int64_t n, float* dx) override {
    return rows_of(rows, RmsNormBackward{dy, y, r, n, dx, failure()});
  }
  bool row_dot(const float* a, const float* b, int64_t rows, int64_t n, float* out) override {
    return rows_of(rows, RowDot{a, b, n, out, failure()});
  }
  bool cross_entropy(float* logits, int64_t rows, int64_t vocab, float cap, const uint16_t* targets, float* nll,
                     bool gradient) override {
    return start(CrossEntropy{logits, rows, vocab, cap, targets, nll, gradient, failure()});
  }
  void add_losses(const float* nll, int64_t count, int64_t* sum) override { elements(count, AddLoss{nll, sum}); }

  bool accumulate_products(const float* a, const float* b, int64_t rows, int64_t n, float limit,
                           int64_t* acc) override {
    return start(AccumulateRows{a, b, rows, n, limit, acc, failure()});
  }
  bool accumulate_rows(const float* a, int64_t rows, int64_t n, float limit, int64_t* acc) override {
    return start(AccumulateRows{a, nullptr, rows, n, limit, acc, failure()});
  }
  bool accumulate_gathered(const float* g, const uint16_t* ids, int64_t rows, int64_t n, float limit,
                           int64_t* acc) override {
    elements(rows * n, AccumulateGathered{g, ids, n, limit, acc, failure()});
    return done();
  }

  void mix(const float* x, const float* x0, const float* m0, const float* m1, int64_t rows, int64_t n,
           float* u) override {
    elements(rows * n, MixChannels{x, x0, m0, m1, n, u});
  }
  void scaled_add(const float* x, const float* s, const float* a, int64_t rows, int64_t n, float* y) override {
    elements(rows * n, AddScaledChannels{x, s, a, n, y});
  }
  void scale_channels(const float* x, const float* s, int64_t rows, int64_t n, float* y) override {
    elements(rows * n, ScaleBy<Per::kChannel>{x, s, {n}, y});
  }
  void scale_heads(const float* x, const float* g, int64_t tokens, int64_t heads, int64_t head_dim, float* y) override {
    elements(tokens * heads * head_dim, ScaleBy<Per::kHead>{x, g, {head_dim, heads}, y});
  }
  void scale(const float* x, float s, int64_t count, float* y) override { elements(count, Scale{x, s, y}); }
  void scale_by(const float* x, const float* s, int64_t count, float* y) override {
    elements(count, ScaleBy<Per::kAll>{x, s, {count}, y});
  }
  void add(const float* x, const float* a, int64_t count, float* y) override { elements(count, Add{x, a, y}); }
  void add_scaled(const float* x, const float* s, const float* a, int64_t count, float* y) override {
    elements(count, AddScaled{x, s, a, y});
  }
  void mix_scalars(const float* a, const float* b, const float* s, int64_t count, float* y) override {
    elements(count, MixScalars{a, b, s, y});
  }
  void add_to(const float* x, int64_t count, float* y) override { elements(count, Add{y, x, y}); }
  void relu_squared(const float* a, int64_t count, float* h) override { elements(count, ReluSquared{a, h}); }
  void relu_squared_backward(const float* a, const float* dh, int64_t count, float* da) override {
    elements(count, ReluSquaredBackward{a, dh, da});
  }
  void leaky_relu_squared(const float* a, float slope, int64_t count, float* h) override {
    elements(count, LeakyReluSquared{a, slope, h});
  }
  void leaky_relu_squared_backward(const float* a, float slope, const float* dh, int64_t count, float* da) override {
    elements(count, LeakyReluSquaredBackward{a, slope, dh, da});
  }
  void rope(float* x, int64_t tokens, int64_t length, int64_t heads, int64_t head_dim, int64_t width,
            const float* table, bool backward) override {
    const int64_t pairs = tokens * heads * (width / 2);
    if (backward) return elements(pairs, Rope<true>{x, length, heads, head_dim, width, table});
    elements(pairs, Rope<false>{x, length, heads, head_dim, width, table});
  }
  void gather_rows(const float* table, const uint16_t* ids, int64_t tokens, int64_t n, float* y) override {
    elements(tokens * n, GatherRows{table, ids, n, y});
  }

  void scale_rows(const float* x, const float* s, int64_t rows, int64_t n, float* y) override {
    elements(rows * n, ScaleBy<Per::kRow>{x, s, {n}, y});
  }
  void sigmoid_gates(const float* z, int64_t count, float* s, float* rest) override {
    elements(count, SigmoidGates{z, s, rest});
  }
  void head_gates(const float* z, const float* bias, int64_t tokens, int64_t heads, float* gate) override {
    elements(tokens * heads, HeadGates{z, bias, heads, gate});
  }
  void sigmoid_gates_backward(const float* gate, int64_t count, float* dz) override {
    elements(count, SigmoidGradient{gate, dz});
  }
  void smear_channels(const float* x, const float* keep, const float* carry, int64_t tokens, int64_t length, int64_t n,
                      float* y) override {
    elements(tokens * n, SmearChannels<false>{x, keep, carry, length, n, y});
  }
  void smear_channels_backward(const float* dy, const float* keep, const float* carry, int64_t tokens, int64_t length,
                               int64_t n, float* dx) override {
    elements(tokens * n, SmearChannels<true>{dy, keep, carry, length, n, dx});
  }
  void smear_gate_terms(const float* dy, const float* x, const float* s, bool raises_previous, int64_t tokens,
                        int64_t length, int64_t n, float* terms) override {
    elements(tokens * n, SmearGateTerms{dy, x, s, raises_previous, length, n, terms});
  }
  bool smear_tokens(const float* x, const float* w, const float* b, int64_t tokens, int64_t length, int64_t n,
                    float* gate, float* y) override {
    return rows_of(tokens, SmearTokens{x, w, b, length, n, gate, y, failure()});
  }
  bool smear_tokens_backward(const float* dy, const float* x, const float* w, const float* gate, int64_t tokens,
                             int64_t length, int64_t n, float* dz, float* terms, float* dx) override {
    return rows_of(tokens, SmearTokensBackward{dy, x, w, gate, length, n, dz, terms, dx, failure()});
  }
  bool exclude_value(const kernels::ExclusiveShape& shape, const float* o, const float* v, float* unit, float* norm,
                     float* along, float* y) override {
    return rows_of(shape.tokens * shape.kv_heads,
                   ExcludeValue{o, v, shape.heads / shape.kv_heads, shape.head_dim, unit, norm, along, y, failure()});
  }
  bool exclude_value_backward(const kernels::ExclusiveShape& shape, const float* dy, const float* o, const float* unit,
                              const float* norm, const float* along, float* d_o, float* dv) override {
    return rows_of(shape.tokens * shape.kv_heads,
                   ExcludeValueBackward{dy, o, unit, norm, along, shape.heads / shape.kv_heads, shape.head_dim, d_o, dv,
                                        failure()});
  }
  bool fake_quantise_rows(const float* w, int64_t rows, int64_t columns, ops::FakeForm form, float* out) override {
    return rows_of(rows, FakeQuantiseRows{w, columns, form, kernels::weight_of_largest(ops::kExportQuantile, columns),
                                          out, failure()});
  }

  bool unit_rows(const float* x, int64_t rows, int64_t n, float* y, float* norm) override {
    return rows_of(rows, UnitRows{x, n, y, norm, failure()});
  }
  bool unit_rows_backward(const float* dy, const float* y, const float* norm, int64_t rows, int64_t n,
                          float* dx) override {
    return rows_of(rows, UnitRowsBackward{dy, y, norm, n, dx, failure()});
  }
  bool unit_columns(float* x, int64_t rows, int64_t n) override {
    turned_.resize(static_cast<size_t>(rows * n));
    queue_.launch(TurnMatrices{x, 1, rows, n, turned_.data()});
    queue_.launch(WarpRows<UnitRows>{n, {turned_.data(), rows, turned_.data(), nullptr, failure()}});
    return start(TurnMatrices{turned_.data(), 1, n, rows, x});
  }
  void interpolation_rates(const float* rate, float factor, int64_t n, float* step, float* rest,
                           float* slope) override {
    elements(n, InterpolationRates{rate, factor, step, rest, slope});
  }
  void interpolate(const float* x, const float* a, const float* u, int64_t rows, int64_t n, float* y) override {
    elements(rows * n, Interpolate{x, a, u, n, y});
  }
  void scaled_difference(const float* u, const float* x, const float* s, int64_t rows, int64_t n, float* y) override {
    elements(rows * n, ScaledDifference{u, x, s, n, y});
  }

  bool delta_rule(const kernels::DeltaForward& d) override {
    kernels::check_delta_shape(d.shape);
    states_.resize(static_cast<size_t>(d.shape.sequences * d.shape.heads * d.shape.key_dim * d.shape.value_dim));
    return start(DeltaRule{d, states_.data(), failure()});
  }
  bool delta_rule_backward(const kernels::DeltaBackward& d) override {
    kernels::check_delta_shape(d.shape);
    states_.resize(static_cast<size_t>(d.shape.sequences * d.shape.heads * DeltaRuleBackward::floats(d.shape)));
    return start(DeltaRuleBackward{d, states_.data(), failure()});
  }
  void short_convolution(const float* x, const float* w, int64_t tokens, int64_t length, int64_t n, float* z,
                         float* y) override {
    elements(tokens * n, ShortConvolution{x, w, length, n, z, y});
  }
  void short_convolution_backward(const float* dy, const float* z, const float* w, int64_t tokens, int64_t length,
                                  int64_t n, float* dz, float* dx) override {
    elements(tokens * n, SiluBackward{dy, z, dz});
    elements(tokens * n, ShortConvolutionBackward{dz, w, length, n, dx});
  }
  void moved_back(const float* x, int64_t taps, int64_t tokens, int64_t length, int64_t n, float* earlier) override {
    elements(tokens * n, MovedBack{x, taps, length, n, earlier});
  }
  void delta_gates(const float* a, const float* b, const float* a_log, const float* dt_bias, int64_t tokens,
                   int64_t heads, float* rate, float* time, float* decay, float* beta) override {
    elements(tokens * heads, DeltaGates{a, b, a_log, dt_bias, heads, rate, time, decay, beta});
  }
  void delta_gates_backward(const kernels::DeltaGatesBackward& d) override {
    elements(d.tokens * d.heads, DeltaGatesBackward{d});
  }
  void swish_gate(const float* n, const float* w, const float* g, int64_t count, int64_t m, float* y) override {
    elements(count, SwishGate{n, w, g, m, y});
  }
  void swish_gate_backward(const float* dy, const float* n, const float* w, const float* g, int64_t count, int64_t m,
                           float* gated, float* dg) override {
    elements(count, SwishGateBackward{dy, n, w, g, m, gated, dg});
  }

  void accumulated_mean(const int64_t* acc, int64_t count, float divisor, float* g) override {
    elements(count, AccumulatedMean{acc, divisor, g});
  }
  void round_to_bf16(float* x, int64_t count) override { elements(count, RoundToBf16{x}); }
  bool all_finite(const float* x, int64_t count) override {
    elements(count, CheckFinite{x, failure()});
    return done();
  }
  void adam(const float* g, bool bf16, const ops::AdamStep& step, int64_t count, float* m, float* v,
            float* w) override {
    elements(count, Adam{g, bf16, step, m, v, w});
  }
  void sgd(const float* g, bool bf16, const ops::SgdStep& step, int64_t count, float* u, float* w) override {
    elements(count, Sgd{g, bf16, step, u, w});
  }
  void muon_momentum(float mu, bool bf16, int64_t count, float* u, float* momentum) override {
    elements(count, MuonMomentum{u, momentum, mu, bf16});
  }
  bool newton_schulz(float* u, int64_t count, int64_t rows, int64_t columns, int64_t steps,
                     Products products) override {
    cuda::newton_schulz(queue_, u, count, rows, columns, steps, products, newton_schulz_);
    return done();
  }
  bool mud(float* u, int64_t count, int64_t rows, int64_t columns, int64_t passes, Products products) override {
    cuda::mud(queue_, u, count, rows, columns, passes, products, mud_);
    return done();
  }
  void muon_update(const float* u, float shape_factor, float lr, float decay_before, float decay_after, int64_t count,
                   float* w) override {
    elements(count, MuonUpdate{w, u, shape_factor, lr, decay_before, decay_after});
  }
  void parallel_muon_update(const float* u, float scaled_lr, float decay, int64_t count, float* w) override {
    elements(count, ParallelMuonUpdate{w, u, scaled_lr, decay});
  }
  bool sum_of_squares(std::span<const std::span<const float>> parts, double& total) override {
    const auto body_of = [&](std::span<const float> x) {
      return SquareRows{x.data(), static_cast<int64_t>(x.size()), nullptr, failure()};
    };
    int64_t rows = 0;
    for (std::span<const float> part : parts) rows += body_of(part).rows_per_tensor();
    squares_.resize(static_cast<size_t>(rows));
    int64_t at = 0;
    for (std::span<const float> part : parts) {
      SquareRows body = body_of(part);
      body.values = squares_.data() + at;
      at += body.rows_per_tensor();
      queue_.launch(WarpRows<SquareRows>{body.rows_per_tensor(), body});
    }
    if (!sound()) return false;
    queue_.launch(WarpRows<SquareTotals>{1, {squares_.data(), rows, total_.data()}});
    total_.download(&total);
    return true;
  }
  void add_worker(const float* g, bool bf16, double unit, int64_t count, int64_t* sum) override {
    elements(count, AddWorker{g, bf16, unit, sum});
  }
  void worker_mean(const int64_t* sum, int32_t exponent, float workers, int64_t count, float* g) override {
    elements(count, WorkerMean{sum, exponent, workers, g});
  }
  void average(const float* w, float decay, float rest, int64_t count, float* ema) override {
    elements(count, Average{w, decay, rest, ema});
  }

 private:
  uint32_t* failure() const { return queue_.failure(); }
  bool done() { return !watching_ || sound(); }
  template <class Body>
  bool start(const Body& body) {
    queue_.launch(body);
    return done();
  }
  template <class Row>
  bool rows_of(int64_t count, const Row& row) {
    return start(WarpRows<Row>{count, row});
  }
  template <class Element>
  void elements(int64_t count, const Element& element) {
    queue_.launch(Elements<Element>{count, element});
  }

  Queue queue_;
  AttentionScratch attention_;
  NewtonSchulzScratch newton_schulz_;
  MudScratch mud_;
  kernels::Buffer<uint32_t> maxima_;
  kernels::Buffer<float> turned_, states_;
  kernels::Buffer<double> squares_, total_;
  bool watching_ = false;
};

}  // namespace fairway::cuda
