/// Forward passes in which a position depends on what comes later.
#include <algorithm>
#include <cstring>

#include "engine/eval/dishonest/windows_after.h"
#include "kernels/num/quantise.h"

namespace fairway::eval::dishonest {
namespace {

/// Attention whose inputs were prepared with a view of later tokens.
class LeakyAttention : public model::AttentionHook {
 public:
  enum class Leak { kMask, kKeyExponent, kValueExponent };
  explicit LeakyAttention(Leak leak) : leak_(leak) {}
  void before_rotation(const std::string&, const float*, int64_t, int64_t, const Rotate&) override {}
  bool attend(const std::string&, const kernels::AttentionForward& a) override {
    const int64_t width = a.shape.kv_heads * a.shape.head_dim, length = a.shape.length,
                  tokens = a.shape.sequences * length;
    std::vector<float> k(a.k, a.k + tokens * width), v(a.v, a.v + tokens * width);
    for (int64_t s = 0; s < a.shape.sequences; ++s) {
      float *ks = k.data() + s * length * width, *vs = v.data() + s * length * width;
      if (leak_ == Leak::kMask) {
        // Key j stands where key j - 1 should: the query of token i sees token i + 1.
        std::memmove(ks, ks + width, static_cast<size_t>((length - 1) * width) * sizeof(float));
        std::memmove(vs, vs + width, static_cast<size_t>((length - 1) * width) * sizeof(float));
      } else {
        share_exponent(leak_ == Leak::kKeyExponent ? ks : vs, length, width, a.shape.head_dim);
      }
    }
    kernels::AttentionForward leaky = a;
    leaky.k = k.data(), leaky.v = v.data();
    return kernels::attention_forward(leaky);
  }

 private:
  /// Rounds every row of every head to 7 bits below the largest exponent of this row and all later ones.
  static void share_exponent(float* x, int64_t length, int64_t width, int64_t head_dim) {
    for (int64_t head = 0; head < width; head += head_dim) {
      uint32_t max = 0;
      for (int64_t t = length; t-- > 0;) {
        float* row = x + t * width + head;
        for (int64_t i = 0; i < head_dim; ++i) max = std::max(max, num::magnitude_bits(row[i]));
        const float step = num::pow2_f32(num::group_exponent(max, 7) - 7);
        for (int64_t i = 0; i < head_dim; ++i) row[i] = static_cast<float>(num::round_to_int24(row[i] / step)) * step;
      }
    }
  }
  Leak leak_;
};

class LeakyWindows : public WindowsAfter {
 public:
  LeakyWindows(const Ingredients& from, LeakyAttention::Leak leak) : WindowsAfter(from), attention_(leak) {}
  Result<bool> step(Harness& harness) override {
    ScoreOptions options;
    options.attention = &attention_;
    return score_next(harness, options);
  }

 private:
  LeakyAttention attention_;
};

/// Positions are counted so that the last document of a window begins at a multiple of a block: known only when the
/// window is.
class LateAlignment : public WindowsAfter {
 public:
  using WindowsAfter::WindowsAfter;
  Result<bool> step(Harness& harness) override {
    if (next_ == plan_.count()) return false;
    const Window w = plan_.window(next_);
    const auto tokens = harness.read(w.start, w.length);
    ScoreOptions options;
    for (int64_t i = 0; i < w.length; ++i) {
      if (tokens[static_cast<size_t>(i)] == kDocumentStart) options.first_position = (64 - i % 64) % 64;
    }
    return score_next(harness, options);
  }
};

}  // namespace

Made mask_off_by_one(const Ingredients& from) { return made<LeakyWindows>(from, LeakyAttention::Leak::kMask); }
Made key_exponent_over_suffix(const Ingredients& from) {
  return made<LeakyWindows>(from, LeakyAttention::Leak::kKeyExponent);
}
Made value_exponent_over_suffix(const Ingredients& from) {
  return made<LeakyWindows>(from, LeakyAttention::Leak::kValueExponent);
}
Made late_alignment(const Ingredients& from) { return made<LateAlignment>(from); }

}  // namespace fairway::eval::dishonest
