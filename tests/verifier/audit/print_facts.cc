/// print_facts DIR... | print_facts --git REPO < REFS: what the readers found, one line of JSON per folder, for tests
/// and measurements in Python.
#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "verifier/audit/audit.h"
#include "verifier/audit/check/claim.h"
#include "verifier/audit/folder/directory_folder.h"
#include "verifier/audit/folder/git_repository.h"

namespace {

using namespace fairway::audit;
using nlohmann::ordered_json;

template <class T>
ordered_json value(const std::optional<Fact<T>>& fact) {
  return fact ? ordered_json(fact->value) : ordered_json(nullptr);
}

const char* name(ClaimMatch::Kind kind) {
  switch (kind) {
    case ClaimMatch::Kind::kNone:
      return "none";
    case ClaimMatch::Kind::kMean:
      return "mean";
    case ClaimMatch::Kind::kSeedsMean:
      return "seeds_mean";
    case ClaimMatch::Kind::kBest:
      return "best";
    case ClaimMatch::Kind::kOther:
      return "other";
  }
  return "";
}

void print(const RecordFolder& folder) {
  const Facts facts = read_facts(folder);
  const ClaimMatch match = match_claim(facts);
  ordered_json runs = ordered_json::array();
  for (const LoggedRun& r : facts.runs) {
    size_t final_scores = 0, pairs = 0;
    ordered_json last_pair_bpb = nullptr;
    for (const ScoreLine& s : r.scores) {
      final_scores += !s.diagnostic;
      if (!s.val_loss) continue;
      ++pairs;
      last_pair_bpb = *s.val_bpb;
    }
    runs.push_back(
        {{"file", r.file},
         {"seed", value(r.seed)},
         {"world_size", value(r.world_size)},
         {"train_time_ms", value(r.train_time_ms)},
         {"total_bytes", value(r.total_bytes)},
         {"model_bytes", value(r.model_bytes)},
         {"code_bytes", value(r.code_bytes)},
         {"val_tokens", value(r.val_tokens)},
         {"scores", r.scores.size()},
         {"final_scores", final_scores},
         {"pairs", pairs},
                    {"last_pair_bpb", last_pair_bpb}});
  }
  const ordered_json out = {{"ref", facts.ref},
                            {"folder", facts.folder},
                            {"val_bpb", value(facts.claims.val_bpb)},
                            {"bytes_total", value(facts.claims.bytes_total)},
                            {"seeds", facts.claims.seed_bpb.size()},
                            {"match", name(match.kind)},
                            {"tag", match.tag},
                            {"logs", facts.log_files},
                            {"unpacked", std::count_if(facts.sources.begin(), facts.sources.end(),
                                                       [](const SourceFile& s) { return s.unpacked; })},
                            {"problems", facts.problems},
                            {"runs", runs}};
  std::puts(out.dump(-1, ' ', false, ordered_json::error_handler_t::replace).c_str());
}

int failed(const fairway::Error& error) {
  std::fputs((error.message() + "\n").c_str(), stderr);
  return error.exit_code();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "--git") {
    auto repository = GitRepository::open(argv[2], "");
    if (!repository) return failed(repository.error());
    for (std::string ref; std::getline(std::cin, ref);) {
      if (auto folder = (*repository)->folder(ref, "")) print(**folder);
    }
    return 0;
  }
  for (int i = 1; i < argc; ++i) {
    auto folder = open_directory(argv[i]);
    if (!folder) return failed(folder.error());
    print(**folder);
  }
  return 0;
}
