#include "verifier/audit/check/byte_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace fairway::audit {

using verifier::Check;
using verifier::Verdict;

namespace {

/// Tokens of one byte that is no text of its own were decoded to U+FFFD, whose three bytes were counted: in a table
/// ordered by length, a plateau of 3 between entries of 1. Gives its first and last token.
std::optional<std::pair<size_t, size_t>> replacement_plateau(const std::vector<int64_t>& base_bytes) {
  constexpr size_t kShortest = 4;
  for (size_t i = 1; i < base_bytes.size(); ++i) {
    if (base_bytes[i] != 3 || base_bytes[i - 1] != 1) continue;
    size_t end = i;
    while (end < base_bytes.size() && base_bytes[end] == 3) ++end;
    if (end < base_bytes.size() && base_bytes[end] == 1 && end - i >= kShortest) return std::pair(i, end - 1);
    i = end;
  }
  return std::nullopt;
}

/// Where a table and the pieces of a tokenizer differ.
struct Comparison {
  size_t more = 0, fewer = 0;  ///< tokens with more or fewer bytes than their piece has
  size_t spaces_twice = 0;     ///< of `more`: just the leading space, which is flagged to be added as well
  size_t first_more = 0, first_fewer = 0;
  bool same_vocabulary = false;
};

bool flagged(const std::vector<int64_t>& flags, size_t token) { return token < flags.size() && flags[token] != 0; }

/// A table may be padded: what it says of tokens that the tokenizer does not have must be 0.
Comparison compare(const ByteTable& table, const TokenizerModel& tokenizer) {
  Comparison c;
  const auto& pieces = tokenizer.pieces;
  if (table.base_bytes.size() < pieces.size() ||
      std::any_of(table.base_bytes.begin() + static_cast<std::ptrdiff_t>(pieces.size()), table.base_bytes.end(),
                  [](int64_t bytes) { return bytes != 0; }))
    return c;
  c.same_vocabulary = true;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const bool space_later = flagged(table.leading_space, i);
    // A table without flags may hold the leading space, or leave it to the evaluation.
    const bool left_out =
        table.leading_space.empty() && pieces[i].leading_space && table.base_bytes[i] == pieces[i].bytes;
    const int64_t counted = table.base_bytes[i] + (space_later ? 1 : 0);
    const int64_t full = pieces[i].bytes + (pieces[i].leading_space ? 1 : 0);
    if (counted > full) {
      if (c.more++ == 0) c.first_more = i;
      c.spaces_twice += space_later && pieces[i].leading_space && counted == full + 1;
    } else if (counted < full && !left_out) {
      if (c.fewer++ == 0) c.first_fewer = i;
    }
  }
  return c;
}

/// True if a script names the file.
bool is_named(const Facts& facts, const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  return std::any_of(facts.sources.begin(), facts.sources.end(),
                     [&](const SourceFile& s) { return s.text.find(name) != std::string::npos; });
}

void raise(Check& check, Verdict status, std::string message, const std::string& file) {
  if (check.status == Verdict::kFail) {
    check.evidence.push_back({file, 0, 0});
    return;
  }
  if (check.status == Verdict::kReview && status == Verdict::kReview) {
    check.message += "; " + message;
  } else {
    check.message = std::move(message);
  }
  check.status = status;
  check.evidence.insert(check.evidence.begin(), {file, 0, 0});
}

/// What a comparison says; empty if the table counts as the pieces do.
std::string difference(const ByteTable& table, const TokenizerModel& tokenizer, const Comparison& c) {
  const std::string where = fmt::format("{} and the pieces of {} differ", table.file, tokenizer.file);
  if (c.spaces_twice > 0 && c.spaces_twice == c.more) {
    return fmt::format(
        "{}: the leading space of {} tokens, from token {} on, is counted in the table and flagged to be added again",
        where, c.more, c.first_more);
  }
  const size_t first = c.more > 0 ? c.first_more : c.first_fewer;
  if (c.more + c.fewer == 0) return "";
  return fmt::format("{}: {} tokens count more bytes and {} fewer; token {} counts {} and its piece has {}", where,
                     c.more, c.fewer, first, table.base_bytes[first], tokenizer.pieces[first].bytes);
}

/// True if a tokenizer of this table was found, whatever the comparison says.
bool judge_by_tokenizers(const Facts& facts, const ByteTable& table, bool logs_count_more, Check& check) {
  const TokenizerModel* best = nullptr;
  Comparison least;
  for (const TokenizerModel& t : facts.tokenizers) {
    const Comparison c = compare(table, t);
    if (c.same_vocabulary && (!best || c.more + c.fewer < least.more + least.fewer)) best = &t, least = c;
  }
  if (!best) return false;
  const std::string said = difference(table, *best, least);
  if (said.empty()) {
    if (check.status == Verdict::kPass)
      check.message += fmt::format("; {} gives each token the bytes of its piece in {}", table.file, best->file);
    return true;
  }
  if ((least.more + least.fewer) * 2 > best->pieces.size()) {
    raise(check, Verdict::kReview, said + ". Is the table one of another tokenizer?", table.file);
  } else if (least.more > 0 && (logs_count_more || is_named(facts, table.file))) {
    raise(check, Verdict::kFail, said + ": val_bpb is too low", table.file);
  } else {
    raise(check, Verdict::kReview, said + (least.more > 0 ? ". Is this table used?" : ". Whose bytes are they?"),
          table.file);
  }
  return true;
}

}  // namespace

void judge_byte_tables(const Facts& facts, bool logs_fit, bool logs_count_more, Check& check) {
  for (const ByteTable& t : facts.byte_tables) {
    if (judge_by_tokenizers(facts, t, logs_count_more, check)) continue;
    const auto plateau = replacement_plateau(t.base_bytes);
    if (!plateau) continue;
    const std::string said = fmt::format(
        "{} gives the tokens {} to {} three bytes each, between tokens of one byte: single bytes counted as U+FFFD",
        t.file, plateau->first, plateau->second);
    raise(check, logs_count_more ? Verdict::kFail : Verdict::kReview,
          logs_count_more ? said + "; the logs imply more bytes than the text has" : said + "; is this table used?",
          t.file);
  }
  if (logs_fit) return;
  for (const TokenizerModel& t : facts.tokenizers) {
    if (!t.byte_fallback || t.bare_space) continue;
    raise(
        check, Verdict::kReview,
        fmt::format("{} has no piece for a space alone, so that one becomes the three byte tokens of U+2581. Does the "
                    "evaluation count them as one byte?",
                    t.file),
        t.file);
  }
}

}  // namespace fairway::audit
