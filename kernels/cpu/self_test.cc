#include "kernels/self_test.h"

#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/matmul.h"
#include "kernels/num/float_bits.h"

namespace fairway::kernels {
namespace {

/// Keeps the compiler from evaluating a probe itself.
float opaque(float x) {
  asm volatile("" : "+m"(x));
  return x;
}

/// (1 + 2^-12)^2 - (1 + 2^-11) is 2^-24 exactly; with a rounded product it is 0.
bool contracts() { return opaque(0x1.001p+0f) * opaque(0x1.001p+0f) - opaque(0x1.002p+0f) != 0.0f; }

bool flushes_subnormals() { return opaque(0x1p-126f) * opaque(0.5f) == 0.0f || opaque(0x1p-149f) * opaque(1.0f) == 0.0f; }

/// Half an ulp goes to the even neighbour, a little more goes up.
bool rounds_to_nearest() {
  return opaque(1.0f) + opaque(0x1p-24f) == 1.0f && opaque(1.0f) + opaque(0x1.000002p-24f) == 0x1.000002p+0f &&
         opaque(-1.0f) - opaque(0x1p-24f) == -1.0f;
}

/// All magnitudes at the limit, where an instruction that saturates would show: sums are known in closed form.
bool products_exact() {
  constexpr int64_t kRows = 7, kColumns = 33, kK = 192;
  std::vector<float> a(kRows * kK), b(kColumns * kK), c(kRows * kColumns);
  const float limit = 16319.0f / 16384.0f;  // q = 16319 = 128 * 127 + 63 at e = 0
  for (float& x : a) x = limit;
  for (float& x : b) x = -limit;
  Quantised qa, qb;
  if (!quantise_rows(a.data(), kRows, kK, kK, 14, qa) || !quantise_rows(b.data(), kColumns, kK, kK, 14, qb)) return false;
  exact_matmul(qa, qb, Products::kP4, c.data(), kColumns);
  const float p4 = num::scale_pow2(static_cast<float>(-kK * 16319ll * 16319ll), -28);
  for (float x : c) {
    if (x != p4) return false;
  }
  exact_matmul(qa, qb, Products::kP3, c.data(), kColumns);
  const float p3 = num::scale_pow2(static_cast<float>(-kK * (16319ll * 16319ll - 63ll * 63ll)), -28);
  for (float x : c) {
    if (x != p3) return false;
  }
  return true;
}

}  // namespace

const char* self_test() {
  set_control_word();
  if (!control_word_ok()) return "the floating-point control word cannot be set";
  if (contracts()) return "a * b + c was contracted into a fused multiply-add (compile with -ffp-contract=off)";
  if (flushes_subnormals()) return "subnormal numbers are flushed to zero";
  if (!rounds_to_nearest()) return "rounding is not to nearest even";
  if (!products_exact()) return "an exact matrix product differs from its known answer";
  return nullptr;
}

}  // namespace fairway::kernels
