/// The model once more, in binary64 and without the engine: forward and reverse-mode gradients by the textbook.
///
/// Written from the formulas (spec of the architecture, not from engine/): values are nodes, every function records how to pass a
/// gradient back, `backward` runs the record in reverse. Sums are plain loops; binary64 makes their rounding invisible here.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/model/config.h"

namespace fairway::test {

using Doubles = std::vector<double>;

struct Node {
  int64_t rows, columns;
  Doubles v, g;
  Node(int64_t r, int64_t c) : rows(r), columns(c), v(static_cast<size_t>(r * c)), g(v.size()) {}
};
using NodePtr = std::shared_ptr<Node>;

class Reference {
 public:
  NodePtr leaf(int64_t rows, int64_t columns, Doubles values) {
    auto n = std::make_shared<Node>(rows, columns);
    n->v = std::move(values);
    return n;
  }
  template <class T>
  NodePtr leaf(int64_t rows, int64_t columns, const T* values) {
    return leaf(rows, columns, Doubles(values, values + rows * columns));
  }
  /// Runs the record in reverse; gradients of the outputs must be in their g.
  void backward() {
    for (size_t i = record_.size(); i-- > 0;) record_[i]();
  }

  NodePtr embedding(NodePtr table, std::vector<uint16_t> ids) {
    const int64_t n = table->columns;
    auto y = std::make_shared<Node>(static_cast<int64_t>(ids.size()), n);
    for (size_t t = 0; t < ids.size(); ++t) std::copy_n(&table->v[ids[t] * static_cast<size_t>(n)], n, &y->v[t * static_cast<size_t>(n)]);
    record_.push_back([=] {
      for (size_t t = 0; t < ids.size(); ++t) {
        for (int64_t c = 0; c < n; ++c) table->g[ids[t] * static_cast<size_t>(n) + static_cast<size_t>(c)] += y->g[t * static_cast<size_t>(n) + static_cast<size_t>(c)];
      }
    });
    return y;
  }

  NodePtr rms_norm(NodePtr x, int64_t group) {
    auto y = std::make_shared<Node>(x->rows, x->columns);
    const int64_t groups = x->rows * x->columns / group;
    auto factor = std::make_shared<Doubles>(static_cast<size_t>(groups));
    for (int64_t i = 0; i < groups; ++i) {
      double sum = 0;
      for (int64_t c = 0; c < group; ++c) sum += square(x->v[at(i, group, c)]);
      const double f = 1.0 / std::sqrt(sum / static_cast<double>(group) + 0x1p-23);
      (*factor)[static_cast<size_t>(i)] = f;
      for (int64_t c = 0; c < group; ++c) y->v[at(i, group, c)] = x->v[at(i, group, c)] * f;
    }
    record_.push_back([=] {
      for (int64_t i = 0; i < groups; ++i) {
        double dot = 0;
        for (int64_t c = 0; c < group; ++c) dot += y->g[at(i, group, c)] * y->v[at(i, group, c)];
        dot /= static_cast<double>(group);
        for (int64_t c = 0; c < group; ++c) {
          x->g[at(i, group, c)] += (*factor)[static_cast<size_t>(i)] * (y->g[at(i, group, c)] - y->v[at(i, group, c)] * dot);
        }
      }
    });
    return y;
  }

  /// W x per row; W is (out, in).
  NodePtr linear(NodePtr x, NodePtr w) {
    auto y = std::make_shared<Node>(x->rows, w->rows);
    for (int64_t t = 0; t < x->rows; ++t) {
      for (int64_t o = 0; o < w->rows; ++o) {
        double sum = 0;
        for (int64_t i = 0; i < w->columns; ++i) sum += w->v[at(o, w->columns, i)] * x->v[at(t, x->columns, i)];
        y->v[at(t, w->rows, o)] = sum;
      }
    }
    record_.push_back([=] {
      for (int64_t t = 0; t < x->rows; ++t) {
        for (int64_t o = 0; o < w->rows; ++o) {
          const double g = y->g[at(t, w->rows, o)];
          for (int64_t i = 0; i < w->columns; ++i) {
            w->g[at(o, w->columns, i)] += g * x->v[at(t, x->columns, i)];
            x->g[at(t, x->columns, i)] += g * w->v[at(o, w->columns, i)];
          }
        }
      }
    });
    return y;
  }

  /// Dimension i of a head turns with dimension i + D/2 by -position * base^(-2i/D).
  NodePtr rope(NodePtr x, int64_t heads, int64_t length, double base) {
    auto y = std::make_shared<Node>(x->rows, x->columns);
    const int64_t depth = x->columns / heads, half = depth / 2;
    auto each = [=](auto&& f) {
      for (int64_t t = 0; t < x->rows; ++t) {
        for (int64_t h = 0; h < heads; ++h) {
          for (int64_t i = 0; i < half; ++i) {
            const double angle = static_cast<double>(t % length) * std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(depth));
            f(at(t, x->columns, h * depth + i), at(t, x->columns, h * depth + half + i), std::cos(angle), std::sin(angle));
          }
        }
      }
    };
    each([&](size_t a, size_t b, double cos, double sin) {
      y->v[a] = x->v[a] * cos + x->v[b] * sin;
      y->v[b] = -x->v[a] * sin + x->v[b] * cos;
    });
    record_.push_back([=] {
      each([&](size_t a, size_t b, double cos, double sin) {
        x->g[a] += y->g[a] * cos - y->g[b] * sin;
        x->g[b] += y->g[a] * sin + y->g[b] * cos;
      });
    });
    return y;
  }

  NodePtr head_gain(NodePtr x, NodePtr gain) {
    auto y = std::make_shared<Node>(x->rows, x->columns);
    const int64_t depth = x->columns / gain->columns;
    for (size_t i = 0; i < y->v.size(); ++i) y->v[i] = x->v[i] * gain->v[head_of(i, x->columns, depth)];
    record_.push_back([=] {
      for (size_t i = 0; i < y->v.size(); ++i) {
        const size_t h = head_of(i, x->columns, depth);
        x->g[i] += y->g[i] * gain->v[h];
        gain->g[h] += y->g[i] * x->v[i];
      }
    });
    return y;
  }

  /// x + s[row] * a per channel.
  NodePtr scaled_add(NodePtr x, NodePtr s, int64_t row, NodePtr a) {
    auto y = std::make_shared<Node>(x->rows, x->columns);
    const size_t n = static_cast<size_t>(x->columns), base = static_cast<size_t>(row) * n;
    for (size_t i = 0; i < y->v.size(); ++i) y->v[i] = x->v[i] + s->v[base + i % n] * a->v[i];
    record_.push_back([=] {
      for (size_t i = 0; i < y->v.size(); ++i) {
        x->g[i] += y->g[i];
        a->g[i] += y->g[i] * s->v[base + i % n];
        s->g[base + i % n] += y->g[i] * a->v[i];
      }
    });
    return y;
  }

  NodePtr mix(NodePtr x, NodePtr x0, NodePtr m) {
    auto y = std::make_shared<Node>(x->rows, x->columns);
    const size_t n = static_cast<size_t>(x->columns);
    for (size_t i = 0; i < y->v.size(); ++i) y->v[i] = m->v[i % n] * x->v[i] + m->v[n + i % n] * x0->v[i];
    record_.push_back([=] {
      for (size_t i = 0; i < y->v.size(); ++i) {
        x->g[i] += y->g[i] * m->v[i % n];
        x0->g[i] += y->g[i] * m->v[n + i % n];
        m->g[i % n] += y->g[i] * x->v[i];
        m->g[n + i % n] += y->g[i] * x0->v[i];
      }
    });
    return y;
  }

  NodePtr relu_squared(NodePtr x) {
    auto y = std::make_shared<Node>(x->rows, x->columns);
    for (size_t i = 0; i < y->v.size(); ++i) y->v[i] = square(std::max(x->v[i], 0.0));
    record_.push_back([=] {
      for (size_t i = 0; i < y->v.size(); ++i) x->g[i] += 2.0 * std::max(x->v[i], 0.0) * y->g[i];
    });
    return y;
  }

  /// Causal softmax attention within each sequence of `length` rows; heads h share key head h / (heads / kv_heads).
  NodePtr attention(NodePtr q, NodePtr k, NodePtr v, int64_t heads, int64_t kv_heads, int64_t length) {
    auto y = std::make_shared<Node>(q->rows, q->columns);
    const int64_t depth = q->columns / heads, shared = heads / kv_heads;
    auto p = std::make_shared<Doubles>(static_cast<size_t>(heads * q->rows * length));
    const double scale = 1.0 / std::sqrt(static_cast<double>(depth));
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t t = 0; t < q->rows; ++t) {
        const int64_t first = t / length * length;
        double* row = &(*p)[static_cast<size_t>((h * q->rows + t) * length)];
        double max = -INFINITY, sum = 0;
        for (int64_t s = first; s <= t; ++s) {
          double dot = 0;
          for (int64_t c = 0; c < depth; ++c) dot += q->v[at(t, q->columns, h * depth + c)] * k->v[at(s, k->columns, h / shared * depth + c)];
          row[s - first] = dot * scale;
          max = std::max(max, row[s - first]);
        }
        for (int64_t s = first; s <= t; ++s) sum += row[s - first] = std::exp(row[s - first] - max);
        for (int64_t s = first; s <= t; ++s) {
          row[s - first] /= sum;
          for (int64_t c = 0; c < depth; ++c) y->v[at(t, q->columns, h * depth + c)] += row[s - first] * v->v[at(s, v->columns, h / shared * depth + c)];
        }
      }
    }
    record_.push_back([=] {
      for (int64_t h = 0; h < heads; ++h) {
        for (int64_t t = 0; t < q->rows; ++t) {
          const int64_t first = t / length * length;
          const double* row = &(*p)[static_cast<size_t>((h * q->rows + t) * length)];
          Doubles dp(static_cast<size_t>(t - first + 1));
          double mean = 0;
          for (int64_t s = first; s <= t; ++s) {
            double dot = 0;
            for (int64_t c = 0; c < depth; ++c) {
              const double dy = y->g[at(t, q->columns, h * depth + c)];
              dot += dy * v->v[at(s, v->columns, h / shared * depth + c)];
              v->g[at(s, v->columns, h / shared * depth + c)] += row[s - first] * dy;
            }
            dp[static_cast<size_t>(s - first)] = dot;
            mean += row[s - first] * dot;
          }
          for (int64_t s = first; s <= t; ++s) {
            const double ds = row[s - first] * (dp[static_cast<size_t>(s - first)] - mean) * scale;
            for (int64_t c = 0; c < depth; ++c) {
              q->g[at(t, q->columns, h * depth + c)] += ds * k->v[at(s, k->columns, h / shared * depth + c)];
              k->g[at(s, k->columns, h / shared * depth + c)] += ds * q->v[at(t, q->columns, h * depth + c)];
            }
          }
        }
      }
    });
    return y;
  }

  /// nll of softmax(cap * tanh(h E^T / cap)) at the targets; its gradient starts as 1 per token. cap 0: none.
  NodePtr tied_loss(NodePtr h, NodePtr table, std::vector<uint16_t> targets, double cap) {
    NodePtr u = linear(h, table);
    auto nll = std::make_shared<Node>(h->rows, 1);
    const int64_t vocab = table->rows;
    auto p = std::make_shared<Doubles>(u->v.size());
    auto capped = [=](double x) { return cap == 0 ? x : cap * std::tanh(x / cap); };
    for (int64_t t = 0; t < h->rows; ++t) {
      double max = -INFINITY, sum = 0;
      for (int64_t i = 0; i < vocab; ++i) max = std::max(max, capped(u->v[at(t, vocab, i)]));
      for (int64_t i = 0; i < vocab; ++i) sum += (*p)[at(t, vocab, i)] = std::exp(capped(u->v[at(t, vocab, i)]) - max);
      for (int64_t i = 0; i < vocab; ++i) (*p)[at(t, vocab, i)] /= sum;
      nll->v[static_cast<size_t>(t)] = max + std::log(sum) - capped(u->v[at(t, vocab, targets[static_cast<size_t>(t)])]);
    }
    std::fill(nll->g.begin(), nll->g.end(), 1.0);
    record_.push_back([=] {
      for (int64_t t = 0; t < h->rows; ++t) {
        for (int64_t i = 0; i < vocab; ++i) {
          const double slope = cap == 0 ? 1.0 : 1.0 - square(std::tanh(u->v[at(t, vocab, i)] / cap));
          const double hit = i == targets[static_cast<size_t>(t)] ? 1.0 : 0.0;
          u->g[at(t, vocab, i)] += nll->g[static_cast<size_t>(t)] * ((*p)[at(t, vocab, i)] - hit) * slope;
        }
      }
    });
    return nll;
  }

  /// The whole model; `parameters` by upstream name. Returns the nll node, (tokens, 1).
  NodePtr gpt(const model::ModelConfig& c, std::map<std::string, NodePtr>& parameters, const std::vector<uint16_t>& inputs,
              const std::vector<uint16_t>& targets, int64_t length) {
    auto p = [&](const std::string& name) { return parameters.at(name); };
    const NodePtr table = p("tok_emb.weight");
    const NodePtr x0 = rms_norm(embedding(table, inputs), c.width);
    NodePtr x = x0;
    std::vector<NodePtr> kept;
    const int64_t encoder = c.layers / 2;
    for (int64_t layer = 0; layer < c.layers; ++layer) {
      const int64_t decoder = layer - encoder;
      if (decoder >= 0 && !kept.empty()) {
        x = scaled_add(x, p("skip_weights"), decoder, kept.back());
        kept.pop_back();
      }
      const std::string b = "blocks." + std::to_string(layer);
      const NodePtr u = mix(x, x0, p(b + ".resid_mix"));
      const NodePtr n = rms_norm(u, c.width);
      auto head = [&](const char* matrix, int64_t heads) {
        return rope(rms_norm(linear(n, p(b + matrix)), c.width / c.heads), heads, length, c.rope_base);
      };
      const NodePtr q = head_gain(head(".attn.c_q.weight", c.heads), p(b + ".attn.q_gain"));
      const NodePtr k = head(".attn.c_k.weight", c.kv_heads);
      const NodePtr o = attention(q, k, linear(n, p(b + ".attn.c_v.weight")), c.heads, c.kv_heads, length);
      const NodePtr y = scaled_add(u, p(b + ".attn_scale"), 0, linear(o, p(b + ".attn.proj.weight")));
      const NodePtr hidden = relu_squared(linear(rms_norm(y, c.width), p(b + ".mlp.fc.weight")));
      x = scaled_add(y, p(b + ".mlp_scale"), 0, linear(hidden, p(b + ".mlp.proj.weight")));
      if (decoder < 0) kept.push_back(x);
    }
    return tied_loss(rms_norm(x, c.width), table, targets, static_cast<double>(c.logit_softcap));
  }

 private:
  static double square(double x) { return x * x; }
  static size_t at(int64_t row, int64_t columns, int64_t column) { return static_cast<size_t>(row * columns + column); }
  static size_t head_of(size_t i, int64_t columns, int64_t depth) {
    return i % static_cast<size_t>(columns) / static_cast<size_t>(depth);
  }
  std::vector<std::function<void()>> record_;
};

/// ||x - reference|| / ||reference||; 0 if both are zero.
template <class A>
double relative_error(const A& x, const Doubles& reference) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double d = static_cast<double>(x[i]) - reference[i];
    difference += d * d;
    norm += reference[i] * reference[i];
  }
  if (difference == 0) return 0;
  return norm == 0 ? INFINITY : std::sqrt(difference / norm);
}

}  // namespace fairway::test
