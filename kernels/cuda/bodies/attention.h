/// Causal grouped-query attention (NUMERICS.md, N5a) on tensor cores. Blocks of 64 x 64 scores; four warps take 16 rows each.
///
/// Inputs are slices: q, k, v and dout by rows (token, head), quantised along the head dimension, strides a multiple of 64; the "turned" planes
/// hold, per sequence and head, the head dimension by the tokens. One kernel serves every pass: `rows` are the tokens a block owns, `columns` those it
/// goes through. In the passes that own queries a tile is scores(query, key); in those that own keys it is the transpose, which
/// has the same bits, since the products of N5 are symmetric in the two operands.
#pragma once

#include "kernels/cuda/bodies/slice_tile.h"
#include "kernels/num/exact_sum.h"
#include "kernels/ops/attention.h"

namespace fairway::cuda {

constexpr int kAttentionTile = static_cast<int>(ops::kAttentionBlock);
constexpr int kAttentionThreads = 128;
static_assert(kAttentionTile == kDepth && kAttentionThreads / kWarp * 16 == kAttentionTile);

/// What a block of a pass owns: rows first .. first + rows - 1 of one sequence and head, and a piece of 64 of the head dimension.
struct AttentionPlace {
  int64_t d_tile, sequence, head, first, rows;
};

/// What all passes read. Rows of q and dout: token * heads + head; of k and v: token * kv_heads + head.
struct AttentionInputs {
  int64_t sequences, length, heads, kv_heads, head_dim;
  int64_t first_query;    ///< forward: queries before it are not needed
  Slices q, k, v, dout;   ///< dout in the backward pass only
  const int32_t* prefix;  ///< (sequences, kv_heads, length): the largest exponent of v up to this token

  FAIRWAY_HD_MEMBER int64_t tiles() const { return (length + kAttentionTile - 1) / kAttentionTile; }
  FAIRWAY_HD_MEMBER int64_t group() const { return heads / kv_heads; }
  FAIRWAY_HD_MEMBER int64_t depth_tiles() const { return (head_dim + kDepth - 1) / kDepth; }
  /// The place of a block of a pass over `heads` heads. Places with the most to go through come first: of queries the last, of keys the first.
  FAIRWAY_HD_MEMBER AttentionPlace place(int64_t block, int64_t of_heads, bool queries) const {
    const int64_t item = block / depth_tiles() / tiles(), number = block / depth_tiles() % tiles();
    const int64_t first = (queries ? tiles() - 1 - number : number) * kAttentionTile;
    return {block % depth_tiles(), item / of_heads, item % of_heads, first, length - first < kAttentionTile ? length - first : kAttentionTile};
  }
  FAIRWAY_HD_MEMBER int64_t query_row(int64_t sequence, int64_t token, int64_t head) const { return (sequence * length + token) * heads + head; }
  FAIRWAY_HD_MEMBER int64_t key_row(int64_t sequence, int64_t token, int64_t kv_head) const { return (sequence * length + token) * kv_heads + kv_head; }
};

/// One operand in shared memory: 64 rows of 64 bytes per slice.
template <int kSlices>
struct OperandTile {
  alignas(128) int8_t slice[kSlices][kAttentionTile * kDepth];
};

/// Copies 64 rows of `x`, row i at first + i * step, columns from k0 on; rows from `rows` on become zeros. All threads; a barrier must follow.
template <int kSlices, class G>
FAIRWAY_BODY void copy_operand(G& g, const Slices& x, int64_t first, int64_t step, int64_t rows, int64_t k0, OperandTile<kSlices>& to) {
  FAIRWAY_UNROLL for (int i = 0; i < kSlices * kAttentionTile * 4 / kAttentionThreads; ++i) {
    const int index = i * kAttentionThreads + g.thread();
    const int s = index / (kAttentionTile * 4), row = index / 4 % kAttentionTile, piece = index % 4;
    Words4 words{{0, 0, 0, 0}};
    if (row < rows) words = g.load(reinterpret_cast<const Words4*>(x.plane[s] + (first + row * step) * x.stride + k0 + 16 * piece));
    g.store(reinterpret_cast<Words4*>(&to.slice[s][swizzled(row, piece)]), words);
  }
}

/// Adds the products of this warp's 16 rows of `a` with the 64 rows of `b` over 64 of k.
template <Products P, class G>
FAIRWAY_BODY void multiply_tile(G& g, const OperandTile<Scheme<P>::kSlices>& a, const OperandTile<Scheme<P>::kSlices>& b,
                                int32_t (&level)[8][Scheme<P>::kLevels][4]) {
  constexpr int kSlices = Scheme<P>::kSlices;
  const int lane = g.thread() % kWarp, row = g.thread() / kWarp * 16;
  FAIRWAY_UNROLL for (int half = 0; half < kDepth / 32; ++half) {
    uint32_t x[kSlices][4];
    FAIRWAY_UNROLL for (int s = 0; s < kSlices; ++s) g.load_matrices(&a.slice[s][a_offset(lane, row, 2 * half)], x[s]);
    FAIRWAY_UNROLL for (int j = 0; j < 4; ++j) {
      uint32_t y[kSlices][4];
      FAIRWAY_UNROLL for (int s = 0; s < kSlices; ++s) g.load_matrices(&b.slice[s][b_offset(lane, 16 * j, 2 * half)], y[s]);
      multiply_slices<P>(g, level[2 * j], x, y, 0);
      multiply_slices<P>(g, level[2 * j + 1], x, y, 1);
    }
  }
}

/// In a tile a lane holds rows lane / 4 and lane / 4 + 8 of its warp's 16 (index h), and of each 16 values (index i): column.
FAIRWAY_BODY int tile_row(int thread, int h) { return thread / kWarp * 16 + thread % kWarp / 4 + 8 * h; }
FAIRWAY_BODY int tile_column(int thread, int i) { return i / 2 * 8 + thread % 4 * 2 + i % 2; }

/// The values of one lane: [h][i].
using TileValues = float[2][16];

/// N5 of this block's rows with a block of columns: binary32. `a` and `b` hold one piece of 64 of the head dimension each time.
template <Products P, class G>
FAIRWAY_BODY void product_tile(G& g, const Slices& x, int64_t x_first, int64_t x_step, int64_t x_rows, const Slices& y, int64_t y_first,
                               int64_t y_step, int64_t y_rows, OperandTile<Scheme<P>::kSlices>& a, OperandTile<Scheme<P>::kSlices>& b,
                               TileValues& out) {
  int32_t level[8][Scheme<P>::kLevels][4] = {};
  for (int64_t k0 = 0; k0 < x.stride; k0 += kDepth) {
    copy_operand(g, x, x_first, x_step, x_rows, k0, a);
    copy_operand(g, y, y_first, y_step, y_rows, k0, b);
    g.barrier();
    multiply_tile<P>(g, a, b, level);
    g.barrier();  // the tiles may be filled again
  }
  FAIRWAY_UNROLL for (int h = 0; h < 2; ++h) {
    const int row = tile_row(g.thread(), h);
    const int32_t ex = row < x_rows ? g.load(x.exponent + x_first + row * x_step) : num::kMinExponent;
    FAIRWAY_UNROLL for (int i = 0; i < 16; ++i) {
      const int column = tile_column(g.thread(), i);
      const int32_t ey = column < y_rows ? g.load(y.exponent + y_first + column * y_step) : num::kMinExponent;
      out[h][i] = num::grid_value(joined<P>(level[i / 2], 2 * h + i % 2), ex + ey + Scheme<P>::kShift - 2 * Scheme<P>::kBits);
    }
  }
}

/// Joins one value per lane over the four lanes that share a row.
template <class G, class T, class Join>
FAIRWAY_BODY T join_row(G& g, T x, const Join& join) {
  x = join(x, g.shuffle_xor(x, 1));
  return join(x, g.shuffle_xor(x, 2));
}

/// Quantises each row of terms (64 values of one block) and multiplies with 64 columns of `turned`; the sums land on the int64 grid
/// 2^grid[h] of acc: [column tile][h][i % 2]. `a`: 16 rows per warp, used by this warp alone.
template <Products P, class G>
FAIRWAY_BODY void add_terms(G& g, const TileValues& terms, const int32_t (&grid)[2], OperandTile<Scheme<P>::kSlices>& a,
                            const OperandTile<Scheme<P>::kSlices>& turned, int64_t (&acc)[8][4], uint32_t* failure) {
  constexpr int kSlices = Scheme<P>::kSlices, kBits = Scheme<P>::kBits;
  double factor[2];
  g.warp_barrier();  // what this warp wrote there before has been read
  FAIRWAY_UNROLL for (int h = 0; h < 2; ++h) {
    uint32_t max = 0;
    FAIRWAY_UNROLL for (int i = 0; i < 16; ++i) {
      const uint32_t m = num::magnitude_bits(terms[h][i]);
      max = m > max ? m : max;
    }
    max = join_row(g, max, [](uint32_t x, uint32_t y) { return x > y ? x : y; });
    if (max >= num::kInfinityBits) {
      g.atomic_or(failure, kNotFinite);
      max = 0;  // whatever follows is not used, but keeps its exponents in range
    }
    const int32_t e = num::group_exponent(max, kBits);
    const float scale = num::quantiser_scale(e, kBits);
    factor[h] = num::pow2_f64(e - 2 * kBits + Scheme<P>::kShift - grid[h]);
    const int row = tile_row(g.thread(), h);
    FAIRWAY_UNROLL for (int i = 0; i < 16; i += 2) {
      uint32_t word[3] = {0, 0, 0};
      FAIRWAY_UNROLL for (int o = 0; o < 2; ++o) {
        pack_slices<kSlices>(num::quantise(terms[h][i + o], scale), o, word);
      }
      const int column = tile_column(g.thread(), i);
      FAIRWAY_UNROLL for (int s = 0; s < kSlices; ++s) {
        g.store(reinterpret_cast<uint16_t*>(&a.slice[s][swizzled(row, column / 16) + column % 16]), static_cast<uint16_t>(word[s]));
      }
    }
  }
  g.warp_barrier();
  int32_t level[8][Scheme<P>::kLevels][4] = {};
  multiply_tile<P>(g, a, turned, level);
  FAIRWAY_UNROLL for (int j = 0; j < 8; ++j) {
    FAIRWAY_UNROLL for (int e = 0; e < 4; ++e) acc[j][e] += num::move_to_grid(joined<P>(level[j], e), factor[e / 2]);
  }
}

/// prefix[s][h][t] = the largest exponent of v up to token t. One thread per sequence and head.
struct ExponentPrefix {
  static constexpr int kThreads = 32;
  using Shared = NoShared;
  const int32_t* exponent;  ///< (sequences * length, kv_heads)
  int64_t sequences, length, kv_heads;
  int32_t* prefix;

  FAIRWAY_HD_MEMBER int64_t blocks() const { return sequences * kv_heads; }

  /// Each lane takes a run of tokens, then learns what the runs before it reach.
  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    const int64_t sequence = g.block() / kv_heads, head = g.block() % kv_heads;
    const int64_t run = (length + kWarp - 1) / kWarp, first = g.thread() * run, last = first + run < length ? first + run : length;
    const auto at = [&](int64_t t) { return g.load(exponent + (sequence * length + t) * kv_heads + head); };
    int32_t max = num::kMinExponent;
    for (int64_t t = first; t < last; ++t) max = at(t) > max ? at(t) : max;
    // Before this lane's run: a butterfly that keeps, of each exchange, only what comes from lower lanes.
    int32_t before = num::kMinExponent, all = max;
    FAIRWAY_UNROLL for (int mask = 1; mask < kWarp; mask *= 2) {
      const int32_t other = g.shuffle_xor(all, mask);
      if ((g.thread() & mask) != 0) before = other > before ? other : before;
      all = other > all ? other : all;
    }
    for (int64_t t = first; t < last; ++t) {
      before = at(t) > before ? at(t) : before;
      g.store(prefix + g.block() * length + t, before);
    }
  }
};

/// turned[s][h][d][t] = plane of row (s, t, h), column d: 64 x 64 bytes per block. (sequences, heads, head_dim rounded up to 64, length rounded up).
template <int kSlices>
struct TurnHeads {
  static constexpr int kThreads = 256;
  struct Shared {
    alignas(16) int8_t tile[kSlices][kDepth][kDepth + 4];
  };
  Slices rows;  ///< (sequences * length * heads, head_dim)
  int64_t sequences, length, heads;
  Slices turned;

  FAIRWAY_HD_MEMBER int64_t token_tiles() const { return (length + kDepth - 1) / kDepth; }
  FAIRWAY_HD_MEMBER int64_t blocks() const { return sequences * heads * token_tiles() * (rows.stride / kDepth); }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    Shared& shared = g.template shared<Shared>();
    const int64_t d_tiles = rows.stride / kDepth, item = g.block() / d_tiles / token_tiles();
    const int64_t d0 = g.block() % d_tiles * kDepth, t0 = g.block() / d_tiles % token_tiles() * kDepth;
    const int64_t sequence = item / heads, head = item % heads;
    for (int i = g.thread(); i < kDepth * kDepth / 4; i += kThreads) {
      const int token = i / (kDepth / 4), d = i % (kDepth / 4) * 4;
      FAIRWAY_UNROLL for (int s = 0; s < kSlices; ++s) {
        uint32_t word = 0;
        if (t0 + token < length) {
          word = g.load(reinterpret_cast<const uint32_t*>(rows.plane[s] + ((sequence * length + t0 + token) * heads + head) * rows.stride + d0 + d));
        }
        FAIRWAY_UNROLL for (int b = 0; b < 4; ++b) g.store(&shared.tile[s][d + b][token], static_cast<int8_t>(word >> (8 * b)));
      }
    }
    g.barrier();
    for (int i = g.thread(); i < kDepth * kDepth / 4; i += kThreads) {
      const int d = i / (kDepth / 4), token = i % (kDepth / 4) * 4;
      FAIRWAY_UNROLL for (int s = 0; s < kSlices; ++s) {
        store_word(g, turned.plane[s] + (item * rows.stride + d0 + d) * turned.stride + t0 + token,
                   g.load(reinterpret_cast<const uint32_t*>(&shared.tile[s][d][token])));
      }
    }
  }
};

/// Shared memory of every pass: two operands of the scores, the terms, and the turned operand.
template <Products P>
struct AttentionShared {
  OperandTile<Scheme<P>::kSlices> a, b, terms, turned;
};

/// out and the row statistics. A block: 64 queries of one head, one piece of 64 of the head dimension.
template <Products P>
struct AttentionForwardPass {
  static constexpr int kThreads = kAttentionThreads;
  using Shared = AttentionShared<P>;
  AttentionInputs in;
  Slices v_turned;
  float* out;
  int32_t* row_max;
  int64_t* row_units;
  uint32_t* failure;

  FAIRWAY_HD_MEMBER int64_t blocks() const { return in.sequences * in.heads * in.tiles() * in.depth_tiles(); }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    Shared& shared = g.template shared<Shared>();
    const AttentionPlace place = in.place(g.block(), in.heads, true);
    const int64_t d_tile = place.d_tile, sequence = place.sequence, head = place.head, kv = head / in.group(), i0 = place.first, rows = place.rows;
    if (i0 + kAttentionTile <= in.first_query) return;  // the whole block
    const float factor = ops::score_factor(in.head_dim);
    const auto scores = [&](int64_t j0, TileValues& s) {
      const int64_t keys = in.length - j0 < kAttentionTile ? in.length - j0 : kAttentionTile;
      product_tile<P>(g, in.q, in.query_row(sequence, i0, head), in.heads, rows, in.k, in.key_row(sequence, j0, kv), in.kv_heads, keys, shared.a,
                      shared.b, s);
    };

    int32_t top[2] = {INT32_MIN, INT32_MIN};
    for (int64_t j0 = 0; j0 <= i0; j0 += kAttentionTile) {
      TileValues s;
      scores(j0, s);
      FAIRWAY_UNROLL for (int h = 0; h < 2; ++h) {
        FAIRWAY_UNROLL for (int i = 0; i < 16; ++i) {
          if (j0 + tile_column(g.thread(), i) > i0 + tile_row(g.thread(), h)) continue;
          const int32_t o = ops::ordered_bits(s[h][i]);
          top[h] = o > top[h] ? o : top[h];
        }
      }
    }
    int32_t max_floor[2], grid[2];
    FAIRWAY_UNROLL for (int h = 0; h < 2; ++h) {
      const int32_t best = join_row(g, top[h], [](int32_t x, int32_t y) { return x > y ? x : y; });
      const float t = ops::score(ops::from_ordered_bits(best), factor);
      const bool usable = num::absolute(t) <= ops::kMaxScore;
      const int row = tile_row(g.thread(), h);
      if (!usable && row < rows) g.atomic_or(failure, kTooLarge);
      max_floor[h] = usable ? num::floor_to_int(t) : 0;
      grid[h] = (row < rows ? g.load(in.prefix + (sequence * in.kv_heads + kv) * in.length + i0 + row) : num::kMinExponent) - 40;
    }

    int64_t acc[8][4] = {}, units[2] = {0, 0};
    for (int64_t j0 = 0; j0 <= i0; j0 += kAttentionTile) {
      const int64_t keys = in.length - j0 < kAttentionTile ? in.length - j0 : kAttentionTile;
      copy_operand(g, v_turned, (sequence * in.kv_heads + kv) * in.v.stride + d_tile * kDepth, 1, kDepth, j0, shared.turned);
      TileValues s;
      scores(j0, s);  // its barriers cover the copy above
      FAIRWAY_UNROLL for (int i = 0; i < 16; ++i) {
        const int column = tile_column(g.thread(), i);
        const int32_t ev = column < keys ? g.load(in.v.exponent + in.key_row(sequence, j0 + column, kv)) : num::kMinExponent;
        FAIRWAY_UNROLL for (int h = 0; h < 2; ++h) {
          // Rows beyond the last have no grid that their terms would fit.
          const bool visible = j0 + column <= i0 + tile_row(g.thread(), h) && column < keys && tile_row(g.thread(), h) < rows;
          const ops::Probability p = ops::probability(ops::score(s[h][i], factor), max_floor[h]);
          units[h] += visible ? p.units : 0u;
          const float term = ops::block_term(p.p, num::pow2_f32(ev));
          s[h][i] = visible ? term : 0.0f;
        }
      }
      add_terms<P>(g, s, grid, shared.terms, shared.turned, acc, failure);
      g.barrier();  // the turned operand may be filled again
    }
    FAIRWAY_UNROLL for (int h = 0; h < 2; ++h) {
      const int64_t sum = join_row(g, units[h], [](int64_t x, int64_t y) { return x + y; });
      const int row = tile_row(g.thread(), h);
      if (row >= rows) continue;
      const int64_t at = in.query_row(sequence, i0 + row, head);
      if (d_tile == 0 && g.thread() % 4 == 0) {
        g.store(row_max + at, max_floor[h]);
        g.store(row_units + at, sum);
      }
      const float normaliser = ops::row_sum(sum);
      FAIRWAY_UNROLL for (int i = 0; i < 16; ++i) {
        const int64_t d = d_tile * kDepth + tile_column(g.thread(), i);
        if (d < in.head_dim) g.store(out + at * in.head_dim + d, ops::attention_output(acc[i / 2][2 * h + i % 2], grid[h], normaliser));
      }
    }
  }
};

/// What the backward passes share: the row statistics, and the largest exponents that set the grids.
struct BackwardInputs {
  const int32_t* row_max;
  const int64_t* row_units;
  float* delta;            ///< (sequences * length, heads), written by the pass that owns queries
  const int32_t* largest;  ///< (sequences, kv_heads, 4): of q, k, v and dout over the sequence and the heads that share a key
};

enum Largest { kLargestQ, kLargestK, kLargestV, kLargestDout };

/// largest[s][kv][which] is raised to the exponents of rows (s, t, heads that share kv). It holds kMinExponent before.
struct LargestExponents {
  static constexpr int kThreads = 256;
  using Shared = NoShared;
  const int32_t* exponent;  ///< (sequences * length, kv_heads * group)
  int64_t sequences, length, kv_heads, group;
  int which;
  int32_t* largest;

  FAIRWAY_HD_MEMBER int64_t blocks() const { return (sequences * length * kv_heads * group + kThreads - 1) / kThreads; }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    const int64_t i = g.block() * kThreads + g.thread(), heads = kv_heads * group;
    if (i >= sequences * length * heads) return;
    g.atomic_max(largest + (i / heads / length * kv_heads + i % heads / group) * 4 + which, g.load(exponent + i));
  }
};

/// The limit of exponents (ops::kMaxAttentionExponent): a row beyond it is reported. An Element of Elements.
struct CheckExponents {
  const int32_t* exponent;
  uint32_t* failure;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    if (g.load(exponent + i) > ops::kMaxAttentionExponent) g.atomic_or(failure, kNotFinite);
  }
};

/// The exponent below all others. An Element of Elements.
struct FillExponents {
  int32_t* exponent;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(exponent + i, num::kMinExponent);
  }
};

/// delta of each query, then dq. A block: 64 queries of one head, one piece of 64 of the head dimension.
template <Products P>
struct AttentionBackwardQueries {
  static constexpr int kThreads = kAttentionThreads;
  using Shared = AttentionShared<P>;
  AttentionInputs in;
  BackwardInputs back;
  Slices k_turned;
  float* dq;
  uint32_t* failure;

  FAIRWAY_HD_MEMBER int64_t blocks() const { return in.sequences * in.heads * in.tiles() * in.depth_tiles(); }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    Shared& shared = g.template shared<Shared>();
    const AttentionPlace place = in.place(g.block(), in.heads, true);
    const int64_t d_tile = place.d_tile, sequence = place.sequence, head = place.head, kv = head / in.group(), i0 = place.first, rows = place.rows;
    const float factor = ops::score_factor(in.head_dim);
    int32_t max_floor[2], delta_grid[2];
    float inverse[2];
    FAIRWAY_UNROLL for (int h = 0; h < 2; ++h) {
      const int row = tile_row(g.thread(), h) < rows ? tile_row(g.thread(), h) : 0;
      const int64_t at = in.query_row(sequence, i0 + row, head);
      max_floor[h] = g.load(back.row_max + at);
      inverse[h] = ops::inverse_row_sum(g.load(back.row_units + at));
      delta_grid[h] = g.load(in.dout.exponent + at) + g.load(in.prefix + (sequence * in.kv_heads + kv) * in.length + i0 + row) - 40;
    }
    const auto gradients = [&](int64_t j0, TileValues& p, TileValues& dp) {
      const int64_t keys = in.length - j0 < kAttentionTile ? in.length - j0 : kAttentionTile;
      const int64_t query = in.query_row(sequence, i0, head), key = in.key_row(sequence, j0, kv);
      product_tile<P>(g, in.q, query, in.heads, rows, in.k, key, in.kv_heads, keys, shared.a, shared.b, p);
      product_tile<P>(g, in.dout, query, in.heads, rows, in.v, key, in.kv_heads, keys, shared.a, shared.b, dp);
      FAIRWAY_UNROLL for (int h = 0; h < 2; ++h) {
        FAIRWAY_UNROLL for (int i = 0; i < 16; ++i) {
          const int column = tile_column(g.thread(), i);
          const bool visible = column < keys && j0 + column <= i0 + tile_row(g.thread(), h);
          const float raw = ops::probability(ops::score(p[h][i], factor), max_floor[h]).p;
          p[h][i] = ops::normalised(visible ? raw : 0.0f, inverse[h]);
          dp[h][i] = visible ? dp[h][i] : 0.0f;
        }
      }
    };

    int64_t sum[2] = {0, 0};
    TileValues p, ds;
    for (int64_t j0 = 0; j0 <= i0; j0 += kAttentionTile) {
      gradients(j0, p, ds);
      FAIRWAY_UNROLL for (int h = 0; h < 2; ++h) {
        const double unit = num::pow2_f64(-delta_grid[h]);
        FAIRWAY_UNROLL for (int i = 0; i < 16; ++i) sum[h] += ops::delta_units(p[h][i], ds[h][i], unit);
      }
    }
    float delta[2];
    FAIRWAY_UNROLL for (int h = 0; h < 2; ++h) {
      const int64_t all = join_row(g, sum[h], [](int64_t x, int64_t y) { return x + y; });
      delta[h] = num::grid_value(all, delta_grid[h]);
      const int row = tile_row(g.thread(), h);
      if (d_tile == 0 && g.thread() % 4 == 0 && row < rows) g.store(back.delta + in.query_row(sequence, i0 + row, head), delta[h]);
    }

    const int32_t* largest = back.largest + (sequence * in.kv_heads + kv) * 4;
    const int32_t of_all = ops::score_gradient_grid(g.load(largest + kLargestDout), g.load(largest + kLargestV), g.load(largest + kLargestK));
    const int32_t grid[2] = {of_all, of_all};
    int64_t acc[8][4] = {};
    for (int64_t j0 = 0; j0 <= i0; j0 += kAttentionTile) {
      const int64_t keys = in.length - j0 < kAttentionTile ? in.length - j0 : kAttentionTile;
      copy_operand(g, k_turned, (sequence * in.kv_heads + kv) * in.k.stride + d_tile * kDepth, 1, kDepth, j0, shared.turned);
      gradients(j0, p, ds);
      FAIRWAY_UNROLL for (int i = 0; i < 16; ++i) {
        const int column = tile_column(g.thread(), i);
        const int32_t ek = column < keys ? g.load(in.k.exponent + in.key_row(sequence, j0 + column, kv)) : num::kMinExponent;
        FAIRWAY_UNROLL for (int h = 0; h < 2; ++h) {
          const bool used = column < keys && tile_row(g.thread(), h) < rows;
          const float term = ops::block_term(ops::score_gradient(p[h][i], ds[h][i], delta[h]), num::pow2_f32(ek));
          ds[h][i] = used ? term : 0.0f;
        }
      }
      add_terms<P>(g, ds, grid, shared.terms, shared.turned, acc, failure);
      g.barrier();  // the turned operand may be filled again
    }
    const float root = ops::inverse_root(in.head_dim);
    FAIRWAY_UNROLL for (int h = 0; h < 2; ++h) {
      const int row = tile_row(g.thread(), h);
      if (row >= rows) continue;
      const int64_t at = in.query_row(sequence, i0 + row, head);
      FAIRWAY_UNROLL for (int i = 0; i < 16; ++i) {
        const int64_t d = d_tile * kDepth + tile_column(g.thread(), i);
        if (d < in.head_dim) g.store(dq + at * in.head_dim + d, ops::rooted(num::grid_value(acc[i / 2][2 * h + i % 2], of_all), root));
      }
    }
  }
};

/// dk (kScores) or dv. A block: 64 keys of one key/value head, one piece of 64 of the head dimension; it goes through the queries of all heads that
/// share the key. A tile is the transpose: rows are keys, columns queries.
template <Products P, bool kScores>
struct AttentionBackwardKeys {
  static constexpr int kThreads = kAttentionThreads;
  using Shared = AttentionShared<P>;
  AttentionInputs in;
  BackwardInputs back;
  Slices turned;  ///< of q for dk, of dout for dv
  float* gradient;
  uint32_t* failure;

  FAIRWAY_HD_MEMBER int64_t blocks() const { return in.sequences * in.kv_heads * in.tiles() * in.depth_tiles(); }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    Shared& shared = g.template shared<Shared>();
    const AttentionPlace place = in.place(g.block(), in.kv_heads, false);
    const int64_t d_tile = place.d_tile, sequence = place.sequence, kv = place.head, j0 = place.first, rows = place.rows;
    const float factor = ops::score_factor(in.head_dim);
    const int32_t* largest = back.largest + (sequence * in.kv_heads + kv) * 4;
    const int32_t dout = g.load(largest + kLargestDout);
    const int32_t of_all = kScores ? ops::score_gradient_grid(dout, g.load(largest + kLargestV), g.load(largest + kLargestQ)) : ops::value_gradient_grid(dout);
    const int32_t grid[2] = {of_all, of_all};
    const int64_t key = in.key_row(sequence, j0, kv);
    int64_t acc[8][4] = {};
    for (int64_t head = kv * in.group(); head < (kv + 1) * in.group(); ++head) {
      for (int64_t i0 = j0; i0 < in.length; i0 += kAttentionTile) {
        const int64_t queries = in.length - i0 < kAttentionTile ? in.length - i0 : kAttentionTile, query = in.query_row(sequence, i0, head);
        copy_operand(g, turned, (sequence * in.heads + head) * in.q.stride + d_tile * kDepth, 1, kDepth, i0, shared.turned);
        TileValues p, dp;
        product_tile<P>(g, in.k, key, in.kv_heads, rows, in.q, query, in.heads, queries, shared.a, shared.b, p);
        if (kScores) product_tile<P>(g, in.v, key, in.kv_heads, rows, in.dout, query, in.heads, queries, shared.a, shared.b, dp);
        FAIRWAY_UNROLL for (int i = 0; i < 16; ++i) {
          const int column = tile_column(g.thread(), i);
          const int64_t at = query + (column < queries ? column : 0) * in.heads;
          const int32_t max_floor = g.load(back.row_max + at), exponent = g.load((kScores ? in.q.exponent : in.dout.exponent) + at);
          const float inverse = ops::inverse_row_sum(g.load(back.row_units + at));
          const float delta = kScores ? g.load(back.delta + at) : 0.0f;
          FAIRWAY_UNROLL for (int h = 0; h < 2; ++h) {
            const int row = tile_row(g.thread(), h);
            const bool visible = column < queries && row < rows && j0 + row <= i0 + column;
            const float raw = ops::probability(ops::score(p[h][i], factor), max_floor).p;
            const float probability = ops::normalised(visible ? raw : 0.0f, inverse);
            float term = probability;
            if (kScores) term = ops::score_gradient(probability, visible ? dp[h][i] : 0.0f, delta);
            const float weighted = ops::block_term(term, num::pow2_f32(exponent));
            p[h][i] = column < queries ? weighted : 0.0f;
          }
        }
        add_terms<P>(g, p, grid, shared.terms, shared.turned, acc, failure);
        g.barrier();  // the turned operand may be filled again
      }
    }
    const float root = kScores ? ops::inverse_root(in.head_dim) : 1.0f;
    FAIRWAY_UNROLL for (int h = 0; h < 2; ++h) {
      const int row = tile_row(g.thread(), h);
      FAIRWAY_UNROLL for (int i = 0; i < 16; ++i) {
        const int64_t d = d_tile * kDepth + tile_column(g.thread(), i);
        float value = num::grid_value(acc[i / 2][2 * h + i % 2], of_all);
        if (kScores) value = ops::rooted(value, root);
        if (row < rows && d < in.head_dim) g.store(gradient + in.key_row(sequence, j0 + row, kv) * in.head_dim + d, value);
      }
    }
  }
};

}  // namespace fairway::cuda
