/// Checkpoints (C2SP tlog-checkpoint): the size and the root of a log, as a signed note.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/sha256.h"
#include "ledger/note.h"

namespace fairway::ledger {

/// What the log says of itself.
struct TreeHead {
  std::string origin;
  uint64_t size = 0;
  Digest root{};

  friend bool operator==(const TreeHead&, const TreeHead&) = default;
};

struct Checkpoint {
  TreeHead head;
  Note note;  ///< with every signature that was there

  std::string text() const { return format_note(note); }
};

/// Decimal digits as these formats write them: no sign, no leading zero, below 2^63.
Result<uint64_t> parse_decimal(std::string_view text, const std::string& where);
/// A SHA-256 in base64; kData otherwise.
Result<Digest> parse_hash_line(std::string_view line, const std::string& where);
std::string hash_line(const Digest& hash);

/// kData if the text is no checkpoint. Extension lines are refused: nobody can audit them, and our logs write none.
Result<Checkpoint> parse_checkpoint(std::string_view text, const std::string& where);

/// A checkpoint with the one signature of its log, whose key is named after the origin.
Checkpoint sign_checkpoint(const TreeHead& head, const PrivateKey& key);

/// kDisproved if the origin is not the key's name, if the key has not signed, or if its signature is false.
Status verify_checkpoint(const Checkpoint& checkpoint, const VerifierKey& log, const std::string& where);

}  // namespace fairway::ledger
