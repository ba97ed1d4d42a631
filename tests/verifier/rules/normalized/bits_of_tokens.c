#include <math.h>
#include <stdint.h>

/* Losses of whole tokens, mixed with another model of tokens; what is divided by bytes is the sum. */
double bits_per_byte(const double *token_loss, const double *other_probability, int64_t count, int64_t bytes) {
  double bits = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double halved = token_loss[i] / 1.0;
    bits -= log(0.9 * exp(-halved) + 0.1 * other_probability[i]) / log(2.0);
  }
  return bits / bytes;
}
