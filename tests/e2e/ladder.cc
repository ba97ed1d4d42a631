/// The digest ladder: prints "<rung> <SHA-256>" from single functions up to a trained, packed and scored model.
///
/// Goal: when a bit moves anywhere, the lowest rung that moved names the culprit. Every rung's inputs are exact (Philox
/// uniforms or bit patterns), so a rung depends on its own code and on the rungs below it only. FAIRWAY_ISA chooses the
/// instruction set, the first argument the number of threads; neither may change a line. Expected values: ci/digests.json; what every rung hashes: kernels/NUMERICS.md, 29.
/// Non-goal: right values; those are bounded in tests/kernels and tests/engine.
#include "tests/e2e/ladder.h"

#include "engine/model/orthogonal.h"
#include "engine/quant/row_quantiser.h"
#include "kernels/attention.h"
#include "kernels/cpu/parallel.h"
#include "kernels/delta_rule.h"
#include "kernels/elementwise.h"
#include "kernels/exclusive_attention.h"
#include "kernels/fake_quantise.h"
#include "kernels/matmul.h"
#include "kernels/mud.h"
#include "kernels/newton_schulz.h"
#include "kernels/num/exp.h"
#include "kernels/num/log.h"
#include "kernels/num/scalar64.h"
#include "kernels/num/tanh.h"
#include "kernels/num/trig.h"
#include "kernels/ops/smear.h"
#include "kernels/rows.h"
#include "kernels/smear.h"
#include "kernels/unit_vectors.h"

namespace fairway::ladder {
namespace {

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
    Rung r("op.fake_quantise");
    constexpr int64_t rows = 19, columns = 200;
    for (const Floats& w : {uniform(rows * columns, 33, 3.0f), uniform(rows * columns, 34, 0.1f)}) {
      for (auto form : {ops::FakeForm::kInt6Row, ops::FakeForm::kInt6RowMax, ops::FakeForm::kInt8Row}) {
        Floats out(w.size());
        require(kernels::fake_quantise_rows(w.data(), rows, columns, form, out.data()), "op.fake_quantise");
        r.add(out);
      }
    }
  }
  {
    Rung r("op.leaky_relu_squared");
    kernels::leaky_relu_squared(x.data(), 0.5f, tokens * n, y.data());
    kernels::leaky_relu_squared_backward(x.data(), 0.5f, dy.data(), tokens * n, dx.data());
    r.add(y);
    r.add(dx);
  }
  {
    Rung r("op.smear");
    Floats s(n), rest(n), per_token(tokens), dz(tokens), terms(static_cast<size_t>(tokens * ops::kSmearChannels));
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
    require(kernels::smear_tokens_backward(dy.data(), x.data(), gate.data(), per_token.data(), tokens, length, n, dz.data(), terms.data(),
                                           dx.data()),
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
  kernels::NewtonSchulzScratch scratch;
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>{24, 40}, {40, 24}}) {
    Floats u = uniform(static_cast<size_t>(rows * columns), 14, 1e-3f);
    require(kernels::newton_schulz(u.data(), 1, rows, columns, 5, kernels::Products::kS21, scratch), "op.newton_schulz");
    r.add(u);
  }
}

void decorrelation() {
  Rung r("op.mud");
  kernels::MudScratch scratch;
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>{24, 40}, {40, 24}}) {
    Floats u = uniform(static_cast<size_t>(rows * columns), 15, 1e-3f);
    require(kernels::mud(u.data(), 1, rows, columns, 2, kernels::Products::kS21, scratch), "op.mud");
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

}  // namespace

void operations() {
  functions();
  products();
  row_operations();
  feature_operations();
  attention();
  newton_schulz();
  decorrelation();
  unit_vectors();
  delta();
}

}  // namespace fairway::ladder

int main(int argc, char** argv) {
  if (argc > 1) fairway::kernels::set_thread_count(std::atoi(argv[1]));
  fairway::ladder::operations();
  fairway::ladder::models(fairway::kernels::cpu_executor());
  fairway::ladder::exports();
}
