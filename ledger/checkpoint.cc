#include "ledger/checkpoint.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <limits>

#include "ledger/base64.h"

namespace fairway::ledger {

Result<uint64_t> parse_decimal(std::string_view text, const std::string& where) {
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || at != end || (text[0] == '0' && text.size() > 1) ||
      value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return Error{Errc::kData, where, "a number must be decimal, without leading zeros and below 2^63"};
  }
  return value;
}

Result<Digest> parse_hash_line(std::string_view line, const std::string& where) {
  const auto bytes = base64_decode(line);
  Digest digest{};
  if (!bytes || bytes->size() != digest.size()) return Error{Errc::kData, where, "a hash must be base64 of 32 bytes"};
  std::memcpy(digest.data(), bytes->data(), digest.size());
  return digest;
}

std::string hash_line(const Digest& hash) {
  return base64_encode(std::string_view(reinterpret_cast<const char*>(hash.data()), hash.size())) + "\n";
}

Result<Checkpoint> parse_checkpoint(std::string_view text, const std::string& where) {
  FAIRWAY_ASSIGN(Note note, parse_note(text, where));
  std::string_view rest = note.text;
  std::string_view lines[3];
  for (std::string_view& line : lines) {
    const size_t end = rest.find('\n');
    if (end == rest.npos || end == 0)
      return Error{Errc::kData, where, "a checkpoint has three lines: origin, size, root"};
    line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
  }
  if (!rest.empty()) return Error{Errc::kData, where, "extension lines of a checkpoint are not accepted"};
  FAIRWAY_ASSIGN(const uint64_t size, parse_decimal(lines[1], where + ": tree size"));
  FAIRWAY_ASSIGN(const Digest root, parse_hash_line(lines[2], where + ": root"));
  return Checkpoint{TreeHead{std::string(lines[0]), size, root}, std::move(note)};
}

Checkpoint sign_checkpoint(const TreeHead& head, const PrivateKey& key) {
  Note note{fmt::format("{}\n{}\n{}", head.origin, head.size, hash_line(head.root)), {}};
  note.signatures.push_back(sign_note(note.text, head.origin, key));
  return Checkpoint{head, std::move(note)};
}

Status verify_checkpoint(const Checkpoint& checkpoint, const VerifierKey& log, const std::string& where) {
  if (checkpoint.head.origin != log.name) {
    return Error{
        Errc::kDisproved, where,
        fmt::format("the origin is \"{}\", the key is for \"{}\": another log", checkpoint.head.origin, log.name)};
  }
  return verify_note(checkpoint.note, log, where);
}

}  // namespace fairway::ledger
