/// The functions each instruction set provides: one thread's share of every kernel whose speed depends on vector width.
/// The public functions in kernels/*.h split the work over threads and call through this table.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/delta_rule.h"
#include "kernels/quantised.h"

namespace fairway::kernels {

/// Where the planes and exponents of a quantised matrix are written.
struct RowsOut {
  int8_t* plane[3];
  int32_t* exponent;
  int64_t stride;
};

struct AttentionShape {
  int64_t sequences, length, heads, kv_heads, head_dim;
  Products products;
  int64_t first_query = 0;  ///< forward only: outputs of queries before this one are not needed
};

struct AttentionForward {
  AttentionShape shape;
  const float *q, *k, *v;  ///< (sequences * length, heads|kv_heads, head_dim)
  float* out;              ///< like q
  int32_t* row_max;        ///< (sequences * length, heads): M
  int64_t* row_units;      ///< likewise: L
};

struct AttentionBackward {
  AttentionShape shape;
  const float *q, *k, *v, *dout;
  const int32_t* row_max;
  const int64_t* row_units;
  float *dq, *dk, *dv;
};

struct CrossEntropyRows {
  float* logits;  ///< (rows, vocab) before the softcap; replaced by d(nll)/d(logits) if `gradient`
  int64_t vocab;
  float cap;
  const uint16_t* targets;
  float* nll;
  bool gradient;
};

struct Table {
  bool (*quantise_rows)(const float* x, int64_t ld, int64_t columns, int bits, const RowsOut& out, int64_t begin, int64_t end);
  bool (*quantise_columns)(const float* x, int64_t ld, int64_t rows, int bits, const RowsOut& out, int64_t begin, int64_t end);
  size_t (*packed_bytes)(int64_t n, int64_t k, Products products);
  int64_t (*panel_count)(int64_t n);
  int64_t panel_columns;
  void (*pack_panel)(const RowsView& b, int64_t n, int64_t k, Products products, int64_t panel, void* out);
  void (*multiply_float)(const RowsView& a, int64_t m, const void* packed, const int32_t* column_exponent, int64_t n, int64_t k,
                         Products products, float* c, int64_t ldc);
  bool (*rms_norm)(const float* x, int64_t n, float* y, float* r, int64_t begin, int64_t end);
  bool (*rms_norm_backward)(const float* dy, const float* y, const float* r, int64_t n, float* dx, int64_t begin, int64_t end);
  bool (*sum_of_squares)(const float* x, int64_t n, double* value);
  bool (*cross_entropy)(const CrossEntropyRows& c, int64_t begin, int64_t end);
  bool (*attention_forward)(const AttentionForward& a, int64_t sequence, int64_t kv_head);
  bool (*attention_backward)(const AttentionBackward& a, int64_t sequence, int64_t kv_head);
  bool (*row_dot)(const float* a, const float* b, int64_t n, float* out, int64_t begin, int64_t end);
  bool (*delta_forward)(const DeltaForward& d, int64_t sequence, int64_t head, float* memory);
  int64_t (*delta_backward_floats)(const DeltaShape& shape);
  bool (*delta_backward)(const DeltaBackward& d, int64_t sequence, int64_t head, float* memory);
};

namespace portable {
extern const Table kTable;
}
namespace avx2 {
extern const Table kTable;
}
namespace avx512 {
extern const Table kTable;
}

}  // namespace fairway::kernels
