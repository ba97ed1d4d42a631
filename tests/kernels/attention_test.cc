// Attention: its error against binary64, its bits against a scalar transcription of the definition, and N6: no bit of
// an output depends on later tokens, on the other sequences of a batch, on the instruction set or on the number of
// threads.
#include "kernels/attention.h"

#include <algorithm>
#include <limits>

#include "attention_definition.h"
#include "kernels/ops/attention.h"
#include "support.h"

namespace fairway::kernels {
namespace {

using test::Floats;

struct Inputs {
  AttentionShape shape;
  Floats q, k, v, dout;
};

struct Outputs {
  Floats out, dq, dk, dv;
  std::vector<int32_t> row_max;
  std::vector<int64_t> row_units;
};

enum class Kind {
  kGaussian,
  kPeaked,          ///< queries four times as large: a few keys hold most of a row
  kSink,            ///< all queries lean towards one direction, the first key's: 99 % of the mass on it
  kOutlierTokens,   ///< one token in fifty has values and gradients thirty times as large
  kSinkChannel,     ///< a sink made by a single channel, which dwarfs the first key's others
  kOutlierChannel,  ///< one channel of the keys and one of the values thirty times as large
};
constexpr Kind kKinds[] = {Kind::kGaussian,      Kind::kPeaked,      Kind::kSink,
                           Kind::kOutlierTokens, Kind::kSinkChannel, Kind::kOutlierChannel};

std::string name(Kind kind) {
  const char* names[] = {"gaussian", "peaked", "sink", "outlier tokens", "sink channel", "outlier channel"};
  return names[static_cast<int>(kind)];
}

Inputs make(Kind kind, const AttentionShape& s, uint64_t seed) {
  const size_t tokens = static_cast<size_t>(s.sequences * s.length), depth = static_cast<size_t>(s.head_dim);
  const size_t width = static_cast<size_t>(s.heads) * depth, kv_width = static_cast<size_t>(s.kv_heads) * depth;
  Inputs x{s, test::gaussian(tokens * width, seed), test::gaussian(tokens * kv_width, seed + 1),
           test::gaussian(tokens * kv_width, seed + 2), test::gaussian(tokens * width, seed + 3)};
  const float length = static_cast<float>(s.length), root = std::sqrt(static_cast<float>(s.head_dim));
  auto first_of_sequence = [&](size_t i) { return i / kv_width % static_cast<size_t>(s.length) == 0; };
  if (kind == Kind::kPeaked) {
    for (float& v : x.q) v *= 4.0f;
  } else if (kind == Kind::kSink) {
    Floats direction = test::gaussian(depth, seed + 4);
    float norm = 0.0f;
    for (float d : direction) norm += d * d;
    for (size_t i = 0; i < x.q.size(); ++i) x.q[i] += direction[i % depth];
    const float gain = (std::log(99.0f * length) + 1.0f) * root / norm;
    for (size_t i = 0; i < x.k.size(); ++i) {
      if (first_of_sequence(i)) x.k[i] = gain * direction[i % depth];
    }
  } else if (kind == Kind::kOutlierTokens) {
    for (size_t i = 0; i < x.v.size(); ++i) x.v[i] *= i / kv_width % 50 == 20 ? 30.0f : 1.0f;
    for (size_t i = 0; i < x.dout.size(); ++i) x.dout[i] *= i / width % 50 == 30 ? 30.0f : 1.0f;
  } else if (kind == Kind::kSinkChannel) {
    for (size_t i = 0; i < x.q.size(); i += depth) x.q[i] = 4.0f;
    for (size_t i = 0; i < x.k.size(); i += depth)
      x.k[i] = first_of_sequence(i) ? std::log(99.0f * length) * root / 4.0f : 0.0f;
  } else if (kind == Kind::kOutlierChannel) {
    // The queries' share of the channel is small, as in trained models.
    for (size_t i = 1; i < x.q.size(); i += depth) x.q[i] *= 0.1f;
    for (size_t i = 1; i < x.k.size(); i += depth) x.k[i] *= 30.0f;
    for (size_t i = 2; i < x.v.size(); i += depth) x.v[i] *= 30.0f;
  }
  return x;
}

bool forward(const Inputs& x, Outputs& y) {
  const size_t rows = static_cast<size_t>(x.shape.sequences * x.shape.length * x.shape.heads);
  y.out.assign(x.q.size(), -1.0f);
  y.row_max.assign(rows, 0);
  y.row_units.assign(rows, 0);
  return attention_forward(
      {x.shape, x.q.data(), x.k.data(), x.v.data(), y.out.data(), y.row_max.data(), y.row_units.data()});
}

bool backward(const Inputs& x, Outputs& y) {
  y.dq.assign(x.q.size(), -1.0f);
  y.dk.assign(x.k.size(), -1.0f);
  y.dv.assign(x.v.size(), -1.0f);
  return attention_backward({x.shape, x.q.data(), x.k.data(), x.v.data(), x.dout.data(), y.row_max.data(),
                             y.row_units.data(), y.dq.data(), y.dk.data(), y.dv.data()});
}

Outputs run(const Inputs& x) {
  Outputs y;
  EXPECT_TRUE(forward(x, y));
  EXPECT_TRUE(backward(x, y));
  return y;
}

void expect_same(const Outputs& a, const Outputs& b, const std::string& where) {
  EXPECT_TRUE(test::same_bits(a.out, b.out)) << "out, " << where;
  EXPECT_TRUE(test::same_bits(a.row_max, b.row_max)) << "row_max, " << where;
  EXPECT_TRUE(test::same_bits(a.row_units, b.row_units)) << "row_units, " << where;
  EXPECT_TRUE(test::same_bits(a.dq, b.dq)) << "dq, " << where;
  EXPECT_TRUE(test::same_bits(a.dk, b.dk)) << "dk, " << where;
  EXPECT_TRUE(test::same_bits(a.dv, b.dv)) << "dv, " << where;
}

struct Reference {
  std::vector<double> out, dq, dk, dv;
};

/// Softmax attention and its derivatives in binary64.
Reference reference(const Inputs& x) {
  const AttentionShape& s = x.shape;
  const int64_t T = s.length, D = s.head_dim, group = s.heads / s.kv_heads;
  Reference r{std::vector<double>(x.q.size()), std::vector<double>(x.q.size()), std::vector<double>(x.k.size()),
              std::vector<double>(x.v.size())};
  const double root = 1.0 / std::sqrt(static_cast<double>(D));
  std::vector<double> p(static_cast<size_t>(T)), dp(static_cast<size_t>(T));
  auto dot = [&](const float* a, const float* b) {
    double sum = 0.0;
    for (int64_t d = 0; d < D; ++d) sum += static_cast<double>(a[d]) * b[d];
    return sum;
  };
  for (int64_t n = 0; n < s.sequences; ++n) {
    for (int64_t h = 0; h < s.heads; ++h) {
      for (int64_t i = 0; i < T; ++i) {
        const int64_t qi = ((n * T + i) * s.heads + h) * D;
        auto key = [&](int64_t j) { return ((n * T + j) * s.kv_heads + h / group) * D; };
        double max = -std::numeric_limits<double>::infinity(), sum = 0.0, delta = 0.0;
        for (int64_t j = 0; j <= i; ++j) {
          p[static_cast<size_t>(j)] = dot(&x.q[static_cast<size_t>(qi)], &x.k[static_cast<size_t>(key(j))]) * root;
          max = std::max(max, p[static_cast<size_t>(j)]);
        }
        for (int64_t j = 0; j <= i; ++j) {
          double& e = p[static_cast<size_t>(j)];
          e = std::exp(e - max);
          sum += e;
        }
        for (int64_t j = 0; j <= i; ++j) {
          p[static_cast<size_t>(j)] /= sum;
          dp[static_cast<size_t>(j)] = dot(&x.dout[static_cast<size_t>(qi)], &x.v[static_cast<size_t>(key(j))]);
          delta += p[static_cast<size_t>(j)] * dp[static_cast<size_t>(j)];
        }
        for (int64_t j = 0; j <= i; ++j) {
          const double probability = p[static_cast<size_t>(j)];
          const double ds = probability * (dp[static_cast<size_t>(j)] - delta) * root;
          for (int64_t d = 0; d < D; ++d) {
            const size_t at = static_cast<size_t>(qi + d), to = static_cast<size_t>(key(j) + d);
            r.out[at] += probability * x.v[to];
            r.dq[at] += ds * x.k[to];
            r.dk[to] += ds * x.q[at];
            r.dv[to] += probability * x.dout[at];
          }
        }
      }
    }
  }
  return r;
}

struct Bounds {
  double out, dq, dk, dv;
};

void expect_accurate(const Inputs& x, const Bounds& bounds, const std::string& what, bool print = true) {
  Outputs y = run(x);
  Reference r = reference(x);
  const double out = test::relative_error(y.out, r.out), dq = test::relative_error(y.dq, r.dq),
               dk = test::relative_error(y.dk, r.dk), dv = test::relative_error(y.dv, r.dv);
  if (print) std::printf("  %-24s out %.2e  dq %.2e  dk %.2e  dv %.2e\n", what.c_str(), out, dq, dk, dv);
  EXPECT_LE(out, bounds.out) << what;
  EXPECT_LE(dq, bounds.dq) << what;
  EXPECT_LE(dk, bounds.dk) << what;
  EXPECT_LE(dv, bounds.dv) << what;
}

// The bounds of the definition: 14 bits, all but low * low, up to 2,048 tokens of 64 channels.
constexpr Bounds kP3Bounds{3.3e-4, 6.4e-4, 1.0e-3, 3.7e-4};
// A channel that dwarfs the others takes their bits: every token has one scale. Measured here, rounded up.
constexpr Bounds kP3ChannelBounds{1.5e-3, 2.0e-3, 1.6e-3, 1.4e-3};

Bounds bounds_of(Kind kind) {
  return kind == Kind::kSinkChannel || kind == Kind::kOutlierChannel ? kP3ChannelBounds : kP3Bounds;
}

TEST(AttentionAccuracy, ErrorsStayWithinTheDefinitionsBoundsOnEveryKindOfInput) {
  for (Kind kind : kKinds) {
    expect_accurate(make(kind, {1, 1024, 2, 1, 64, Products::kP3}, 10), bounds_of(kind), name(kind) + " p3");
  }
}

TEST(AttentionAccuracy, FourProductsStayWithinTheBoundsOfThree) {
  for (Kind kind : kKinds) {
    expect_accurate(make(kind, {1, 1024, 1, 1, 64, Products::kP4}, 11), bounds_of(kind), name(kind) + " p4");
  }
}

TEST(AttentionAccuracy, TwentyOneBitsGainAFactorOfFifty) {
  for (Kind kind : kKinds) {
    Bounds b = bounds_of(kind);
    b = {b.out / 50, b.dq / 50, b.dk / 50, b.dv / 50};
    expect_accurate(make(kind, {1, 1024, 1, 1, 64, Products::kS21}, 12), b, name(kind) + " s21");
  }
}

TEST(AttentionAccuracy, HoldsForEveryHeadWidthAndAwkwardLength) {
  for (int64_t depth : {16, 32, 64, 128}) {
    for (int64_t length :
         {5, 63, 64, 65, 200}) {  // with one token dq and dk are zero: ASingleTokenAttendsToItselfAlone
      for (Products p : {Products::kP3, Products::kP4, Products::kS21}) {
        Inputs x = make(Kind::kGaussian, {2, length, 4, 2, depth, p}, 20);
        expect_accurate(x, kP3Bounds, "D " + std::to_string(depth) + ", T " + std::to_string(length), false);
      }
    }
  }
}

TEST(Attention, EqualsTheDefinitionWrittenOutElementByElement) {
  for (Products p : {Products::kP3, Products::kP4, Products::kS21}) {
    for (int64_t group : {1, 2, 4}) {
      for (int64_t depth : {16, 32, 64, 128}) {
        for (int64_t length : {1, 5, 63, 64, 65, 200}) {
          const auto kind = kKinds[(length + depth / 16 + group) % 6];
          Inputs x = make(kind, {1, length, group, 1, depth, p}, static_cast<uint64_t>(length * depth));
          Outputs y = run(x);
          AttentionDefinition d(x.shape, x.q, x.k, x.v, x.dout);
          const std::string where = name(kind) + ", " + std::to_string(length) + " tokens, depth " +
                                    std::to_string(depth) + ", group " + std::to_string(group);
          expect_same({d.out, d.dq, d.dk, d.dv, d.row_max, d.row_units}, y, where);
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST(Attention, EqualsTheDefinitionForWildMagnitudes) {
  // Tokens whose sizes span sixty powers of two: shifts beyond 31 and 126, groups of subnormal terms, zero rows.
  std::mt19937_64 engine(77);
  for (int round = 0; round < 12; ++round) {
    Inputs x = make(Kind::kGaussian, {1, 150, 2, 1, 32, round % 2 == 0 ? Products::kP3 : Products::kS21},
                    100u + static_cast<uint64_t>(round));
    auto scale_tokens = [&](Floats& m, int low, int high) {
      for (size_t t = 0; t < m.size(); t += 32) {
        const float factor =
            engine() % 16 == 0
                ? 0.0f
                : std::ldexp(1.0f, low + static_cast<int>(engine() % static_cast<uint64_t>(high - low + 1)));
        for (size_t d = 0; d < 32; ++d) m[t + d] *= factor;
      }
    };
    scale_tokens(x.q, -10, 6);
    scale_tokens(x.k, -10, 6);
    scale_tokens(x.v, -50, 30);
    scale_tokens(x.dout, -50, 30);
    Outputs y = run(x);
    AttentionDefinition d(x.shape, x.q, x.k, x.v, x.dout);
    expect_same({d.out, d.dq, d.dk, d.dv, d.row_max, d.row_units}, y, "round " + std::to_string(round));
    if (HasFailure()) return;
  }
}

TEST(Probability, IsExactAndItsUnitsAreRoundedToNearestEven) {
  std::mt19937_64 engine(78);
  for (int round = 0; round < 1000000; ++round) {
    const int32_t max = static_cast<int32_t>(engine() % 200) - 100;
    // Integers and short fractions make f = 1 and ties; the others fill [0, 1), for every shift from 0 to beyond 126.
    const float fraction = round % 3 == 0 ? 0.0f : static_cast<float>(engine() >> 40) * 0x1p-24f;
    const float t = static_cast<float>(max - static_cast<int32_t>(engine() % 140)) + fraction;
    if (std::floor(t) > static_cast<float>(max)) continue;
    const double n = std::max(std::floor(static_cast<double>(t)), static_cast<double>(max - 128));
    const double f = static_cast<double>(num::exp2_unit(t - static_cast<float>(std::floor(t))));
    const double p = std::ldexp(f, static_cast<int>(n) - max);
    const ops::Probability got = ops::probability(t, max);
    ASSERT_EQ(static_cast<double>(got.p), static_cast<double>(max) - n > 126.0 ? 0.0 : p) << t << " " << max;
    ASSERT_EQ(static_cast<double>(got.units), std::nearbyint(std::ldexp(p, 30))) << t << " " << max;
  }
}

TEST(Attention, InstructionSetsAndThreadCountsChangeNoBit) {
  for (Products p : {Products::kP3, Products::kP4, Products::kS21}) {
    for (int64_t depth : {32, 48, 64}) {
      for (Kind kind : kKinds) {
        Inputs x = make(kind, {2, 130, 4, 2, depth, p}, 30);
        Outputs first = run(x);
        test::on_every_machine([&](const std::string& machine) { expect_same(first, run(x), machine); });
      }
    }
  }
}

/// Replaces every token from `cut` on, in q, k and v; the new keys and values are `growth` times as large. (Queries as
/// well would leave the range of scores, which is reported: ReportsScoresBeyondTheRangeOfTheShift.)
void change_later_tokens(Inputs& x, int64_t cut, uint64_t seed, float growth) {
  auto change = [&](Floats& m, int64_t width, uint64_t s, float scale) {
    Floats fresh = test::gaussian(m.size(), s, scale);
    std::copy(fresh.begin() + cut * width, fresh.end(), m.begin() + cut * width);
  };
  change(x.q, x.shape.heads * x.shape.head_dim, seed, 1.0f);
  change(x.k, x.shape.kv_heads * x.shape.head_dim, seed + 1, growth);
  change(x.v, x.shape.kv_heads * x.shape.head_dim, seed + 2, growth);
}

void expect_same_prefix(const Floats& a, const Floats& b, int64_t count, const std::string& where) {
  Floats x(a.begin(), a.begin() + count), y(b.begin(), b.begin() + count);
  EXPECT_TRUE(test::same_bits(x, y)) << where;
}

TEST(AttentionCausality, ChangingOrGrowingLaterTokensChangesNoEarlierBit) {
  for (Products p : {Products::kP3, Products::kP4, Products::kS21}) {
    for (float growth : {1.0f, 1e4f}) {
      for (int64_t cut : {1, 2, 63, 64, 65, 100, 199}) {
        Inputs x = make(Kind::kGaussian, {1, 200, 4, 2, 64, p}, 40);
        Outputs before, after;
        ASSERT_TRUE(forward(x, before));
        change_later_tokens(x, cut, 50, growth);
        ASSERT_TRUE(forward(x, after));
        expect_same_prefix(before.out, after.out, cut * 4 * 64, "cut at " + std::to_string(cut));
        EXPECT_FALSE(test::same_bits(before.out, after.out));
      }
    }
  }
}

TEST(AttentionCausality, APrefixRunAloneGivesTheBitsOfTheWhole) {
  Inputs x = make(Kind::kPeaked, {1, 200, 2, 1, 64, Products::kP3}, 41);
  Outputs whole;
  ASSERT_TRUE(forward(x, whole));
  for (int64_t length : {1, 2, 63, 64, 65, 128, 150, 199}) {
    Inputs prefix = x;
    prefix.shape.length = length;
    prefix.q.resize(static_cast<size_t>(length * 128));
    prefix.k.resize(static_cast<size_t>(length * 64));
    prefix.v.resize(static_cast<size_t>(length * 64));
    Outputs y;
    ASSERT_TRUE(forward(prefix, y));
    expect_same_prefix(y.out, whole.out, length * 128, "prefix of " + std::to_string(length));
  }
}

TEST(AttentionCausality, TheOtherSequencesOfABatchChangeNoBit) {
  const AttentionShape shape{3, 100, 4, 2, 32, Products::kP3};
  Inputs batch = make(Kind::kGaussian, shape, 42);
  for (size_t i = 0; i < batch.v.size() / 3; ++i) batch.v[i] *= 1e6f;  // a huge neighbour must not be felt
  Outputs together = run(batch);
  for (int64_t n = 0; n < 3; ++n) {
    Inputs alone{shape, {}, {}, {}, {}};
    alone.shape.sequences = 1;
    auto part = [&](const Floats& m) {
      const auto each = static_cast<std::ptrdiff_t>(m.size() / 3);
      return Floats(m.begin() + n * each, m.begin() + (n + 1) * each);
    };
    alone.q = part(batch.q);
    alone.k = part(batch.k);
    alone.v = part(batch.v);
    alone.dout = part(batch.dout);
    Outputs y = run(alone);
    EXPECT_TRUE(test::same_bits(y.out, part(together.out))) << n;
    EXPECT_TRUE(test::same_bits(y.dq, part(together.dq))) << n;
    EXPECT_TRUE(test::same_bits(y.dk, part(together.dk))) << n;
    EXPECT_TRUE(test::same_bits(y.dv, part(together.dv))) << n;
  }
}

TEST(Attention, ReportsInputThatIsNotFiniteOrTooLargeInAnyArgument) {
  const float bad_values[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity(), 0x1p101f};
  for (float bad : bad_values) {
    for (size_t position : {size_t{0}, size_t{70 * 32 + 5}, size_t{99 * 32 + 31}}) {
      for (int which = 0; which < 4; ++which) {
        Inputs x = make(Kind::kGaussian, {1, 100, 1, 1, 32, Products::kP3}, 43);
        Outputs y = run(x);
        Floats& m = which == 0 ? x.q : which == 1 ? x.k : which == 2 ? x.v : x.dout;
        m[position] = bad;
        if (which < 3) {
          EXPECT_FALSE(forward(x, y)) << bad << " in argument " << which;
        }
        EXPECT_FALSE(backward(x, y)) << bad << " in argument " << which;
      }
    }
  }
}

TEST(Attention, ReportsScoresBeyondTheRangeOfTheShift) {
  Inputs x = make(Kind::kGaussian, {1, 70, 1, 1, 16, Products::kP3}, 44);
  for (float& v : x.q) v *= 1e4f;
  for (float& v : x.k) v *= 1e4f;
  Outputs y;
  EXPECT_FALSE(forward(x, y));
}

TEST(Attention, ASingleTokenAttendsToItselfAlone) {
  Inputs x = make(Kind::kGaussian, {1, 1, 2, 1, 64, Products::kS21}, 45);
  Outputs y = run(x);
  for (size_t d = 0; d < 128; ++d) EXPECT_NEAR(y.out[d], x.v[d % 64], 4e-6f);
  for (float g : y.dq) EXPECT_EQ(g, 0.0f);
  for (float g : y.dk) EXPECT_EQ(g, 0.0f);
}

TEST(Attention, ZeroInputsGiveTheMeanOfTheValuesAndNoNaN) {
  Inputs x = make(Kind::kGaussian, {1, 65, 1, 1, 16, Products::kP3}, 46);
  std::fill(x.q.begin(), x.q.end(), 0.0f);
  std::fill(x.dout.begin(), x.dout.end(), 0.0f);
  Outputs y = run(x);
  Reference r = reference(x);
  EXPECT_LE(test::relative_error(y.out, r.out), 3.3e-4);
  for (const Floats* g : {&y.dq, &y.dk, &y.dv}) {
    for (float value : *g) EXPECT_EQ(value, 0.0f);
  }
}

}  // namespace
}  // namespace fairway::kernels
