/// Ed25519 keys (RFC 8032): made, kept in PEM files and used to sign through OpenSSL; and public keys that verify,
/// through libsodium, which takes 38 us for what takes OpenSSL 3.0 64 us.
///
/// A private key never leaves this class except into its own file, encrypted if a passphrase is given; no error names
/// more of it than the file. Goals: a key file that others can read is refused. Non-goals: key servers and hardware
/// tokens.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/base/file.h"
#include "engine/base/result.h"

namespace fairway::ledger {

using PublicKey = std::array<uint8_t, 32>;
using Signature = std::array<uint8_t, 64>;

/// False also for a key or a signature that is not in its one canonical encoding, and for keys of small order, which
/// verify any message.
bool verify_ed25519(const PublicKey& key, std::string_view message, const Signature& signature);

class PrivateKey {
 public:
  /// Asked once, and only if the file is encrypted; nothing means that there is no passphrase to be had.
  using Passphrase = std::function<std::optional<std::string>()>;

  static PrivateKey generate();
  /// From the 32-byte seed of RFC 8032; for known answers.
  static PrivateKey from_seed(const std::array<uint8_t, 32>& seed);

  /// Reads PKCS#8 PEM, encrypted or not.
  ///
  /// Errors: kNoInput if there is no such file; kData if others than its owner may read it, if it holds no Ed25519 key,
  /// or if the passphrase is missing or wrong.
  static Result<PrivateKey> load(const std::string& path, const Passphrase& passphrase);

  /// Writes a new file with mode 0600, durable when this returns; AES-256 if `passphrase` is not empty. An existing
  /// file is never replaced (kUsage).
  Status save(const std::string& path, std::string_view passphrase, FileSystem& system = FileSystem::real()) const;

  PublicKey public_key() const;
  Signature sign(std::string_view message) const;

  PrivateKey(PrivateKey&&) noexcept;
  PrivateKey& operator=(PrivateKey&&) noexcept;
  ~PrivateKey();

 private:
  struct State;
  explicit PrivateKey(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fairway::ledger
