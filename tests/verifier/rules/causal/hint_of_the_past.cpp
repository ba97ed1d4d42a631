#include <cstdint>
#include <vector>

namespace hints {

class Expert {
 public:
  // The hint for position i depends on what came before it; token i enters the state afterwards.
  void run(const std::vector<uint16_t>& tokens, std::vector<uint16_t>& within_top, std::vector<uint8_t>& within_valid) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (length_ > 0) {
        within_top[i] = top_;
        within_valid[i] = 1;
      }
      top_ = tokens[i];
      ++length_;
    }
  }

 private:
  uint16_t top_ = 0;
  uint32_t length_ = 0;
};

}  // namespace hints
