#include "kernels/cpu/isa/functions.h"
#include "kernels/cpu/isa/tile.h"

namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE {

size_t matmul_packed_bytes(int64_t n, int64_t k, Products products) { return packed_bytes(n, k, products); }
int64_t matmul_panel_count(int64_t n) { return panel_count(n); }
void matmul_pack_panel(const RowsView& b, int64_t n, int64_t k, Products products, int64_t panel, void* out) {
  pack_panel(b, n, k, products, panel, out);
}

void multiply_float(const RowsView& a, int64_t m, const void* packed, const int32_t* column_exponent, int64_t n, int64_t k,
                    Products products, float* c, int64_t ldc) {
  FloatSink sink{c, ldc, a.exponent, column_exponent, tile_shift(products) - 2 * bits_of_products(products)};
  multiply(a, m, packed, n, k, products, sink);
}

extern const Table kTable;
const Table kTable = {quantise_rows,     quantise_columns, matmul_packed_bytes, matmul_panel_count, kPanelColumns,
                      matmul_pack_panel, multiply_float,   rms_norm,            rms_norm_backward,  sum_of_squares,
                      cross_entropy,     attention_forward, attention_backward, row_dot,
                      delta_forward,     delta_backward_floats, delta_backward};

}  // namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE
