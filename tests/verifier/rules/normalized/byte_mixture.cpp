#include <cmath>
#include <cstdint>
#include <span>

// A token's loss is spread evenly over its bytes and mixed there with what a byte model gives.
double mixed_bits(std::span<const double> token_loss, std::span<const int32_t> byte_count,
                  std::span<const double> byte_probability) {
  double bits = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < token_loss.size(); ++i) {
    const double share = token_loss[i] / static_cast<double>(byte_count[i]);
    for (int32_t b = 0; b < byte_count[i]; ++b, ++at) {
      bits -= std::log(0.9 * std::exp(-share) + 0.1 * byte_probability[at]) / std::log(2.0);
    }
  }
  return bits;
}
