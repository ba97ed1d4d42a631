#include "kernels/cuda/cublas_matmul.h"

#include <cublasLt.h>

#include "kernels/cuda/bodies/combine.h"
#include "kernels/cuda/launch.cuh"

namespace fairway::cuda {
namespace {

void check(cublasStatus_t code, const char* call) {
  if (code != CUBLAS_STATUS_SUCCESS) throw DeviceError(std::string("cuBLASLt: ") + cublasLtGetStatusString(code) + " from " + call);
}
#define FAIRWAY_CUBLAS(call) check((call), #call)

/// The workspace is fixed: no call allocates.
constexpr size_t kWorkspaceBytes = size_t{32} << 20;

class Layout {
 public:
  Layout(cudaDataType type, int64_t rows, int64_t columns, int64_t ld) {
    FAIRWAY_CUBLAS(cublasLtMatrixLayoutCreate(&layout_, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), ld));
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(layout_); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  cublasLtMatrixLayout_t get() const { return layout_; }

 private:
  cublasLtMatrixLayout_t layout_ = nullptr;
};

}  // namespace

struct CublasMatmul::State {
  explicit State(Device& d) : device(d), workspace(d, "cuBLASLt's workspace", kWorkspaceBytes), products(d, "int32 products") {
    FAIRWAY_CUBLAS(cublasLtCreate(&handle));
    FAIRWAY_CUBLAS(cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32I, CUDA_R_32I));
    const cublasOperation_t turned = CUBLAS_OP_T;
    FAIRWAY_CUBLAS(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, &turned, sizeof turned));
    FAIRWAY_CUBLAS(cublasLtMatmulPreferenceCreate(&preference));
    FAIRWAY_CUBLAS(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kWorkspaceBytes, sizeof kWorkspaceBytes));
  }
  ~State() {
    cublasLtMatmulPreferenceDestroy(preference);
    cublasLtMatmulDescDestroy(operation);
    cublasLtDestroy(handle);
  }

  template <Products P>
  void run(const Slices& a, const Slices& b, Matrix<float> c) {
    // cuBLASLt counts columns first: its D (n, m) = B (k, n) turned times A (k, m), all with the contraction along memory ("TN"). n and the strides must be
    // multiples of 4; the rows of B beyond the last (Quantised has room for them) give columns that nobody reads.
    const int64_t m = a.rows, n = (b.rows + 3) / 4 * 4, k = a.stride;
    products.resize(static_cast<size_t>(KeptProducts<P>::kCount * m * n));
    const Layout of_b(CUDA_R_8I, k, n, b.stride), of_a(CUDA_R_8I, k, m, a.stride), of_d(CUDA_R_32I, n, m, n);
    cublasLtMatmulHeuristicResult_t choice{};
    int found = 0;
    FAIRWAY_CUBLAS(cublasLtMatmulAlgoGetHeuristic(handle, operation, of_b.get(), of_a.get(), of_d.get(), of_d.get(), preference, 1, &choice, &found));
    if (found == 0) throw DeviceError("cuBLASLt has no int8 product of this shape on this GPU");
    CombineProducts<P> combine{{}, n, a.exponent, b.exponent, c};
    const int32_t one = 1, zero = 0;
    KeptProducts<P>::each([&](int index, int i, int j) {
      int32_t* d = products.data() + index * m * n;
      FAIRWAY_CUBLAS(cublasLtMatmul(handle, operation, &one, b.plane[j], of_b.get(), a.plane[i], of_a.get(), &zero, d, of_d.get(), d, of_d.get(), &choice.algo,
                                    workspace.data(), kWorkspaceBytes, device.stream()));
      combine.product[index] = d;
    });
    launch(device, combine);
  }

  Device& device;
  DeviceBuffer<std::byte> workspace;
  DeviceBuffer<int32_t> products;
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
};

CublasMatmul::CublasMatmul(Device& device) : state_(std::make_unique<State>(device)) {}
CublasMatmul::~CublasMatmul() = default;

void CublasMatmul::exact_matmul(const kernels::Quantised& a, const kernels::Quantised& b, Products products, Matrix<float> c) {
  const Slices x = slices_of(a), y = slices_of(b);
  FAIRWAY_CHECK(x.columns == y.columns && x.stride == y.stride && c.rows == x.rows && c.columns == y.rows);
  FAIRWAY_CHECK(a.bits() == kernels::bits_of_products(products) && b.bits() == a.bits());
  if (products == Products::kP3) return state_->run<Products::kP3>(x, y, c);
  if (products == Products::kP4) return state_->run<Products::kP4>(x, y, c);
  state_->run<Products::kS21>(x, y, c);
}

}  // namespace fairway::cuda
