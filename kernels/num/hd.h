/// FAIRWAY_HD marks the single-source bodies: one text of mathematics, compiled by g++, clang and nvcc.
///
/// On the host every body has internal linkage and is always inlined: the same header is compiled once per instruction
/// set, and a linker that merged an AVX-512 copy into the portable path would crash on older machines.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define FAIRWAY_HD static __host__ __device__ __forceinline__
#define FAIRWAY_HD_MEMBER __host__ __device__ __forceinline__
#else
#define FAIRWAY_HD static inline __attribute__((always_inline))
#define FAIRWAY_HD_MEMBER inline __attribute__((always_inline))
#endif

#if defined(__FAST_MATH__)
#error "Fairway's numerics are IEEE operations in the order written; do not compile them with -ffast-math"
#endif
