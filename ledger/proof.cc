#include "ledger/proof.h"

#include <fmt/format.h>

#include "ledger/base64.h"

namespace fairway::ledger {
namespace {

constexpr std::string_view kExtra = "extra ", kIndex = "index ", kOld = "old ";

/// Takes lines off the front of a proof.
class Lines {
 public:
  Lines(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  bool next_starts_with(std::string_view prefix) const { return text_.starts_with(prefix); }

  Result<std::string_view> line() {
    const size_t end = text_.find('\n');
    if (end == text_.npos) return Error{Errc::kData, where_, "the proof is cut off"};
    const std::string_view line = text_.substr(0, end);
    text_.remove_prefix(end + 1);
    return line;
  }

  /// What follows `prefix` on the next line.
  Result<std::string_view> field(std::string_view prefix) {
    if (!next_starts_with(prefix)) {
      return Error{Errc::kData, where_, fmt::format("no proof: a line \"{}...\" is missing", prefix)};
    }
    FAIRWAY_ASSIGN(const auto whole, line());
    return whole.substr(prefix.size());
  }

  /// Hash lines up to the empty line, then the checkpoint.
  Status rest(std::vector<Digest>& hashes, Checkpoint& checkpoint) {
    for (;;) {
      FAIRWAY_ASSIGN(const auto text, line());
      if (text.empty()) break;
      if (hashes.size() == kMaxProofHashes) return Error{Errc::kData, where_, "a proof has at most 63 hashes"};
      FAIRWAY_ASSIGN(const Digest hash, parse_hash_line(text, where_));
      hashes.push_back(hash);
    }
    FAIRWAY_ASSIGN(checkpoint, parse_checkpoint(text_, where_));
    return {};
  }

 private:
  std::string_view text_;
  const std::string& where_;
};

std::string hashes_and_checkpoint(const std::vector<Digest>& hashes, const Checkpoint& checkpoint) {
  std::string text;
  for (const Digest& hash : hashes) text += hash_line(hash);
  return text + "\n" + checkpoint.text();
}

Status check_size(std::string_view text, const std::string& where) {
  if (text.size() > kMaxProofBytes) return Error{Errc::kData, where, "a proof of more than 2 MiB"};
  return {};
}

}  // namespace

std::string format_proof(const InclusionProof& proof) {
  std::string text(kInclusionHeader);
  if (!proof.extra.empty()) text += fmt::format("{}{}\n", kExtra, base64_encode(proof.extra));
  return text + fmt::format("{}{}\n", kIndex, proof.index) + hashes_and_checkpoint(proof.hashes, proof.checkpoint);
}

Result<InclusionProof> parse_inclusion_proof(std::string_view text, const std::string& where) {
  FAIRWAY_TRY(check_size(text, where));
  if (!text.starts_with(kInclusionHeader)) {
    return Error{Errc::kData, where, "no tlog-proof: the first line must be c2sp.org/tlog-proof@v1"};
  }
  Lines lines(text.substr(kInclusionHeader.size()), where);
  InclusionProof proof;
  if (lines.next_starts_with(kExtra)) {
    FAIRWAY_ASSIGN(const auto field, lines.field(kExtra));
    auto extra = base64_decode(field);
    if (!extra || extra->empty()) return Error{Errc::kData, where, "the extra data is not base64"};
    proof.extra = std::move(*extra);
  }
  FAIRWAY_ASSIGN(const auto index, lines.field(kIndex));
  FAIRWAY_ASSIGN(proof.index, parse_decimal(index, where + ": index"));
  FAIRWAY_TRY(lines.rest(proof.hashes, proof.checkpoint));
  return proof;
}

std::string format_proof(const ConsistencyProof& proof) {
  return fmt::format("{}{}\n", kOld, proof.old_size) + hashes_and_checkpoint(proof.hashes, proof.checkpoint);
}

Result<ConsistencyProof> parse_consistency_proof(std::string_view text, const std::string& where) {
  FAIRWAY_TRY(check_size(text, where));
  Lines lines(text, where);
  ConsistencyProof proof;
  FAIRWAY_ASSIGN(const auto old_size, lines.field(kOld));
  FAIRWAY_ASSIGN(proof.old_size, parse_decimal(old_size, where + ": old size"));
  FAIRWAY_TRY(lines.rest(proof.hashes, proof.checkpoint));
  return proof;
}

}  // namespace fairway::ledger
