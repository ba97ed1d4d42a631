/// Elements of MUD around its products (NUMERICS.md, "MUD"); rows are divided as Newton-Schulz divides its input.
#pragma once

#include <cstdint>

#include "kernels/ops/muon.h"

namespace fairway::ops {

/// A row of x below those that are solved: x - (the triangle's row times those).
FAIRWAY_HD float mud_below(float x, float product) { return x - product; }

/// A row of x, nothing above it: x / (the triangle's diagonal + 1e-6).
FAIRWAY_HD float mud_solved(float x, float diagonal) { return x / (diagonal + 1e-6f); }

/// How many rows of a triangle of m > 1 are solved before the others: the largest power of two below m.
FAIRWAY_HD int64_t mud_first_rows(int64_t m) {
  int64_t first = 1;
  while (2 * first < m) first *= 2;
  return first;
}

}  // namespace fairway::ops
