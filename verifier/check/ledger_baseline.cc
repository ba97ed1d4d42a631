#include "verifier/check/ledger_baseline.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "ledger/entry.h"
#include "ledger/fsck.h"

namespace fairway::verifier {
namespace {

using ledger::Statement;

/// The number of a hexadecimal string that a statement's reader has accepted.
double binary64(std::string_view text) {
  const bool negative = text.starts_with('-');
  text.remove_prefix(negative ? 3 : 2);
  double value = 0.0;
  std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::hex);
  return negative ? -value : value;
}

/// The scores of an entry that can be a baseline; else kData with the reason.
Result<stats::Sample> scores_of(const Statement& s, const std::string& where) {
  const auto no = [&](std::string why) { return Error{Errc::kData, where, "cannot be a baseline: " + std::move(why)}; };
  if (s.verdict != "pass") return no(fmt::format("its verdict is {}", s.verdict));
  if (s.runs.empty()) return no("it holds no replayed run");
  std::vector<double> values;
  std::vector<std::string> names;
  for (const Statement::Run& run : s.runs) {
    if (run.config_sha256 != s.runs[0].config_sha256 || run.scored != s.runs[0].scored)
      return no("its runs are of different configs or were scored on different text");
    names.push_back(fmt::format("seed {}", run.seed));
    if (std::find(names.begin(), names.end() - 1, names.back()) != names.end() - 1)
      return no(names.back() + " is there twice");
    values.push_back(binary64(run.val_bpb));
  }
  FAIRWAY_ASSIGN(auto sample, stats::sample_of(std::move(values), where));
  sample.names = std::move(names);
  return sample;
}

}  // namespace

bool same_text(const Statement::ScoredText& a, const Statement::ScoredText& b) {
  return a.val_sha256 == b.val_sha256 && a.tokenizer_sha256 == b.tokenizer_sha256;
}

Result<std::optional<LedgerBaseline>> ledger_baseline(const std::string& directory, const ledger::Policy& policy,
                                                      const ledger::PublicKey& statement_key,
                                                      const BaselineQuery& query) {
  const bool named = query.index || !query.submission.empty();
  std::optional<LedgerBaseline> chosen;
  std::optional<Error> refused;  // why the entry that was asked for is none; a later one of the name may be
  ledger::FsckOptions options;
  options.check_entry = [&](uint64_t index, std::string_view entry) -> Status {
    if (index >= query.end || (query.index && index != *query.index)) return {};
    const std::string where = fmt::format("{}: entry {}", directory, index);
    auto statement = ledger::read_entry(entry, statement_key, where);
    if (!statement) {
      if (query.index) refused = Error{Errc::kData, where, "cannot be a baseline: " + statement.error().what};
      return {};
    }
    if (!query.index && named && statement->submission != query.submission) return {};
    auto sample = scores_of(*statement, where);
    if (!sample) {
      if (named && !chosen) refused = sample.error();
      return {};
    }
    if (!named) {
      const Statement::Run& run = statement->runs[0];
      if (run.config_sha256 == query.config_sha256 || !same_text(run.scored, query.scored)) return {};
      if (chosen && chosen->sample.mean <= sample->mean) return {};
    }
    chosen = LedgerBaseline{index, std::move(*statement), std::move(*sample)};
    return {};
  };
  FAIRWAY_ASSIGN(const auto report, ledger::fsck(directory, policy, options));
  if (report.finding) {
    return Error{Errc::kData, report.finding->where,
                 report.finding->what + "; no baseline is taken from this log, `fairway ledger fsck` tells more"};
  }
  if (chosen || !named) return chosen;
  if (refused) return *refused;
  return Error{Errc::kNoInput, directory,
               query.index ? fmt::format("there is no entry {} before entry {}", *query.index,
                                         std::min(query.end, report.head.size))
                           : fmt::format("no entry is about a submission \"{}\"", query.submission)};
}

}  // namespace fairway::verifier
