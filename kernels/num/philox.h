/// Philox4x32-10 and the two distributions built on it (NUMERICS.md, N8).
///
/// Counter-based: element i of a tensor depends on (seed, tensor, purpose, i) and on nothing that ran before it.
/// Source: Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
#pragma once

#include "kernels/num/log.h"
#include "kernels/num/trig.h"

namespace fairway::num {

struct Philox {
  uint32_t word[4];
};

/// The block with counter (index low, index high, tensor, purpose) under the 64-bit key `seed` (low word first).
FAIRWAY_HD Philox philox(uint64_t seed, uint64_t index, uint32_t tensor, uint32_t purpose) {
  uint32_t c0 = static_cast<uint32_t>(index), c1 = static_cast<uint32_t>(index >> 32), c2 = tensor, c3 = purpose;
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    uint64_t p0 = 0xd2511f53ull * c0;
    uint64_t p1 = 0xcd9e8d57ull * c2;
    uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return {{c0, c1, c2, c3}};
}

/// (2 floor(r / 2^9) + 1) * 2^-24: exact, in (0, 1), never an end point.
FAIRWAY_HD float uniform_of(uint32_t r) { return static_cast<float>(2u * (r >> 9) + 1u) * 0x1p-24f; }

/// Element i of the uniform sequence on (0, 1): word i mod 4 of block floor(i / 4).
FAIRWAY_HD float uniform(uint64_t seed, uint32_t tensor, uint32_t purpose, uint64_t i) {
  return uniform_of(philox(seed, i / 4, tensor, purpose).word[i % 4]);
}

/// Element i of the standard normal sequence: Box-Muller on words (0, 1) or (2, 3) of block floor(i / 4);
/// even i take the cosine, odd i the sine.
FAIRWAY_HD float normal(uint64_t seed, uint32_t tensor, uint32_t purpose, uint64_t i) {
  Philox block = philox(seed, i / 4, tensor, purpose);
  uint32_t pair = static_cast<uint32_t>(i % 4) & 2u;
  float u1 = uniform_of(block.word[pair]);
  float u2 = uniform_of(block.word[pair + 1]);
  float radius = sqrt(-2.0f * log(u1));
  SinCos angle = sin_cos(0x1.921fb6p+2f * u2);
  return radius * (i % 2 == 0 ? angle.cos : angle.sin);
}

/// Purposes keep the streams of one tensor apart. Numbers are never reused.
enum Purpose : uint32_t {
  kPurposeInit = 1,
  kPurposeSpotCheck = 2,
  kPurposeCalibration = 3,
  kPurposeWitness = 16,  ///< engine/eval: windows run again
  kPurposeProbe = 17,    ///< verifier/probe: cuts and replacement tokens
  kPurposeAdapter = 18,  ///< engine/eval: initial adapters
};

}  // namespace fairway::num
