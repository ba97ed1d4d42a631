/// What differs between the three compilations of kernels/cpu/isa: the namespace and the product kernel.
///
/// Every .cc of this folder is compiled once per instruction set with FAIRWAY_ISA_LEVEL = 0 (portable), 1 (AVX2 + FMA) or
/// 2 (AVX-512 + VNNI) and the matching -m flags. All symbols live in a namespace of the set, and bodies from kernels/num are
/// inlined, so no two compilations can be merged by the linker. Nothing here includes the standard library's templates.
#pragma once

#if FAIRWAY_ISA_LEVEL == 2
#define FAIRWAY_ISA_NAMESPACE avx512
#elif FAIRWAY_ISA_LEVEL == 1
#define FAIRWAY_ISA_NAMESPACE avx2
#elif FAIRWAY_ISA_LEVEL == 0
#define FAIRWAY_ISA_NAMESPACE portable
#else
#error "compile with FAIRWAY_ISA_LEVEL = 0, 1 or 2"
#endif

#define FAIRWAY_INLINE static inline __attribute__((always_inline))
