/// Causal grouped-query attention, two passes in base 2 (NUMERICS.md, N5a). One call handles one sequence and one key/value
/// head with all query heads that share it, so gradients of k and v are summed in one place.
#include "kernels/ops/attention.h"

#include "kernels/cpu/isa/functions.h"
#include "kernels/cpu/isa/rows_inline.h"
#include "kernels/cpu/isa/tile.h"

namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE {
namespace {

constexpr int64_t kB = ops::kAttentionBlock;
constexpr int64_t kMaxGroup = ops::kMaxAttentionGroup;
static_assert(kB == 64, "tiles of bytes are transposed 64 by 64");

/// Carves arrays out of the thread's scratch. Run once on nullptr to learn the size, then on the memory.
struct Arena {
  char* base;
  size_t used = 0;
  template <class T>
  T* take(int64_t count) {
    size_t offset = used;
    used += (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return base == nullptr ? nullptr : reinterpret_cast<T*>(base + offset);
  }
};

struct Sizes {
  int64_t length, blocks, padded, depth, depth_padded;
  int bits, slices;
  Products products;
};

Sizes sizes_of(const AttentionShape& s) {
  int64_t blocks = (s.length + kB - 1) / kB;
  return {s.length, blocks, blocks * kB, s.head_dim, (s.head_dim + 63) / 64 * 64, bits_of_products(s.products),
          slices_of_products(s.products), s.products};
}

/// One head's tokens, quantised per token along the head dimension: rows (tokens, depth), the transpose, and packed forms.
struct HeadMatrix {
  RowsOut rows;        ///< (padded, depth_padded)
  int8_t* turned[3];   ///< (depth_padded, padded)
  char* packed_rows;   ///< per block of 64 tokens: the tokens as packed columns, contraction over depth
  char* packed_turned; ///< per block of 64 tokens: the depth as packed columns, contraction over the tokens
  float* scale;        ///< 2^e per token
  size_t packed_rows_bytes, packed_turned_bytes;

  void take(Arena& arena, const Sizes& z, bool want_rows, bool want_turned) {
    for (int s = 0; s < 3; ++s) rows.plane[s] = s < z.slices ? arena.take<int8_t>(z.padded * z.depth_padded) : nullptr;
    rows.exponent = arena.take<int32_t>(z.padded);
    rows.stride = z.depth_padded;
    scale = arena.take<float>(z.padded);
    packed_rows_bytes = want_rows ? (packed_bytes(kB, z.depth, z.products) + 63) / 64 * 64 : 0;
    packed_turned_bytes = want_turned ? (packed_bytes(z.depth, kB, z.products) + 63) / 64 * 64 : 0;
    for (int s = 0; s < 3; ++s) {
      turned[s] = want_turned && s < z.slices ? arena.take<int8_t>(z.depth_padded * z.padded) : nullptr;
    }
    packed_rows = want_rows ? arena.take<char>(static_cast<int64_t>(packed_rows_bytes) * z.blocks) : nullptr;
    packed_turned = want_turned ? arena.take<char>(static_cast<int64_t>(packed_turned_bytes) * z.blocks) : nullptr;
  }

  /// x: the head's first token; token_stride floats between tokens. False if not finite or beyond the exponent limit.
  bool fill(const Sizes& z, const float* x, int64_t token_stride, bool want_rows, bool want_turned) {
    for (int64_t t = 0; t < z.length; ++t) {
      if (!quantise_row(x + t * token_stride, z.depth, z.bits, rows, t)) return false;
      if (rows.exponent[t] > ops::kMaxAttentionExponent) return false;
      scale[t] = num::pow2_f32(rows.exponent[t]);
    }
    for (int64_t t = z.length; t < z.padded; ++t) {
      rows.exponent[t] = num::kMinExponent;
      scale[t] = 0.0f;
      for (int s = 0; s < z.slices; ++s) __builtin_memset(rows.plane[s] + t * rows.stride, 0, static_cast<size_t>(rows.stride));
    }
    for (int64_t b = 0; b < z.blocks; ++b) {
      RowsView block = view().from_row(b * kB);
      if (want_rows) {
        for (int64_t p = 0; p < panel_count(kB); ++p) {
          pack_panel(block, kB, z.depth, z.products, p, packed_rows + static_cast<size_t>(b) * packed_rows_bytes);
        }
      }
      if (!want_turned) continue;
      RowsView across;
      across.stride = z.padded;
      for (int s = 0; s < z.slices; ++s) {
        across.plane[s] = turned[s] + b * kB;
        for (int64_t d = 0; d < z.depth_padded; d += 64) {
          alignas(64) int8_t tile[64][64];
          for (int64_t t = 0; t < kB; ++t) __builtin_memcpy(tile[t], block.plane[s] + t * rows.stride + d, 64);
          transpose_tile(tile, turned[s] + d * z.padded + b * kB, z.padded);
        }
      }
      for (int64_t p = 0; p < panel_count(z.depth); ++p) {
        pack_panel(across, z.depth, kB, z.products, p, packed_turned + static_cast<size_t>(b) * packed_turned_bytes);
      }
    }
    return true;
  }

  RowsView view() const {
    RowsView v;
    for (int s = 0; s < 3; ++s) v.plane[s] = rows.plane[s];
    v.exponent = rows.exponent;
    v.stride = rows.stride;
    return v;
  }
  const char* rows_block(int64_t b) const { return packed_rows + static_cast<size_t>(b) * packed_rows_bytes; }
  const char* turned_block(int64_t b) const { return packed_turned + static_cast<size_t>(b) * packed_turned_bytes; }
};

int32_t max_exponent(const int32_t* e, int64_t n) {
  int32_t max = num::kMinExponent;
  for (int64_t i = 0; i < n; ++i) max = e[i] > max ? e[i] : max;
  return max;
}

/// A 64 x 64 tile of quantised terms, its exponents turned into row factors of a GridSink.
struct TermTile {
  alignas(64) int8_t plane[3][64][64];
  double row_factor[64];

  RowsView view() const {
    RowsView v;
    for (int s = 0; s < 3; ++s) v.plane[s] = plane[s][0];
    v.stride = 64;
    return v;
  }

  /// Rows of w (64 values each, row stride ld) times column_scale; row i moves to the grid 2^grid[i].
  bool from_rows(const Sizes& z, const float* w, int64_t ld, const float* column_scale, int64_t m, const int32_t* grid) {
    for (int64_t i = 0; i < m; ++i) {
      alignas(64) float terms[64];
      const float* row = w + i * ld;
      for (int64_t j = 0; j < 64; ++j) terms[j] = ops::block_term(row[j], column_scale[j]);
      uint32_t max = max_magnitude(terms, 64);
      if (max >= num::kInfinityBits) return false;
      int32_t e = num::group_exponent(max, z.bits);
      write_slices(terms, 64, num::quantiser_scale(e, z.bits), z.slices, plane[0][i], plane[1][i], plane[2][i]);
      row_factor[i] = num::pow2_f64(e - 2 * z.bits + tile_shift(z.products) - grid[i]);
    }
    return true;
  }

  /// Columns of w times row_scale become the rows of the tile; all move to the grid 2^grid.
  bool from_columns(const Sizes& z, const float* w, int64_t ld, const float* row_scale, int64_t m, int32_t grid) {
    uint32_t max[64] = {};
    alignas(64) float terms[64][64];
    for (int64_t i = 0; i < 64; ++i) {
      if (i >= m) {
        __builtin_memset(terms[i], 0, sizeof terms[i]);
        continue;
      }
      const float* row = w + i * ld;
      float scale = row_scale[i];
      for (int64_t j = 0; j < 64; ++j) {
        terms[i][j] = ops::block_term(row[j], scale);
        uint32_t b = num::magnitude_bits(terms[i][j]);
        max[j] = b > max[j] ? b : max[j];
      }
    }
    alignas(64) float scale[64];
    for (int64_t j = 0; j < 64; ++j) {
      if (max[j] >= num::kInfinityBits) return false;
      int32_t e = num::group_exponent(max[j], z.bits);
      scale[j] = num::quantiser_scale(e, z.bits);
      row_factor[j] = num::pow2_f64(e - 2 * z.bits + tile_shift(z.products) - grid);
    }
    alignas(64) int8_t tile[3][64][64];
    for (int64_t i = 0; i < 64; ++i) {
      for (int64_t j = 0; j < 64; ++j) terms[i][j] *= scale[j];
      write_slices(terms[i], 64, 1.0f, z.slices, tile[0][i], tile[1][i], tile[2][i]);
    }
    for (int s = 0; s < z.slices; ++s) transpose_tile(tile[s], plane[s][0], 64);
    return true;
  }
};

/// Scores of query rows [i0, i0 + m) against all key blocks up to their own: binary32 of N5(q_i, k_j), row stride padded.
void score_tiles(const Sizes& z, const HeadMatrix& rows, const HeadMatrix& columns, int64_t i0, int64_t m, float* out) {
  RowsView a = rows.view().from_row(i0);
  for (int64_t b = 0; b * kB < i0 + m; ++b) {
    FloatSink sink{out + b * kB, z.padded, a.exponent, columns.rows.exponent + b * kB, tile_shift(z.products) - 2 * z.bits};
    multiply(a, m, columns.rows_block(b), kB, z.depth, z.products, sink);
  }
}

/// Replaces scores of row i by unnormalised probabilities for keys 0..i and by 0 up to the end of the block; sums them.
FAIRWAY_INLINE int64_t probabilities(float* __restrict s, int64_t i, int64_t end, float factor, int32_t max_floor) {
  uint64_t sum = 0;
  for (int64_t j = 0; j < end; ++j) {
    ops::Probability p = ops::probability(ops::score(s[j], factor), max_floor);
    s[j] = j <= i ? p.p : 0.0f;
    sum += j <= i ? p.units : 0u;
  }
  return static_cast<int64_t>(sum);
}

}  // namespace

bool attention_forward(const AttentionForward& a, int64_t sequence, int64_t kv_head) {
  const Sizes z = sizes_of(a.shape);
  const int64_t heads = a.shape.heads, kv_heads = a.shape.kv_heads, depth = z.depth;
  const int64_t group = heads / kv_heads;
  HeadMatrix k, v, q;
  float* buffer = nullptr;
  int64_t* acc = nullptr;
  int32_t* prefix = nullptr;
  TermTile* terms = nullptr;
  auto layout = [&](Arena arena) {
    k.take(arena, z, true, false);
    v.take(arena, z, false, true);
    q.take(arena, z, false, false);
    buffer = arena.take<float>(kB * z.padded);
    acc = arena.take<int64_t>(kB * depth);
    prefix = arena.take<int32_t>(z.padded);
    terms = arena.take<TermTile>(1);
    return arena.used;
  };
  layout({static_cast<char*>(scratch(ScratchSlot::kAttention, layout({nullptr})))});

  const int64_t token0 = sequence * z.length;
  if (!k.fill(z, a.k + (token0 * kv_heads + kv_head) * depth, kv_heads * depth, true, false)) return false;
  if (!v.fill(z, a.v + (token0 * kv_heads + kv_head) * depth, kv_heads * depth, false, true)) return false;
  for (int64_t t = 0; t < z.padded; ++t) {
    prefix[t] = t > 0 && prefix[t - 1] > v.rows.exponent[t] ? prefix[t - 1] : v.rows.exponent[t];
  }
  const float factor = ops::score_factor(depth);
  for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
    if (!q.fill(z, a.q + (token0 * heads + h) * depth, heads * depth, false, false)) return false;
    for (int64_t i0 = a.shape.first_query / kB * kB; i0 < z.length; i0 += kB) {
      const int64_t m = z.length - i0 < kB ? z.length - i0 : kB;
      const int64_t end = i0 + kB;
      score_tiles(z, q, k, i0, m, buffer);
      int32_t grid[kB];
      int64_t units[kB];
      for (int64_t r = 0; r < m; ++r) {
        float* row = buffer + r * z.padded;
        int32_t max = INT32_MIN;
        for (int64_t j = 0; j <= i0 + r; ++j) {
          int32_t o = ops::ordered_bits(row[j]);
          max = o > max ? o : max;
        }
        float top = ops::score(ops::from_ordered_bits(max), factor);
        if (!(num::absolute(top) <= ops::kMaxScore)) return false;
        int32_t max_floor = num::floor_to_int(top);
        units[r] = probabilities(row, i0 + r, end, factor, max_floor);
        a.row_max[(token0 + i0 + r) * heads + h] = max_floor;
        a.row_units[(token0 + i0 + r) * heads + h] = units[r];
        grid[r] = prefix[i0 + r] - 40;
      }
      __builtin_memset(acc, 0, static_cast<size_t>(m * depth) * sizeof(int64_t));
      for (int64_t b = 0; b * kB < end; ++b) {
        if (!terms->from_rows(z, buffer + b * kB, z.padded, v.scale + b * kB, m, grid)) return false;
        multiply(terms->view(), m, v.turned_block(b), depth, kB, z.products, GridSink{acc, depth, terms->row_factor});
      }
      for (int64_t r = 0; r < m; ++r) {
        float* out = a.out + ((token0 + i0 + r) * heads + h) * depth;
        float sum = ops::row_sum(units[r]);
        for (int64_t d = 0; d < depth; ++d) out[d] = ops::attention_output(acc[r * depth + d], grid[r], sum);
      }
    }
  }
  return true;
}

bool attention_backward(const AttentionBackward& a, int64_t sequence, int64_t kv_head) {
  const Sizes z = sizes_of(a.shape);
  const int64_t heads = a.shape.heads, kv_heads = a.shape.kv_heads, depth = z.depth;
  const int64_t group = heads / kv_heads;
  HeadMatrix k, v, q[kMaxGroup], dout[kMaxGroup];
  float *p = nullptr, *ds = nullptr;
  int64_t *dq = nullptr, *dk = nullptr, *dv = nullptr;
  int32_t* prefix = nullptr;
  TermTile* terms = nullptr;
  auto layout = [&](Arena arena) {
    k.take(arena, z, true, true);
    v.take(arena, z, true, false);
    for (int64_t g = 0; g < group; ++g) {
      q[g].take(arena, z, false, true);
      dout[g].take(arena, z, false, true);
    }
    p = arena.take<float>(kB * z.padded);
    ds = arena.take<float>(kB * z.padded);
    dq = arena.take<int64_t>(kB * depth);
    dk = arena.take<int64_t>(z.padded * depth);
    dv = arena.take<int64_t>(z.padded * depth);
    prefix = arena.take<int32_t>(z.padded);
    terms = arena.take<TermTile>(1);
    return arena.used;
  };
  layout({static_cast<char*>(scratch(ScratchSlot::kAttention, layout({nullptr})))});

  const int64_t token0 = sequence * z.length;
  const int64_t kv0 = (token0 * kv_heads + kv_head) * depth;
  if (!k.fill(z, a.k + kv0, kv_heads * depth, true, true)) return false;
  if (!v.fill(z, a.v + kv0, kv_heads * depth, true, false)) return false;
  int32_t max_q = num::kMinExponent, max_dout = num::kMinExponent;
  for (int64_t g = 0; g < group; ++g) {
    const int64_t q0 = (token0 * heads + kv_head * group + g) * depth;
    if (!q[g].fill(z, a.q + q0, heads * depth, false, true)) return false;
    if (!dout[g].fill(z, a.dout + q0, heads * depth, false, true)) return false;
    int32_t eq = max_exponent(q[g].rows.exponent, z.length), eo = max_exponent(dout[g].rows.exponent, z.length);
    max_q = eq > max_q ? eq : max_q;
    max_dout = eo > max_dout ? eo : max_dout;
  }
  for (int64_t t = 0; t < z.padded; ++t) {
    prefix[t] = t > 0 && prefix[t - 1] > v.rows.exponent[t] ? prefix[t - 1] : v.rows.exponent[t];
  }
  const int32_t max_k = max_exponent(k.rows.exponent, z.length), max_v = prefix[z.length - 1];
  const int32_t grid_v = ops::value_gradient_grid(max_dout);
  const int32_t grid_q = ops::score_gradient_grid(max_dout, max_v, max_k);
  const int32_t grid_k = ops::score_gradient_grid(max_dout, max_v, max_q);
  int32_t grids_q[kB];
  for (int64_t i = 0; i < kB; ++i) grids_q[i] = grid_q;
  __builtin_memset(dk, 0, static_cast<size_t>(z.padded * depth) * sizeof(int64_t));
  __builtin_memset(dv, 0, static_cast<size_t>(z.padded * depth) * sizeof(int64_t));

  const float factor = ops::score_factor(depth);
  const float inverse_root = ops::inverse_root(depth);
  for (int64_t g = 0; g < group; ++g) {
    const int64_t h = kv_head * group + g;
    for (int64_t i0 = 0; i0 < z.length; i0 += kB) {
      const int64_t m = z.length - i0 < kB ? z.length - i0 : kB;
      const int64_t end = i0 + kB;
      score_tiles(z, q[g], k, i0, m, p);
      score_tiles(z, dout[g], v, i0, m, ds);
      for (int64_t r = 0; r < m; ++r) {
        const int64_t i = i0 + r, at = (token0 + i) * heads + h;
        float* __restrict prob = p + r * z.padded;
        float* __restrict grad = ds + r * z.padded;
        probabilities(prob, i, end, factor, a.row_max[at]);
        const float inverse = ops::inverse_row_sum(a.row_units[at]);
        const int32_t grid = dout[g].rows.exponent[i] + prefix[i] - 40;
        const double unit = num::pow2_f64(-grid);
        int64_t sum = 0;
        for (int64_t j = 0; j < end; ++j) {
          prob[j] = ops::normalised(prob[j], inverse);
          grad[j] = j <= i ? grad[j] : 0.0f;
          sum += ops::delta_units(prob[j], grad[j], unit);
        }
        const float delta = num::grid_value(sum, grid);
        for (int64_t j = 0; j < end; ++j) grad[j] = ops::score_gradient(prob[j], grad[j], delta);
      }
      __builtin_memset(dq, 0, static_cast<size_t>(m * depth) * sizeof(int64_t));
      for (int64_t b = 0; b * kB < end; ++b) {
        const int64_t keys = z.length - b * kB < kB ? z.length - b * kB : kB;
        if (!terms->from_rows(z, ds + b * kB, z.padded, k.scale + b * kB, m, grids_q)) return false;
        multiply(terms->view(), m, k.turned_block(b), depth, kB, z.products, GridSink{dq, depth, terms->row_factor});
        if (!terms->from_columns(z, p + b * kB, z.padded, dout[g].scale + i0, m, grid_v)) return false;
        multiply(terms->view(), keys, dout[g].turned_block(i0 / kB), depth, kB, z.products,
                 GridSink{dv + b * kB * depth, depth, terms->row_factor});
        if (!terms->from_columns(z, ds + b * kB, z.padded, q[g].scale + i0, m, grid_k)) return false;
        multiply(terms->view(), keys, q[g].turned_block(i0 / kB), depth, kB, z.products,
                 GridSink{dk + b * kB * depth, depth, terms->row_factor});
      }
      for (int64_t r = 0; r < m; ++r) {
        float* out = a.dq + ((token0 + i0 + r) * heads + h) * depth;
        for (int64_t d = 0; d < depth; ++d) out[d] = ops::rooted(num::grid_value(dq[r * depth + d], grid_q), inverse_root);
      }
    }
  }
  for (int64_t t = 0; t < z.length; ++t) {
    float* out_k = a.dk + kv0 + t * kv_heads * depth;
    float* out_v = a.dv + kv0 + t * kv_heads * depth;
    for (int64_t d = 0; d < depth; ++d) {
      out_k[d] = ops::rooted(num::grid_value(dk[t * depth + d], grid_k), inverse_root);
      out_v[d] = num::grid_value(dv[t * depth + d], grid_v);
    }
  }
  return true;
}

}  // namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE
