/// Transposes of stacked matrices, by tiles of 32 x 32 through shared memory.
#pragma once

#include "kernels/cuda/grid.h"

namespace fairway::cuda {

/// out (count, columns, rows) = x (count, rows, columns) turned.
struct TurnMatrices {
  static constexpr int kThreads = 256, kTile = 32;
  struct Shared {
    float tile[kTile][kTile + 1];
  };
  const float* x;
  int64_t count, rows, columns;
  float* out;

  FAIRWAY_HD_MEMBER int64_t tiles_r() const { return (rows + kTile - 1) / kTile; }
  FAIRWAY_HD_MEMBER int64_t tiles_c() const { return (columns + kTile - 1) / kTile; }
  FAIRWAY_HD_MEMBER int64_t blocks() const { return count * tiles_r() * tiles_c(); }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    Shared& shared = g.template shared<Shared>();
    const int64_t item = g.block() / (tiles_r() * tiles_c()) * rows * columns;
    const int64_t r0 = g.block() / tiles_c() % tiles_r() * kTile, c0 = g.block() % tiles_c() * kTile;
    const int fast = g.thread() % kTile;
    for (int slow = g.thread() / kTile; slow < kTile; slow += kThreads / kTile) {
      if (r0 + slow < rows && c0 + fast < columns) g.store(&shared.tile[slow][fast], g.load(x + item + (r0 + slow) * columns + c0 + fast));
    }
    g.barrier();
    for (int slow = g.thread() / kTile; slow < kTile; slow += kThreads / kTile) {
      if (c0 + slow < columns && r0 + fast < rows) g.store(out + item + (c0 + slow) * rows + r0 + fast, g.load(&shared.tile[fast][slow]));
    }
  }
};

}  // namespace fairway::cuda
