/// The exact product (NUMERICS.md, N5) on tensor cores: slices are multiplied and joined in registers, binary32 or int64 goes out.
#pragma once

#include "kernels/cuda/bodies/slice_tile.h"
#include "kernels/num/exact_sum.h"

namespace fairway::cuda {

/// Stores the product.
struct StoreProduct {
  Matrix<float> c;

  template <class G>
  FAIRWAY_BODY void store(G& g, int64_t row, int64_t column, float value) const {
    g.store(c.at(row, column), value);
  }
};

/// Adds the product, a chunk's gradient, to accumulators (N7) in the kernel that made it; each element has one owner.
struct AccumulateProduct {
  Matrix<int64_t> accumulator;
  float limit;
  uint32_t* failure;

  template <class G>
  FAIRWAY_BODY void store(G& g, int64_t row, int64_t column, float value) const {
    if (num::magnitude_bits(value) > num::bits_of(limit)) {
      g.atomic_or(failure, kTooLarge);
      return;
    }
    int64_t* at = accumulator.at(row, column);
    g.store(at, g.load(at) + num::gradient_units_large(value));
  }
};

/// `batch` products C_i = A_i B_i^T of stacked operands: A (batch * m, k), B (batch * n, k), C (batch * m, n).
template <Products P, class Sink>
struct ExactMatmul {
  static constexpr int kThreads = 256;
  static constexpr int kSlices = Scheme<P>::kSlices, kLevels = Scheme<P>::kLevels;
  // Accumulators fill the registers: 64 x 32 per warp with two levels, 32 x 32 with three.
  static constexpr int kTileM = 128, kTileN = kLevels == 2 ? 128 : 64;
  static constexpr int kWarpM = kLevels == 2 ? 64 : 32, kWarpN = 32;
  static constexpr int kStages = kSlices == 2 ? 3 : 2;
  static constexpr int kWarpsN = kTileN / kWarpN;
  static_assert(kTileM / kWarpM * kWarpsN * kWarp == kThreads);
  struct Shared {
    alignas(128) int8_t a[kStages][kSlices][kTileM * kDepth];
    alignas(128) int8_t b[kStages][kSlices][kTileN * kDepth];
  };

  Slices a, b;
  int64_t batch, m, n;
  Sink sink;

  FAIRWAY_HD_MEMBER int64_t tiles_m() const { return (m + kTileM - 1) / kTileM; }
  FAIRWAY_HD_MEMBER int64_t tiles_n() const { return (n + kTileN - 1) / kTileN; }
  FAIRWAY_HD_MEMBER int64_t blocks() const { return batch * tiles_m() * tiles_n(); }

  /// Copies 64 columns from k on of `count` rows of one operand; rows beyond the last become zeros.
  template <int kRows, class G>
  FAIRWAY_BODY void fetch(G& g, const Slices& x, int64_t first, int64_t rows, int64_t k, int8_t (&to)[kSlices][kRows * kDepth]) const {
    FAIRWAY_UNROLL for (int i = 0; i < kSlices * kRows * 4 / kThreads; ++i) {
      const int index = i * kThreads + g.thread();
      const int slice = index / (kRows * 4), row = index / 4 % kRows, piece = index % 4;
      const bool valid = row < rows;
      const int8_t* from = x.plane[slice] + (valid ? (first + row) * x.stride + k + 16 * piece : 0);
      g.copy_async(&to[slice][swizzled(row, piece)], from, valid);
    }
  }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    Shared& shared = g.template shared<Shared>();
    const int lane = g.thread() % kWarp, warp = g.thread() / kWarp;
    const int64_t item = g.block() / (tiles_m() * tiles_n()), tile = g.block() % (tiles_m() * tiles_n());
    const int64_t m0 = tile / tiles_n() * kTileM, n0 = tile % tiles_n() * kTileN;
    const int64_t steps = a.stride / kDepth;
    const int warp_m = warp / kWarpsN * kWarpM, warp_n = warp % kWarpsN * kWarpN;

    int32_t level[kWarpM / 16][kWarpN / 8][kLevels][4] = {};
    const auto fetch_step = [&](int64_t step) {
      if (step < steps) {
        const int slot = static_cast<int>(step % kStages);
        fetch<kTileM>(g, a, item * m + m0, m - m0, step * kDepth, shared.a[slot]);
        fetch<kTileN>(g, b, item * n + n0, n - n0, step * kDepth, shared.b[slot]);
      }
      g.commit();  // a group per step, empty at the end, so that the count of groups tells which step has arrived
    };
    for (int step = 0; step < kStages - 1; ++step) fetch_step(step);
    for (int64_t step = 0; step < steps; ++step) {
      g.template wait<kStages - 2>();
      g.barrier();  // everybody's copies are there, and nobody reads the slot that is filled next
      fetch_step(step + kStages - 1);
      const int slot = static_cast<int>(step % kStages);
      FAIRWAY_UNROLL for (int half = 0; half < kDepth / 32; ++half) {
        uint32_t y[kWarpN / 16][kSlices][4];
        FAIRWAY_UNROLL for (int j = 0; j < kWarpN / 16; ++j) {
          FAIRWAY_UNROLL for (int s = 0; s < kSlices; ++s) g.load_matrices(&shared.b[slot][s][b_offset(lane, warp_n + 16 * j, 2 * half)], y[j][s]);
        }
        FAIRWAY_UNROLL for (int i = 0; i < kWarpM / 16; ++i) {
          uint32_t x[kSlices][4];
          FAIRWAY_UNROLL for (int s = 0; s < kSlices; ++s) g.load_matrices(&shared.a[slot][s][a_offset(lane, warp_m + 16 * i, 2 * half)], x[s]);
          FAIRWAY_UNROLL for (int j = 0; j < kWarpN / 8; ++j) multiply_slices<P>(g, level[i][j], x, y[j / 2], j % 2);
        }
      }
    }
    g.template wait<0>();

    FAIRWAY_UNROLL for (int i = 0; i < kWarpM / 16; ++i) {
      FAIRWAY_UNROLL for (int j = 0; j < kWarpN / 8; ++j) {
        FAIRWAY_UNROLL for (int e = 0; e < 4; ++e) {
          const int64_t row = m0 + warp_m + 16 * i + lane / 4 + e / 2 * 8, column = n0 + warp_n + 8 * j + lane % 4 * 2 + e % 2;
          if (row >= m || column >= n) continue;
          const int32_t exponent = g.load(a.exponent + item * m + row) + g.load(b.exponent + item * n + column);
          sink.store(g, item * m + row, column, num::grid_value(joined<P>(level[i][j], e), exponent + Scheme<P>::kShift - 2 * Scheme<P>::kBits));
        }
      }
    }
  }
};

}  // namespace fairway::cuda
