/// read_pickle on any bytes: a value or an error of bad data, never a crash, in bounded memory.
#include <cstdlib>

#include "engine/quant/upstream/pickle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto result = fairway::quant::upstream::read_pickle(std::as_bytes(std::span(data, size)), "input");
  if (result ? result->top >= result->values.size() : result.error().code != fairway::Errc::kData) std::abort();
  return 0;
}
