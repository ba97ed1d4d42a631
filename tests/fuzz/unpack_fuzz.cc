/// Packed sources, compressed files and archives: any bytes give text or values within the bound, or nothing.
#include <cstdint>
#include <string>

#include "verifier/audit/limits.h"
#include "verifier/audit/read/decompress.h"
#include "verifier/audit/read/npz.h"
#include "verifier/audit/read/text.h"
#include "verifier/audit/read/unpack.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairway::audit;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  for (const UnpackedSource& s : unpack_source(decode_text(bytes)).sources) {
    if (static_cast<int64_t>(s.text.size()) > limits::kUnpackedBytes || s.line < 1) __builtin_trap();
  }
  constexpr size_t kBound = 1 << 16;
  if (const auto out = decompress(bytes, kBound); out && out->bytes.size() > kBound) __builtin_trap();
  if (const auto table = read_npz_integers(bytes, "base_bytes", 1000); table && table->size() > 1000) __builtin_trap();
  return 0;
}
