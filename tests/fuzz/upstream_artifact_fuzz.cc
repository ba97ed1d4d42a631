/// An upstream artifact as a user gives it: any codec over an archive, or the archive.
#include <cstdlib>

#include "engine/quant/codec.h"
#include "engine/quant/upstream/artifact.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairway;
  constexpr uint64_t kMostBytes = 1 << 22;
  constexpr uint64_t kMostElements = 1 << 20;
  std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  std::vector<std::byte> archive(bytes.begin(), bytes.end());
  if (const auto codec = quant::detect_codec(bytes)) {
    auto decompressed = quant::decompress_at_most(*codec, bytes, kMostBytes, "input");
    if (!decompressed) return 0;
    if (decompressed->size() > kMostBytes) std::abort();
    archive = std::move(*decompressed);
  }
  const auto tensors = quant::upstream::read_artifact(archive, kMostElements, "input");
  if (!tensors) return tensors.error().code == Errc::kData ? 0 : (std::abort(), 0);
  uint64_t elements = 0;
  for (const auto& t : *tensors) elements += t.values.size();
  if (elements > kMostElements) std::abort();
  return 0;
}
