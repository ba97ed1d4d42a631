/// A NumPy archive: any bytes give no table or one within the bound.
#include <cstdint>
#include <string_view>

#include "verifier/audit/limits.h"
#include "verifier/audit/read/npz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairway::audit;
  for (const char* name : {"base_bytes", "has_leading_space"}) {
    const auto table = read_npz_integers({reinterpret_cast<const char*>(data), size}, name, limits::kTableTokens);
    if (table && static_cast<int64_t>(table->size()) > limits::kTableTokens) __builtin_trap();
  }
  return 0;
}
