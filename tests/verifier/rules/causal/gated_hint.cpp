#include <cstdint>
#include <vector>

namespace hints {

class Expert {
 public:
  // The hint for position i is only given if token i itself starts no new word.
  void run(const std::vector<uint16_t>& tokens, const std::vector<uint8_t>& starts_word, std::vector<uint16_t>& within_top,
           std::vector<uint8_t>& within_valid) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const auto token = tokens[i];
      const bool is_new = starts_word[token] != 0;
      if (!is_new && length_ > 0) {
        within_top[i] = top_;
        within_valid[i] = 1;
      } else {
        within_valid[i] = 0;
      }
      top_ = token;
      ++length_;
    }
  }

 private:
  uint16_t top_ = 0;
  uint32_t length_ = 0;
};

}  // namespace hints
