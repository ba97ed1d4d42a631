/// A SentencePiece model: any bytes give pieces within the bounds, or an error that names an offset.
#include <cstdint>
#include <string_view>

#include "verifier/audit/limits.h"
#include "verifier/audit/read/tokenizer_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairway::audit;
  const auto model = read_tokenizer_model("x.model", {reinterpret_cast<const char*>(data), size});
  if (!model) {
    if (model.error().where.find(" @ 0x") == std::string::npos) __builtin_trap();
    return 0;
  }
  if (model->pieces.empty() || static_cast<int64_t>(model->pieces.size()) > limits::kTableTokens) __builtin_trap();
  for (const PieceBytes& p : model->pieces) {
    if (p.bytes < 0 || p.bytes > limits::kPieceBytes || (p.boundary && p.bytes > 0)) __builtin_trap();
  }
  return 0;
}
