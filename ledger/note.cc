#include "ledger/note.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "engine/base/sha256.h"
#include "ledger/base64.h"

namespace fairway::ledger {
namespace {

constexpr std::string_view kDash = "\xe2\x80\x94 ";  // U+2014 and a space

/// The next code point of UTF-8 text (RFC 3629), removed from its front; -1 if it is malformed.
int32_t take_code_point(std::string_view& text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0; };
  const uint8_t first = byte(0);
  const size_t length = first < 0x80   ? 1
                        : first < 0xc2 ? 0
                        : first < 0xe0 ? 2
                        : first < 0xf0 ? 3
                        : first < 0xf5 ? 4
                                       : 0;
  if (length == 0) return -1;
  int32_t point = length == 1 ? first : first & (0x7f >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return -1;
    point = point << 6 | (byte(i) & 0x3f);
  }
  static constexpr std::array<int32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  if (point < kLeast[length] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return -1;
  text.remove_prefix(length);
  return point;
}

/// White space of the Unicode standard.
bool is_space(int32_t point) {
  return (point >= 0x09 && point <= 0x0d) || point == 0x20 || point == 0x85 || point == 0xa0 || point == 0x1680 ||
         (point >= 0x2000 && point <= 0x200a) || point == 0x2028 || point == 0x2029 || point == 0x202f ||
         point == 0x205f || point == 0x3000;
}

uint32_t load_be32(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

std::string be32(uint32_t value) {
  std::string bytes(4, '\0');
  for (size_t i = 0; i < 4; ++i) bytes[i] = static_cast<char>(value >> (24 - 8 * i));
  return bytes;
}

Error malformed(const std::string& where, std::string what) { return Error{Errc::kData, where, std::move(what)}; }

std::string key_text(SignatureType type, const PublicKey& key) {
  std::string text(1, static_cast<char>(type));
  text.append(reinterpret_cast<const char*>(key.data()), key.size());
  return text;
}

}  // namespace

bool valid_key_name(std::string_view name) {
  if (name.empty()) return false;
  while (!name.empty()) {
    const int32_t point = take_code_point(name);
    if (point < 0x20 || point == '+' || is_space(point)) return false;
  }
  return true;
}

VerifierKey make_verifier_key(std::string name, SignatureType type, const PublicKey& key) {
  const Digest digest = sha256(std::string_view(name + "\n" + key_text(type, key)));
  const uint32_t id = load_be32(std::string_view(reinterpret_cast<const char*>(digest.data()), 4));
  return VerifierKey{std::move(name), id, type, key};
}

std::string format_vkey(const VerifierKey& key) {
  return fmt::format("{}+{:08x}+{}", key.name, key.id, base64_encode(key_text(key.type, key.key)));
}

Result<VerifierKey> parse_vkey(std::string_view text, const std::string& where) {
  const auto bad = [&](std::string_view what) {
    return malformed(where, fmt::format("not a verifier key NAME+ID+KEY: {}", what));
  };
  const size_t first = text.find('+');
  const size_t second = first == text.npos ? text.npos : text.find('+', first + 1);
  if (second == text.npos) return bad("there must be two plus signs before the key");
  const std::string_view name = text.substr(0, first), id = text.substr(first + 1, second - first - 1);
  if (!valid_key_name(name)) return bad("the name is empty or holds a space");
  const auto bytes = base64_decode(text.substr(second + 1));
  if (!bytes || bytes->empty()) return bad("the key is not base64");
  const auto type = static_cast<uint8_t>((*bytes)[0]);
  if (type != static_cast<uint8_t>(SignatureType::kEd25519) &&
      type != static_cast<uint8_t>(SignatureType::kCosignature)) {
    return bad(fmt::format("signature type {:#04x} is not known; 0x01 and 0x04 are", type));
  }
  PublicKey key{};
  if (bytes->size() != 1 + key.size()) return bad("an Ed25519 key has 32 bytes");
  std::copy(bytes->begin() + 1, bytes->end(), key.begin());
  VerifierKey made = make_verifier_key(std::string(name), static_cast<SignatureType>(type), key);
  if (fmt::format("{:08x}", made.id) != id) return bad("the id does not belong to this name and key");
  return made;
}

std::string format_signature_line(const SignatureLine& line) {
  return fmt::format("{}{} {}\n", kDash, line.name, base64_encode(be32(line.id) + line.bytes));
}

Result<SignatureLine> parse_signature_line(std::string_view line, const std::string& where) {
  if (!line.starts_with(kDash)) return malformed(where, "a signature line must begin with an em dash and a space");
  line.remove_prefix(kDash.size());
  const size_t space = line.find(' ');
  const std::string_view name = line.substr(0, space);
  if (space == line.npos || !valid_key_name(name)) return malformed(where, "a signature line has no key name");
  const auto bytes = base64_decode(line.substr(space + 1));
  if (!bytes || bytes->size() < 5) return malformed(where, "a signature must be base64 of an id and the signature");
  return SignatureLine{std::string(name), load_be32(*bytes), bytes->substr(4)};
}

Result<Note> parse_note(std::string_view text, const std::string& where) {
  if (text.size() > kMaxNoteBytes) return malformed(where, fmt::format("a note of more than {} bytes", kMaxNoteBytes));
  for (std::string_view rest = text; !rest.empty();) {
    const size_t offset = text.size() - rest.size();
    const int32_t point = take_code_point(rest);
    if (point < 0) return malformed(fmt::format("{} @ {:#x}", where, offset), "not UTF-8");
    if (point < 0x20 && point != '\n')
      return malformed(fmt::format("{} @ {:#x}", where, offset), "a control character");
  }
  const size_t split = text.rfind("\n\n");
  if (split == text.npos) return malformed(where, "not a signed note: there is no empty line before the signatures");
  Note note{std::string(text.substr(0, split + 1)), {}};
  std::string_view lines = text.substr(split + 2);
  if (lines.empty()) return malformed(where, "not a signed note: there is no signature");
  while (!lines.empty()) {
    const size_t end = lines.find('\n');
    if (end == lines.npos) return malformed(where, "the last signature line has no newline");
    if (note.signatures.size() == kMaxNoteSignatures) {
      return malformed(where, fmt::format("more than {} signatures", kMaxNoteSignatures));
    }
    FAIRWAY_ASSIGN(auto line, parse_signature_line(lines.substr(0, end), where));
    note.signatures.push_back(std::move(line));
    lines.remove_prefix(end + 1);
  }
  return note;
}

std::string format_note(const Note& note) {
  std::string text = note.text + "\n";
  for (const SignatureLine& line : note.signatures) text += format_signature_line(line);
  return text;
}

SignatureLine sign_note(std::string_view text, const std::string& name, const PrivateKey& key) {
  const Signature signature = key.sign(text);
  return SignatureLine{name, make_verifier_key(name, SignatureType::kEd25519, key.public_key()).id,
                       std::string(reinterpret_cast<const char*>(signature.data()), signature.size())};
}

Status verify_note(const Note& note, const VerifierKey& key, const std::string& where) {
  FAIRWAY_CHECK(key.type == SignatureType::kEd25519);
  bool signed_by_key = false;
  for (const SignatureLine& line : note.signatures) {
    if (line.name != key.name || line.id != key.id) continue;
    Signature signature{};
    const bool right_size = line.bytes.size() == signature.size();
    if (right_size) std::copy(line.bytes.begin(), line.bytes.end(), signature.begin());
    if (!right_size || !verify_ed25519(key.key, note.text, signature)) {
      return Error{Errc::kDisproved, where, fmt::format("the signature of {}+{:08x} is false", key.name, key.id)};
    }
    signed_by_key = true;
  }
  if (!signed_by_key) {
    return Error{Errc::kDisproved, where,
                 fmt::format("not signed by {}+{:08x}: another key or another log", key.name, key.id)};
  }
  return {};
}

}  // namespace fairway::ledger
