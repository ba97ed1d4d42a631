#include "verifier/probe/document_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "verifier/probe/changes.h"

namespace fairway::verifier {
namespace {

/// Tokens begin .. end - 1 of a stream.
struct Place {
  size_t begin = 0, end = 0;
};

/// Documents of which the stream also holds the token that follows them.
std::vector<Place> whole_documents(std::span<const uint16_t> tokens) {
  std::vector<Place> documents;
  for (size_t t = 0; t < tokens.size(); ++t) {
    if (tokens[t] == eval::kDocumentStart) documents.push_back({t, t});
    if (!documents.empty()) documents.back().end = t + 1;
  }
  if (!documents.empty()) documents.pop_back();
  return documents;
}

/// The score that each target got last; a map, as targets may be missing.
std::map<int64_t, float> scores_by_target(const ProbedRun& run) {
  std::map<int64_t, float> scores;
  for (const ScoredTarget& s : run.original(0, static_cast<int64_t>(run.steps().size()) - 1))
    scores.emplace(s.target, s.nll);
  return scores;
}

}  // namespace

Status probe_document_order(model::Gpt& model, const eval::EvalConfig& config, ProbedRun& whole,
                            const ProbeOptions& options, Report& report) {
  const std::span<const uint16_t> tokens = whole.tokens();
  std::vector<Place> documents = whole_documents(tokens), picked;
  if (documents.size() < 2) {
    report.add("probe.document_order", Verdict::kSkip, "fewer than two whole documents in the stream");
    return {};
  }
  std::vector<uint16_t> stream;
  // Half of them at most: in a queue sorted by length, all of them would come in the order they had.
  const int64_t few_documents = std::min(options.cuts, static_cast<int64_t>(documents.size() / 2));
  for (int64_t i = 0; i < few_documents; ++i) {
    const size_t pick = draw(options.seed, DrawFor::kDocument, static_cast<uint64_t>(i)) % documents.size();
    const Place& d = documents[pick];
    stream.insert(stream.end(), tokens.begin() + static_cast<std::ptrdiff_t>(d.begin),
                  tokens.begin() + static_cast<std::ptrdiff_t>(d.end));
    picked.push_back(d);
    documents.erase(documents.begin() + static_cast<std::ptrdiff_t>(pick));
  }
  stream.push_back(eval::kDocumentStart);
  ProbedRun few(model, config, stream);
  FAIRWAY_TRY(few.run({}, {}));
  const auto alone = scores_by_target(few), together = scores_by_target(whole);
  few.rewind();
  int64_t compared = 0;
  size_t start = 0;  // of the document in the new stream
  for (const Place& d : picked) {
    for (size_t t = 1; t < d.end - d.begin; ++t) {
      const auto a = together.find(static_cast<int64_t>(d.begin + t)), b = alone.find(static_cast<int64_t>(start + t));
      if (a == together.end() && b == alone.end()) continue;
      ++compared;
      if (a != together.end() && b != alone.end() && std::memcmp(&a->second, &b->second, sizeof a->second) == 0)
        continue;
      report.add(
          "probe.document_order", Verdict::kFail,
          fmt::format("{} documents alone, in another order: the score of target {} was {:.9g} and is {:.9g} (seed {})",
                      picked.size(), d.begin + t, a == together.end() ? NAN : a->second,
                      b == alone.end() ? NAN : b->second, options.seed));
      return {};
    }
    start += d.end - d.begin;
  }
  report.add("probe.document_order", Verdict::kPass,
             fmt::format("{} documents alone, in another order: the same scores, {} compared bit by bit (seed {})",
                         picked.size(), compared, options.seed));
  return {};
}

}  // namespace fairway::verifier
