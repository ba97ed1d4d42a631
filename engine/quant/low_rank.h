/// A matrix as the product of two thin factors: the truncated singular value decomposition, from the eigenvectors of
/// E^T E. Host-only binary64 work with one code path (N10); NUMERICS.md, 17.6, has every loop.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fairway::quant {

/// Eigenvalues, descending, and the eigenvectors that belong to them, one per row.
struct Eigen {
  std::vector<double> values;   ///< (n)
  std::vector<double> vectors;  ///< (n, n); row k belongs to values[k]
};

/// Cyclic Jacobi on a symmetric (n, n) matrix.
Eigen symmetric_eigen(std::vector<double> matrix, int64_t n);

struct LowRank {
  std::vector<float> left;   ///< (rows, rank): E v_k
  std::vector<float> right;  ///< (rank, columns): v_k
};

/// E (rows, columns; finite) ~ left * right with the least squared error that `rank` allows, before binary16.
LowRank factorise(std::span<const float> values, int64_t rows, int64_t columns, int64_t rank);

/// left (rows, rank) times right (rank, columns): each element a binary64 sum with k ascending, rounded to binary32 once.
std::vector<float> multiply_factors(std::span<const float> left, std::span<const float> right, int64_t rank);

}  // namespace fairway::quant
