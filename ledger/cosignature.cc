#include "ledger/cosignature.h"

#include <fmt/format.h>

#include <algorithm>

namespace fairway::ledger {
namespace {

constexpr size_t kTimeBytes = 8;

}  // namespace

std::string cosigned_message(const Checkpoint& checkpoint, uint64_t posix_seconds) {
  return fmt::format("cosignature/v1\ntime {}\n{}", posix_seconds, checkpoint.note.text);
}

SignatureLine cosign(const Checkpoint& checkpoint, const std::string& witness, const PrivateKey& key,
                     uint64_t posix_seconds) {
  std::string bytes(kTimeBytes, '\0');
  for (size_t i = 0; i < kTimeBytes; ++i) bytes[i] = static_cast<char>(posix_seconds >> (56 - 8 * i));
  const Signature signature = key.sign(cosigned_message(checkpoint, posix_seconds));
  bytes.append(reinterpret_cast<const char*>(signature.data()), signature.size());
  return SignatureLine{witness, make_verifier_key(witness, SignatureType::kCosignature, key.public_key()).id,
                       std::move(bytes)};
}

Result<std::optional<uint64_t>> verify_cosignature(const Checkpoint& checkpoint, const VerifierKey& witness,
                                                   const std::string& where) {
  FAIRWAY_CHECK(witness.type == SignatureType::kCosignature);
  std::optional<uint64_t> newest;
  for (const SignatureLine& line : checkpoint.note.signatures) {
    if (line.name != witness.name || line.id != witness.id) continue;
    Signature signature{};
    uint64_t time = 0;
    bool valid = line.bytes.size() == kTimeBytes + signature.size();
    if (valid) {
      for (size_t i = 0; i < kTimeBytes; ++i) time = time << 8 | static_cast<uint8_t>(line.bytes[i]);
      std::copy(line.bytes.begin() + kTimeBytes, line.bytes.end(), signature.begin());
      valid = time >> 63 == 0 && verify_ed25519(witness.key, cosigned_message(checkpoint, time), signature);
    }
    if (!valid) {
      return Error{Errc::kDisproved, where,
                   fmt::format("the cosignature of {}+{:08x} is false", witness.name, witness.id)};
    }
    newest = std::max(newest.value_or(0), time);
  }
  return newest;
}

}  // namespace fairway::ledger
