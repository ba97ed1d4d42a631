/// The zip archive that torch.save writes: one pickle and one member of raw bytes per storage.
///
/// Read from memory, never extracted. Accepted: members stored without compression or encryption (torch.save writes no
/// others, and nothing can then expand), with the checksums right, at most 4,096 of them, little-endian. Reader of the
/// zip structure: libzip.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/quant/upstream/pickle.h"

namespace fairway::quant::upstream {

class TorchArchive {
 public:
  /// Errors (kData, where = `where`, or "<where> member <name>"): anything the file comment does not accept; a pickle
  /// that read_pickle refuses; a storage whose size is not what the pickle says.
  static Result<TorchArchive> open(std::span<const std::byte> bytes, const std::string& where);

  const Pickle& pickle() const { return pickle_; }

  /// The bytes of the elements of `tensor`, row-major without gaps. Errors (kData): a storage that is missing or has
  /// another size, elements outside it, more elements than it holds, strides that repeat elements.
  Result<std::vector<std::byte>> elements(const TensorRef& tensor) const;

 private:
  std::string where_;
  Pickle pickle_;
  std::map<std::string, std::vector<std::byte>> storages_;  ///< by key
};

}  // namespace fairway::quant::upstream
