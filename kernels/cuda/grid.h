/// The grid that kernel bodies are written for. One text of a body runs on two grids: DeviceGrid (device_grid.cuh, compiled by nvcc) and
/// the simulated grid of tests/kernels/cuda, in which threads are fibers and every access is checked for bounds and races.
///
/// A body is a struct that holds the arguments of a launch:
///
///   static constexpr int kThreads   threads per block, a multiple of 32
///   using Shared                    the block's shared memory, `NoShared` for none
///   blocks()                        how many blocks a launch has
///   template <class G> FAIRWAY_BODY void operator()(G& g) const
///
/// and G offers
///
///   g.block(), g.blocks(), g.thread()        indices; warp = thread / 32, lane = thread % 32
///   g.template shared<Shared>()              uninitialised at the start of a block
///   g.load(p), g.store(p, v)                 every access to global or shared memory, in one piece of sizeof(*p) bytes
///   g.atomic_add / atomic_max / atomic_or    integers only: their order cannot change a result
///   g.barrier()                              all threads of the block; orders their accesses to memory
///   g.warp_barrier()                         all lanes of the warp; likewise
///   g.shuffle_xor(v, mask)                   the value of lane ^ mask; all lanes of the warp take part; orders no memory
///   g.load_matrices(row, r)                  ldmatrix.x4: four 8 x 16 byte matrices, lane i names row i % 8 of matrix i / 8 in shared memory
///   g.mma_s8(c, a, b)                        mma.m16n8k32 on int8 with int32 accumulators that wrap
///   g.copy_async(to, from, valid)            16 bytes from global to shared memory, zeros if not valid; then commit() and wait<N>()
///
/// A body contains no formula: what decides a bit stands in kernels/num and kernels/ops.
#pragma once

#include "kernels/num/hd.h"

#if defined(__CUDACC__)
#define FAIRWAY_BODY __device__ __forceinline__
#define FAIRWAY_UNROLL _Pragma("unroll")
#else
#define FAIRWAY_BODY inline
#define FAIRWAY_UNROLL
#endif

namespace fairway::cuda {

constexpr int kWarp = 32;

struct NoShared {};

/// 16 bytes moved by one instruction.
struct alignas(16) Words4 {
  uint32_t word[4];
};
struct alignas(16) Floats4 {
  float value[4];
};

/// Memory of the device with its shape: rows x columns elements, row r at data + r * stride.
template <class T>
struct Matrix {
  T* data = nullptr;
  int64_t rows = 0, columns = 0, stride = 0;

  FAIRWAY_HD_MEMBER T* at(int64_t row, int64_t column) const { return data + row * stride + column; }
  FAIRWAY_HD_MEMBER Matrix<const T> readable() const { return {data, rows, columns, stride}; }
};

/// What a kernel found wrong, as bits of one word that the host reads when it must know. The first operation that failed is not
/// known; whoever needs its name asks after each (Device::take_failure).
enum Failure : uint32_t {
  kNotFinite = 1,   ///< a value that has no integer form
  kTooLarge = 2,    ///< a gradient term beyond its limit, a score or a loss out of range
};

/// The largest of one value per lane, in every lane.
template <class G, class T>
FAIRWAY_BODY T warp_max(G& g, T x) {
  FAIRWAY_UNROLL for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    T other = g.shuffle_xor(x, mask);
    x = other > x ? other : x;
  }
  return x;
}

/// The sum of one integer per lane, in every lane.
template <class G>
FAIRWAY_BODY int64_t warp_sum(G& g, int64_t x) {
  FAIRWAY_UNROLL for (int mask = kWarp / 2; mask > 0; mask /= 2) x += g.shuffle_xor(x, mask);
  return x;
}

}  // namespace fairway::cuda
