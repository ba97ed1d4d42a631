/// Buckets of hashed token pairs and triples (NUMERICS.md, "Hash embeddings"). Ids are below 2^16, so no product overflows 64 bits.
#pragma once

#include "kernels/num/hd.h"

namespace fairway::ops {

enum class BigramHash {
  kAffine92821,   ///< (92821 previous + current) mod buckets; previous = 0 at position 0
  kAffine31,      ///< (31 previous + current) mod buckets; likewise
  kXorPrevious,   ///< (36313 previous ^ 27191 current) mod (buckets - 1); likewise
  kXorCurrent,    ///< (36313 current ^ 27191 previous) mod (buckets - 1); position 0: bucket buckets - 1
};

FAIRWAY_HD uint64_t bigram_bucket(BigramHash hash, bool first, uint64_t previous, uint64_t current, uint64_t buckets) {
  previous = first ? 0u : previous;
  switch (hash) {
    case BigramHash::kAffine92821: return (92821u * previous + current) % buckets;
    case BigramHash::kAffine31: return (31u * previous + current) % buckets;
    case BigramHash::kXorPrevious: return (36313u * previous ^ 27191u * current) % (buckets - 1u);
    case BigramHash::kXorCurrent: break;
  }
  return first ? buckets - 1u : (36313u * current ^ 27191u * previous) % (buckets - 1u);
}

/// Positions 0 and 1 have no two predecessors: bucket buckets - 1.
FAIRWAY_HD uint64_t trigram_bucket(bool early, uint64_t before, uint64_t previous, uint64_t current, uint64_t buckets) {
  return early ? buckets - 1u : (36313u * current ^ 27191u * previous ^ 51497u * before) % (buckets - 1u);
}

}  // namespace fairway::ops
