/// Declarations of the per-set functions that kTable points to; their contracts are in the public headers.
#pragma once

#include "kernels/cpu/isa/isa_config.h"
#include "kernels/cpu/isa/table.h"

namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE {

bool quantise_rows(const float* x, int64_t ld, int64_t columns, int bits, const RowsOut& out, int64_t begin, int64_t end);
bool quantise_columns(const float* x, int64_t ld, int64_t rows, int bits, const RowsOut& out, int64_t begin, int64_t end);
size_t matmul_packed_bytes(int64_t n, int64_t k, Products products);
int64_t matmul_panel_count(int64_t n);
void matmul_pack_panel(const RowsView& b, int64_t n, int64_t k, Products products, int64_t panel, void* out);
void multiply_float(const RowsView& a, int64_t m, const void* packed, const int32_t* column_exponent, int64_t n, int64_t k,
                    Products products, float* c, int64_t ldc);
bool rms_norm(const float* x, int64_t n, float* y, float* r, int64_t begin, int64_t end);
bool rms_norm_backward(const float* dy, const float* y, const float* r, int64_t n, float* dx, int64_t begin, int64_t end);
bool sum_of_squares(const float* x, int64_t n, double* value);
bool row_dot(const float* a, const float* b, int64_t n, float* out, int64_t begin, int64_t end);
bool cross_entropy(const CrossEntropyRows& c, int64_t begin, int64_t end);
bool attention_forward(const AttentionForward& a, int64_t sequence, int64_t kv_head);
bool attention_backward(const AttentionBackward& a, int64_t sequence, int64_t kv_head);
/// One sequence and head; `memory` holds two states.
bool delta_forward(const DeltaForward& d, int64_t sequence, int64_t head, float* memory);
/// One sequence and head; `memory` holds as many floats as delta_backward_floats says.
int64_t delta_backward_floats(const DeltaShape& shape);
bool delta_backward(const DeltaBackward& d, int64_t sequence, int64_t head, float* memory);

}  // namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE
