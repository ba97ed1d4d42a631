/// Products of int8 slices in tensor-core tiles, shared by matmul and attention.
///
/// Level l is the int32 sum of the slice products with i + j = l, slice 0 the highest; no level overflows up to the longest
/// contraction (kernels/quantised.h). T joins the levels as kernels/cpu/isa/tile.h does: 128 levels[0] + levels[1], and so on.
#pragma once

#include "kernels/cuda/bodies/quantise.h"
#include "kernels/quantised.h"

namespace fairway::cuda {

using kernels::Products;

template <Products P>
struct Scheme {
  static constexpr int kSlices = P == Products::kS21 ? 3 : 2;
  static constexpr int kLevels = P == Products::kP3 ? 2 : 3;
  static constexpr int kBits = 7 * kSlices;
  /// T times this power of two is S.
  static constexpr int kShift = P == Products::kP3 ? 7 : P == Products::kP4 ? 0 : 14;
};

/// Bytes of k that lie in shared memory at once. A row is 64 bytes in four pieces of 16; piece p of row r lies at place p ^ (r / 2 % 4), so
/// that eight rows of one piece touch every bank once.
constexpr int kDepth = 64;

FAIRWAY_BODY int swizzled(int row, int piece) { return row * kDepth + 16 * (piece ^ (row / 2 % 4)); }

/// Which bytes a lane names for load_matrices: operand A, 16 rows x 32 k from `row` and piece `piece` on.
FAIRWAY_BODY int a_offset(int lane, int row, int piece) { return swizzled(row + lane % 16, piece + lane / 16); }
/// Operand B: two tiles of 8 columns x 32 k; r[0], r[1] belong to the first, r[2], r[3] to the second.
FAIRWAY_BODY int b_offset(int lane, int row, int piece) { return swizzled(row + lane % 8 + lane / 16 * 8, piece + lane / 8 % 2); }

/// Adds the products of one 16 x 32 piece of A's slices and one 8 x 32 piece of B's to the levels.
template <Products P, class G>
FAIRWAY_BODY void multiply_slices(G& g, int32_t (&level)[Scheme<P>::kLevels][4], const uint32_t (&a)[Scheme<P>::kSlices][4],
                                  const uint32_t (&b)[Scheme<P>::kSlices][4], int tile) {
  FAIRWAY_UNROLL for (int i = 0; i < Scheme<P>::kSlices; ++i) {
    FAIRWAY_UNROLL for (int j = 0; j < Scheme<P>::kSlices; ++j) {
      if (i + j < Scheme<P>::kLevels) g.mma_s8(level[i + j], a[i], b[j][2 * tile], b[j][2 * tile + 1]);
    }
  }
}

/// T of element i of a tile.
template <Products P>
FAIRWAY_BODY int64_t joined(const int32_t (&level)[Scheme<P>::kLevels][4], int i) {
  int64_t t = 0;
  FAIRWAY_UNROLL for (int l = 0; l < Scheme<P>::kLevels; ++l) t = 128 * t + level[l][i];
  return t;
}

}  // namespace fairway::cuda
