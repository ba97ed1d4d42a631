/// Signed notes (C2SP signed-note): text, an empty line, signature lines; and the names and ids of keys.
///
/// Of the assigned signature types two are known here: Ed25519 (0x01), which logs use, and timestamped Ed25519
/// cosignatures (0x04, cosignature.h), which witnesses use. Lines of other keys are kept and ignored, as the
/// specification asks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ledger/key.h"

namespace fairway::ledger {

enum class SignatureType : uint8_t { kEd25519 = 0x01, kCosignature = 0x04 };

/// A public key with its name: "example.com/foo+530d903a+Aekyee...", called a vkey.
struct VerifierKey {
  std::string name;
  uint32_t id = 0;
  SignatureType type = SignatureType::kEd25519;
  PublicKey key{};

  friend bool operator==(const VerifierKey&, const VerifierKey&) = default;
};

/// A key name is not empty and holds no plus, no Unicode space and no control character, and is valid UTF-8.
bool valid_key_name(std::string_view name);

/// The key with the id the specification recommends: SHA-256(name || "\n" || type || key)[:4].
VerifierKey make_verifier_key(std::string name, SignatureType type, const PublicKey& key);
std::string format_vkey(const VerifierKey& key);
/// kData for anything but one well-formed vkey of a known type whose id is the recommended one. `where` goes into the
/// error.
Result<VerifierKey> parse_vkey(std::string_view text, const std::string& where);

struct SignatureLine {
  std::string name;
  uint32_t id = 0;
  std::string bytes;  ///< after the id

  friend bool operator==(const SignatureLine&, const SignatureLine&) = default;
};

struct Note {
  std::string text;  ///< with its last newline, without the empty line
  std::vector<SignatureLine> signatures;
};

inline constexpr size_t kMaxNoteBytes = 1 << 20;
inline constexpr size_t kMaxNoteSignatures = 64;

/// kData for what is not a note: not UTF-8, control characters, no signature, a malformed line, beyond the two limits.
Result<Note> parse_note(std::string_view text, const std::string& where);
std::string format_note(const Note& note);
std::string format_signature_line(const SignatureLine& line);
/// One line without its newline.
Result<SignatureLine> parse_signature_line(std::string_view line, const std::string& where);

/// The key's own signature on `text` (type kEd25519).
SignatureLine sign_note(std::string_view text, const std::string& name, const PrivateKey& key);

/// kDisproved if `key` has not signed, or if any signature under its name and id is false. Only for kEd25519.
Status verify_note(const Note& note, const VerifierKey& key, const std::string& where);

}  // namespace fairway::ledger
