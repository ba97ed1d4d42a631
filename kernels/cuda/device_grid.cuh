/// The grid of a real device; see grid.h. Inline PTX only where CUDA C++ has no word for it.
#pragma once

#include "kernels/cuda/grid.h"

namespace fairway::cuda {

struct DeviceGrid {
  __device__ __forceinline__ int64_t block() const { return blockIdx.x; }
  __device__ __forceinline__ int64_t blocks() const { return gridDim.x; }
  __device__ __forceinline__ int thread() const { return static_cast<int>(threadIdx.x); }

  template <class S>
  __device__ __forceinline__ S& shared() const {
    extern __shared__ __align__(128) unsigned char fairway_shared_memory[];
    return *reinterpret_cast<S*>(fairway_shared_memory);
  }
  template <class T>
  __device__ __forceinline__ T load(const T* p) const { return *p; }
  template <class T>
  __device__ __forceinline__ void store(T* p, T v) const { *p = v; }

  __device__ __forceinline__ void atomic_add(int64_t* p, int64_t v) const {
    atomicAdd(reinterpret_cast<unsigned long long*>(p), static_cast<unsigned long long>(v));
  }
  __device__ __forceinline__ void atomic_max(uint32_t* p, uint32_t v) const { atomicMax(p, v); }
  __device__ __forceinline__ void atomic_max(int32_t* p, int32_t v) const { atomicMax(p, v); }
  __device__ __forceinline__ void atomic_or(uint32_t* p, uint32_t v) const { atomicOr(p, v); }

  __device__ __forceinline__ void barrier() const { __syncthreads(); }
  __device__ __forceinline__ void warp_barrier() const { __syncwarp(); }
  template <class T>
  __device__ __forceinline__ T shuffle_xor(T v, int mask) const { return __shfl_xor_sync(0xffffffffu, v, mask); }

  __device__ __forceinline__ void load_matrices(const int8_t* row, uint32_t (&r)[4]) const {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
  }
  __device__ __forceinline__ void mma_s8(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) const {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
  __device__ __forceinline__ void copy_async(int8_t* to, const int8_t* from, bool valid) const {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(valid ? 16 : 0) : "memory");
  }
  __device__ __forceinline__ void commit() const { asm volatile("cp.async.commit_group;" ::: "memory"); }
  template <int N>
  __device__ __forceinline__ void wait() const { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

 private:
  static __device__ __forceinline__ uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }
};

}  // namespace fairway::cuda
