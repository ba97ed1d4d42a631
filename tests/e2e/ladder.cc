/// The digest ladder: prints "<rung> <SHA-256>" from single functions up to a trained, packed and scored model.
///
/// Goal: when a bit moves anywhere, the lowest rung that moved names the culprit. Every rung's inputs are exact (Philox
/// uniforms or bit patterns), so a rung depends on its own code and on the rungs below it only. FAIRWAY_ISA chooses the
/// instruction set, the first argument the number of threads; neither may change a line. Expected values: ci/digests.json.
/// Non-goal: right values; those are bounded in tests/kernels and tests/engine.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/base/sha256.h"
#include "engine/comm/communicator.h"
#include "engine/eval/evaluator.h"
#include "engine/model/gpt.h"
#include "engine/model/orthogonal.h"
#include "engine/optim/mud.h"
#include "engine/optim/newton_schulz.h"
#include "engine/optim/optimizer.h"
#include "engine/replay/artifact.h"
#include "engine/train/state.h"
#include "kernels/accumulate.h"
#include "kernels/attention.h"
#include "kernels/cpu/parallel.h"
#include "kernels/delta_rule.h"
#include "kernels/elementwise.h"
#include "kernels/exclusive_attention.h"
#include "kernels/matmul.h"
#include "kernels/num/exp.h"
#include "kernels/num/log.h"
#include "kernels/num/philox.h"
#include "kernels/num/scalar64.h"
#include "kernels/num/tanh.h"
#include "kernels/num/trig.h"
#include "kernels/rows.h"
#include "kernels/smear.h"
#include "kernels/unit_vectors.h"

namespace fairway {
namespace {

using Floats = std::vector<float>;

/// A failure here is a broken test, not a moved bit.
void require(bool ok, const char* rung) {
  if (ok) return;
  std::fprintf(stderr, "fairway_ladder: %s failed\n", rung);
  std::exit(70);
}

/// A rung being hashed; printed when it goes out of scope.
class Rung {
 public:
  explicit Rung(std::string name) : name_(std::move(name)) {}
  ~Rung() { std::printf("%s %s\n", name_.c_str(), hex(hash_.finish()).c_str()); }
  Rung(const Rung&) = delete;
  Rung& operator=(const Rung&) = delete;
  template <class T>
  void add(const T* data, size_t count) { hash_.update(data, count * sizeof(T)); }
  template <class T>
  void add(const std::vector<T>& v) { add(v.data(), v.size()); }
  template <class T>
  void add_value(const T& v) { add(&v, 1); }

 private:
  std::string name_;
  Sha256 hash_;
};

/// Values in (-scale, scale), all multiples of scale * 2^-23: nothing but integer arithmetic and exact operations.
Floats uniform(size_t count, uint32_t stream, float scale = 1.0f) {
  Floats x(count);
  for (size_t i = 0; i < count; ++i) x[i] = (2.0f * num::uniform(20240520, stream, 0, i) - 1.0f) * scale;
  return x;
}

/// Every `stride`-th bit pattern of [first, last), both signs if asked.
template <class F>
void over_bits(Rung& rung, uint32_t first, uint32_t last, uint32_t stride, bool both_signs, F&& f) {
  Floats out;
  for (uint64_t u = first; u < last; u += stride) {
    const float x = num::float_of(static_cast<uint32_t>(u));
    out.push_back(f(x));
    if (both_signs) out.push_back(f(-x));
  }
  rung.add(out);
}

void functions() {
  {
    Rung r("function.exp2_unit");
    Floats out;
    for (int i = 0; i <= 1 << 16; ++i) out.push_back(num::exp2_unit(static_cast<float>(i) * 0x1p-16f));
    r.add(out);
  }
  {
    Rung r("function.exp");
    over_bits(r, 0, 0x43000000u, 30011, true, [](float x) { return num::exp(x); });
  }
  {
    Rung r("function.log");
    over_bits(r, 1, 0x7f800000u, 50021, false, [](float x) { return num::log(x); });
  }
  {
    Rung r("function.tanh");
    over_bits(r, 0, 0x41c00000u, 30013, true, [](float x) { return num::tanh(x); });
    over_bits(r, 0, 0x42c80000u, 30013, true, [](float x) { return num::sigmoid(x); });
  }
  {
    Rung r("function.sin_cos");
    over_bits(r, 0, 0x48000000u, 30029, true, [](float x) { return num::sin_cos(x).sin; });
    over_bits(r, 0, 0x48000000u, 30029, true, [](float x) { return num::sin_cos(x).cos; });
  }
  {
    Rung r("function.scalar64");
    for (int i = 1; i < 4000; ++i) {
      const double x = static_cast<double>(i) * 0x1.3p-6;
      r.add_value(num::log2_64(x));
      r.add_value(num::exp2_64(x - 20.0));
      r.add_value(num::pow_int_64(0.95, static_cast<uint64_t>(i)));
    }
  }
  {
    Rung r("random.normal");
    Floats out;
    for (uint64_t i = 0; i < 40000; ++i) out.push_back(num::normal(1337, 7, num::kPurposeInit, i));
    r.add(out);
  }
}

void add_quantised(Rung& r, kernels::Quantised& q) {
  for (int s = 0; s < kernels::slices_of_bits(q.bits()); ++s) {
    for (int64_t row = 0; row < q.rows(); ++row) r.add(q.plane(s) + row * q.stride(), static_cast<size_t>(q.columns()));
  }
  r.add(q.exponents(), static_cast<size_t>(q.rows()));
}

void products() {
  constexpr int64_t m = 37, n = 53, k = 515;
  const Floats a = uniform(m * k, 1, 3.0f), b = uniform(n * k, 2, 0.02f);
  {
    Rung r("op.quantise");
    for (int bits : {7, 14, 21}) {
      kernels::Quantised q;
      require(kernels::quantise_rows(a.data(), m, k, k, bits, q), "op.quantise");
      add_quantised(r, q);
      require(kernels::quantise_columns(b.data(), n, k, k, bits, q), "op.quantise");
      add_quantised(r, q);
    }
  }
  struct Kind {
    const char* name;
    kernels::Products products;
  };
  for (const Kind& kind : {Kind{"op.matmul_p3", kernels::Products::kP3}, Kind{"op.matmul_p4", kernels::Products::kP4},
                           Kind{"op.matmul_b21", kernels::Products::kS21}}) {
    Rung r(kind.name);
    const int bits = kernels::bits_of_products(kind.products);
    kernels::Quantised qa, qb;
    require(kernels::quantise_rows(a.data(), m, k, k, bits, qa) && kernels::quantise_rows(b.data(), n, k, k, bits, qb), kind.name);
    Floats c(m * n), gram(m * m);
    kernels::exact_matmul(qa, qb, kind.products, c.data(), n);
    kernels::exact_matmul_self(qa, kind.products, gram.data(), m);
    r.add(c);
    r.add(gram);
  }
}

void row_operations() {
  constexpr int64_t rows = 19, n = 200;
  const Floats x = uniform(rows * n, 3, 5.0f), dy = uniform(rows * n, 4, 0.1f);
  {
    Rung r("op.rms_norm");
    Floats y(rows * n), factor(rows), dx(rows * n), dot(rows);
    require(kernels::rms_norm(x.data(), rows, n, y.data(), factor.data()), "op.rms_norm");
    require(kernels::rms_norm_backward(dy.data(), y.data(), factor.data(), rows, n, dx.data()), "op.rms_norm");
    require(kernels::row_dot(x.data(), dy.data(), rows, n, dot.data()), "op.rms_norm");
    r.add(y);
    r.add(factor);
    r.add(dx);
    r.add(dot);
  }
  {
    Rung r("op.sum_of_squares");
    kernels::SumOfSquares squares;
    const Floats big = uniform(20000, 5, 1e-3f);
    require(squares.add(x) && squares.add(big), "op.sum_of_squares");
    r.add_value(squares.total());
  }
  {
    Rung r("op.rope");
    Floats table(33 * 16), rotated = uniform(33 * 4 * 16, 6);
    for (bool bf16 : {false, true}) {
      kernels::rope_table(33, 16, 10000.0, bf16, table.data());
      r.add(table);
    }
    kernels::rope(rotated.data(), 33, 33, 4, 16, 16, table.data(), false);
    r.add(rotated);
    kernels::rope(rotated.data(), 33, 33, 4, 16, 16, table.data(), true);
    r.add(rotated);
  }
  {
    Rung r("op.cross_entropy");
    constexpr int64_t vocab = 300;
    std::vector<uint16_t> targets(rows);
    for (size_t i = 0; i < rows; ++i) targets[i] = static_cast<uint16_t>(i * 15);
    for (float cap : {0.0f, 30.0f}) {
      Floats logits = uniform(rows * vocab, 8, 12.0f), nll(rows);
      require(kernels::cross_entropy(logits.data(), rows, vocab, cap, targets.data(), nll.data(), true), "op.cross_entropy");
      r.add(nll);
      r.add(logits);
    }
  }
}

void feature_operations() {
  constexpr int64_t length = 11, tokens = 2 * length, n = 48, heads = 6, kv_heads = 2, dim = 8;
  const Floats x = uniform(tokens * n, 20, 2.0f), dy = uniform(tokens * n, 21, 0.1f), gate = uniform(n, 22, 3.0f);
  Floats y(x.size()), dx(x.size());
  {
    Rung r("op.leaky_relu_squared");
    kernels::leaky_relu_squared(x.data(), 0.5f, tokens * n, y.data());
    kernels::leaky_relu_squared_backward(x.data(), 0.5f, dy.data(), tokens * n, dx.data());
    r.add(y);
    r.add(dx);
  }
  {
    Rung r("op.smear");
    Floats s(n), rest(n), per_token(tokens), dz(tokens);
    for (size_t c = 0; c < n; ++c) {
      s[c] = num::sigmoid(gate[c]);
      rest[c] = 1.0f - s[c];
    }
    kernels::smear_channels(x.data(), rest.data(), s.data(), tokens, length, n, y.data());
    r.add(y);
    kernels::smear_channels_backward(dy.data(), rest.data(), s.data(), tokens, length, n, dx.data());
    r.add(dx);
    kernels::smear_gate_terms(dy.data(), x.data(), s.data(), true, tokens, length, n, dx.data());
    r.add(dx);
    require(kernels::smear_tokens(x.data(), gate.data(), -2.0f, tokens, length, n, per_token.data(), y.data()), "op.smear");
    require(kernels::smear_tokens_backward(dy.data(), x.data(), gate.data(), per_token.data(), tokens, length, n, dz.data(), dx.data()),
            "op.smear");
    r.add(y);
    r.add(dz);
    r.add(dx);
  }
  {
    Rung r("op.exclusive_attention");
    const Floats v = uniform(tokens * kv_heads * dim, 23, 1.5f);
    Floats unit(v.size()), norm(tokens * kv_heads), along(tokens * heads), dv(v.size());
    const kernels::ExclusiveShape shape{tokens, heads, kv_heads, dim};
    require(kernels::exclude_value(shape, x.data(), v.data(), unit.data(), norm.data(), along.data(), y.data()), "exclusive");
    require(kernels::exclude_value_backward(shape, dy.data(), x.data(), unit.data(), norm.data(), along.data(), dx.data(), dv.data()),
            "exclusive");
    r.add(y);
    r.add(along);
    r.add(dx);
    r.add(dv);
  }
  {
    Rung r("random.orthogonal");
    for (auto [rows, columns] : {std::pair<int64_t, int64_t>{40, 24}, {24, 40}}) {
      Floats q(static_cast<size_t>(rows * columns));
      model::draw_orthogonal(1337, 7, rows, columns, q.data());
      r.add(q);
    }
  }
}

void attention() {
  constexpr int64_t sequences = 2, length = 150, heads = 4, kv_heads = 2, dim = 32, tokens = sequences * length;
  const Floats q = uniform(tokens * heads * dim, 10, 2.0f), k = uniform(tokens * kv_heads * dim, 11, 2.0f),
               v = uniform(tokens * kv_heads * dim, 12, 1.5f), dout = uniform(tokens * heads * dim, 13, 0.01f);
  const kernels::AttentionShape shape{sequences, length, heads, kv_heads, dim, kernels::Products::kP3};
  Floats out(q.size()), dq(q.size()), dk(k.size()), dv(v.size());
  std::vector<int32_t> row_max(tokens * heads);
  std::vector<int64_t> row_units(tokens * heads);
  {
    Rung r("op.attention_forward");
    require(kernels::attention_forward({shape, q.data(), k.data(), v.data(), out.data(), row_max.data(), row_units.data()}), "attention");
    r.add(out);
    r.add(row_max);
    r.add(row_units);
  }
  {
    Rung r("op.attention_backward");
    require(kernels::attention_backward({shape, q.data(), k.data(), v.data(), dout.data(), row_max.data(), row_units.data(), dq.data(),
                                         dk.data(), dv.data()}),
            "attention");
    r.add(dq);
    r.add(dk);
    r.add(dv);
  }
}

void newton_schulz() {
  Rung r("op.newton_schulz");
  optim::NewtonSchulzScratch scratch;
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>{24, 40}, {40, 24}}) {
    Floats u = uniform(static_cast<size_t>(rows * columns), 14, 1e-3f);
    require(optim::newton_schulz(u.data(), 1, rows, columns, 5, kernels::Products::kS21, scratch), "op.newton_schulz");
    r.add(u);
  }
}

void decorrelation() {
  Rung r("op.mud");
  optim::MudScratch scratch;
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>{24, 40}, {40, 24}}) {
    Floats u = uniform(static_cast<size_t>(rows * columns), 15, 1e-3f);
    require(optim::mud(u.data(), rows, columns, 2, kernels::Products::kS21, scratch), "op.mud");
    r.add(u);
  }
}

void unit_vectors() {
  constexpr int64_t rows = 19, n = 200;
  Rung r("op.unit_vectors");
  Floats x = uniform(rows * n, 24, 5.0f), dy = uniform(rows * n, 25, 0.1f), y(x.size()), norm(rows), dx(x.size());
  require(kernels::unit_rows(x.data(), rows, n, y.data(), norm.data()), "op.unit_vectors");
  require(kernels::unit_rows_backward(dy.data(), y.data(), norm.data(), rows, n, dx.data()), "op.unit_vectors");
  require(kernels::unit_columns(x.data(), rows, n), "op.unit_vectors");
  r.add(y);
  r.add(norm);
  r.add(dx);
  r.add(x);
}

void delta() {
  constexpr int64_t sequences = 2, length = 70, heads = 3, n = 8, m = 12, rows = sequences * length * heads;
  Rung r("op.delta_rule");
  const Floats q = uniform(rows * n, 26), k = uniform(rows * n, 27, 0.4f), v = uniform(rows * m, 28, 2.0f), dout = uniform(rows * m, 29, 0.1f),
               w = uniform(4 * heads * n, 32, 0.5f);
  Floats decay = uniform(rows, 30, 0.1f), beta = uniform(rows, 31, 0.5f), out(rows * m), dq(q.size()), dk(k.size()), dv(v.size()), ddecay(rows),
         dbeta(rows), z(q.size()), y(q.size()), dz(q.size()), dx(q.size());
  for (float& d : decay) d += 0.875f;
  for (float& b : beta) b += 0.5f;
  const kernels::DeltaShape shape{sequences, length, heads, n, m};
  require(kernels::delta_rule({shape, q.data(), k.data(), v.data(), decay.data(), beta.data(), out.data()}), "op.delta_rule");
  require(kernels::delta_rule_backward({shape, q.data(), k.data(), v.data(), decay.data(), beta.data(), dout.data(), dq.data(), dk.data(), dv.data(),
                                        ddecay.data(), dbeta.data()}),
          "op.delta_rule");
  kernels::short_convolution(q.data(), w.data(), sequences * length, length, heads * n, z.data(), y.data());
  kernels::short_convolution_backward(k.data(), z.data(), w.data(), sequences * length, length, heads * n, dz.data(), dx.data());
  for (const Floats* x : {&out, &dq, &dk, &dv, &ddecay, &dbeta, &y, &dz, &dx}) r.add(*x);
}

submission::Submission tiny(int64_t layers) {
  submission::Submission s;
  s.name = "ladder";
  s.model.vocab_size = 256;
  s.model.layers = layers;
  s.model.width = 64;
  s.model.heads = 4;
  s.model.kv_heads = 2;
  s.model.mlp_hidden = 96;
  s.train.seq_len = 80;
  s.train.grad_chunk_tokens = 160;
  s.train.batch_tokens = 320;
  auto scheme = quant::scheme_by_name("int8");
  require(static_cast<bool>(scheme), "scheme");
  s.scheme = *scheme;
  s.scheme.small_tensor_max_elements = 4000;  // so that matrices of this size are quantised too
  s.codec = quant::kZlib9;
  return s;
}

std::vector<uint16_t> tokens(size_t count, uint64_t key) {
  std::vector<uint16_t> out(count);
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<uint16_t>(num::philox(key, i / 4, 0, 0).word[0] % 256);
  return out;
}

/// One step's chunks, forward and backward; gradients are left in the accumulators.
void run_step(const submission::Submission& s, model::Gpt& model, int64_t step, Rung* losses) {
  const size_t chunk = static_cast<size_t>(s.train.grad_chunk_tokens);
  for (auto& p : model.parameters()) p->clear_gradient();
  for (int64_t c = 0; c < s.chunks_per_step(); ++c) {
    const auto stream = tokens(chunk + 1, static_cast<uint64_t>(step * 100 + c));
    model::Batch batch;
    batch.sequences = s.train.grad_chunk_tokens / s.train.seq_len;
    batch.length = s.train.seq_len;
    batch.inputs = std::span(stream).first(chunk);
    batch.targets = std::span(stream).subspan(1);
    batch.training = true;
    batch.term_limit = kernels::term_limit(s.train.batch_tokens * s.model.terms_per_parameter());
    batch.chunk_term_limit = kernels::term_limit(s.chunks_per_step() * s.model.terms_per_parameter());
    require(static_cast<bool>(model.tape().forward(batch)), "forward");
    if (losses != nullptr) losses->add(model.tape().nll().data(), model.tape().nll().size());
    require(static_cast<bool>(model.tape().backward()), "backward");
  }
}

void add_parameters(Rung& r, const model::Gpt& model) {
  for (const auto& p : model.parameters()) r.add(std::as_const(*p).value(), static_cast<size_t>(p->count()));
}

/// Zero projections hide the blocks' gradients; a fixed perturbation of them does not.
void fill_projections(model::Gpt& model) {
  uint32_t stream = 100;
  for (auto& p : model.parameters()) {
    if (!p->name().ends_with(".proj.weight")) continue;
    const Floats values = uniform(static_cast<size_t>(p->count()), stream++, 0.05f);
    std::copy(values.begin(), values.end(), p->value());
    p->changed();
  }
}

void one_layer() {
  const submission::Submission s = tiny(1);
  model::Gpt model(s.model);
  {
    Rung r("model.initial_weights");
    model.initialise(1337);
    add_parameters(r, model);
  }
  fill_projections(model);
  Rung gradients("model.layer_gradients"), losses("model.layer_forward");  // printed in reverse: the forward pass is the lower rung
  run_step(s, model, 0, &losses);
  for (auto& p : model.parameters()) gradients.add(p->gradient(), static_cast<size_t>(p->count()));
}

void training() {
  submission::Submission s = tiny(3);
  s.optimizer.grad_clip_norm = 0.5;
  model::Gpt model(s.model);
  model.initialise(42);
  optim::Optimizer optimizer(s.optimizer, model);
  for (int64_t step = 0; step < 5; ++step) {
    run_step(s, model, step, nullptr);
    require(static_cast<bool>(optimizer.step(step, 1.0, s.train.batch_tokens)), "optimizer");
    if (step != 0 && step != 4) continue;
    Rung r(step == 0 ? "train.one_step" : "train.five_steps");
    r.add_value(train::state_root(model, optimizer, step + 1));
  }
  auto packed = replay::pack(model, s);
  require(static_cast<bool>(packed), "export.container");
  {
    Rung r("export.container");
    r.add(packed->container);
  }
  require(static_cast<bool>(replay::unpack(packed->container, s, "ladder", model)), "unpack");
  Rung r("eval.scores");
  const auto stream = tokens(801, 5);
  auto communicator = comm::single_process();
  for (auto method : {eval::Method::kStandard, eval::Method::kSlidingB}) {
    const int64_t stride = method == eval::Method::kStandard ? 80 : 16;
    auto scores = eval::evaluate(model, {{method, 80, stride}, stream, nullptr, communicator.get(), {}, ""});
    require(static_cast<bool>(scores), "eval.scores");
    r.add_value(scores->stream_sha256);
    r.add_value(scores->val_loss);
  }
}

/// Every operation that can be combined, the loops of a recurrent model, and the optimizer of the banked systems.
void features() {
  submission::Submission s = tiny(4);
  model::ModelConfig& m = s.model;
  m.rope_dims = 8;
  m.rope_reference_length = 50;
  m.ln_scale = true;
  m.xsa_last_n = 3;
  m.mlp_slope = 0.5f;
  m.smear = model::SmearForm::kBlend;
  m.bigram_buckets = 97;
  m.bigram_dim = 64;
  m.trigrams = true;
  m.value_dim = 16;
  m.value_layers = {2, 3};
  m.value_residual = m.gated_attention = true;
  m.mtp_heads = 1;
  m.matrix_init = model::MatrixInit::kOrthogonalBanks;
  m.projection_group = model::ProjectionGroup::kAdam;
  m.qat = model::Qat::kInt6RowMax;
  s.optimizer.grad_clip_norm = 0.3;
  s.optimizer.clip_scope = optim::ClipScope::kWorker;
  s.optimizer.muon = optim::MuonKind::kParallel;
  s.optimizer.muon_wd = s.optimizer.adam_wd = 0.04;
  s.optimizer.averages = {0.9, 2, 0.0, 0, true, optim::FinalWeights::kEma};
  model::Gpt model(s.model);
  model.initialise(42);
  optim::Optimizer optimizer(s.optimizer, model);
  {
    Rung r("model.every_feature");
    add_parameters(r, model);
    run_step(s, model, 0, &r);
    for (auto& p : model.parameters()) r.add(p->gradient(), static_cast<size_t>(p->count()));
  }
  Rung r("train.parallel_muon");
  for (int64_t step = 0; step < 3; ++step) {
    for (int64_t worker = 0; worker < 2; ++worker) {
      run_step(s, model, step * 2 + worker, nullptr);
      require(static_cast<bool>(optimizer.take_worker(s.train.batch_tokens)), "worker");
    }
    require(static_cast<bool>(optimizer.step_of_workers(step, 1.0, 2)), "optimizer");
  }
  r.add_value(train::state_root(model, optimizer, 3));
}

/// What replaces attention, the MLP, the residual stream or the iteration as a whole; each trained for two steps.
void variants() {
  auto train = [](const char* rung, submission::Submission s) {
    model::Gpt model(s.model);
    model.initialise(42);
    optim::Optimizer optimizer(s.optimizer, model);
    Rung r(rung);
    add_parameters(r, model);
    for (int64_t step = 0; step < 2; ++step) {
      run_step(s, model, step, &r);
      require(static_cast<bool>(optimizer.step(step, 1.0, s.train.batch_tokens)), rung);
    }
    r.add_value(train::state_root(model, optimizer, 2));
  };
  submission::Submission s = tiny(3);
  s.model.mlp_blocks = 2;
  s.model.delta_layers = {0, 1};
  s.model.delta_heads = 3;
  s.model.delta_key_dim = 8;
  s.model.delta_value_dim = 16;
  s.optimizer.whitening = optim::Whitening::kMud;
  train("train.gated_delta", s);
  s = tiny(2);
  s.model.hypersphere = true;
  s.model.unet_skips = false;
  train("train.hypersphere", s);
}

}  // namespace
}  // namespace fairway

int main(int argc, char** argv) {
  if (argc > 1) fairway::kernels::set_thread_count(std::atoi(argv[1]));
  fairway::functions();
  fairway::products();
  fairway::row_operations();
  fairway::feature_operations();
  fairway::attention();
  fairway::newton_schulz();
  fairway::decorrelation();
  fairway::unit_vectors();
  fairway::delta();
  fairway::one_layer();
  fairway::training();
  fairway::features();
  fairway::variants();
}
