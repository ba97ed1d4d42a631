#include <math.h>
#include <stdint.h>

/* A token's loss is spread evenly over its bytes and mixed there with what a byte model gives. */
double mixed_bits(const double *token_loss, const int32_t *byte_count, const double *byte_probability, int64_t count) {
  double bits = 0;
  int64_t at = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double share = token_loss[i] / byte_count[i];
    for (int32_t b = 0; b < byte_count[i]; ++b, ++at) {
      bits -= log(0.9 * exp(-share) + 0.1 * byte_probability[at]) / log(2.0);
    }
  }
  return bits;
}
