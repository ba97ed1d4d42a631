#include "verifier/cli/verify_baseline.h"

#include <fmt/format.h>

#include <charconv>

#include "ledger/store.h"
#include "verifier/check/ledger_baseline.h"
#include "verifier/check/log_statement.h"
#include "verifier/report/escape.h"

namespace fairway::cli {
namespace {

namespace po = boost::program_options;

constexpr const char* kBest = "best";
constexpr const char* kNone = "none";

/// "mean 2.94536671", with "sd 0.00031" for more than one.
std::string mean_and_sd(std::span<const replay::Record> records, double replay::Identity::*value) {
  std::vector<double> values;
  for (const replay::Record& r : records) values.push_back(r.identity.*value);
  const auto sample = stats::sample_of(std::move(values), "");
  if (!sample) return "mean -";
  return fmt::format("mean {:.8f}", sample->mean) + (sample->count > 1 ? fmt::format(" sd {:.8f}", sample->sd) : "");
}

/// The policy and the statements' key that a log is read with.
Result<std::pair<ledger::Policy, ledger::PublicKey>> trust_of(const po::variables_map& v,
                                                              const BaselineRequest& request,
                                                              const std::optional<Recording>& recording) {
  const bool own_keys =
      request.own_log && recording && v["vkey"].as<std::string>().empty() && v["policy"].as<std::string>().empty();
  ledger::Policy policy;
  if (own_keys) {
    policy = ledger::policy_of(recording->log);
  } else {
    FAIRWAY_ASSIGN(policy, trust(v, request.log));
  }
  if (policy.logs.empty()) return Error{Errc::kUsage, "--policy", "names no log, whose key would check the statements"};
  if (own_keys && v["statement-vkey"].as<std::string>().empty()) return std::pair(policy, recording->signer);
  FAIRWAY_ASSIGN(const auto key, statement_key(v, policy.logs[0]));
  return std::pair(policy, key);
}

}  // namespace

void add_baseline(Parser& parser) {
  parser.options().add_options()("baseline", po::value<std::vector<std::string>>()->multitoken()->composing(),
                                 "scores to improve on, as for `fairway stats`: numbers, MEAN:SD:COUNT, a record "
                                 "folder, or runs with replay.json")(
      "baseline-log", po::value<std::string>()->default_value(""),
      "instead: the log that an earlier entry is taken from; default: that of --ledger")(
      "baseline-entry", po::value<std::string>()->default_value(kBest),
      "which: best (lowest mean val_bpb of what passed, another config, the same validation shards and tokenizer), an "
      "index, the name of a submission (its last entry that passed), or none");
  add_trust(parser);
}

std::string BaselineRequest::description() const {
  if (!given) return log.empty() ? kNone : fmt::format("{} of {}", entry, log);
  std::string text = fmt::format("{} {} {}", given->sample.count, replay::hex_float(given->sample.mean),
                                 replay::hex_float(given->sample.sd));
  for (const double value : given->sample.values) text += " " + replay::hex_float(value);
  return text;
}

Result<BaselineRequest> baseline_request(const po::variables_map& v) {
  BaselineRequest request;
  request.entry = v["baseline-entry"].as<std::string>();
  const std::string named = v["baseline-log"].as<std::string>(), own = v["ledger"].as<std::string>();
  if (v.count("baseline") != 0) {
    if (!named.empty() || !v["baseline-entry"].defaulted())
      return Error{Errc::kUsage, "--baseline", "give either scores or an entry of a log"};
    FAIRWAY_ASSIGN(request.given, read_sample(v["baseline"].as<std::vector<std::string>>(), "--baseline"));
    return request;
  }
  request.log = trimmed_directory(named.empty() ? own : named);
  request.own_log = named.empty() || request.log == trimmed_directory(own);
  if (request.log.empty() && !v["baseline-entry"].defaulted() && request.entry != kNone)
    return Error{Errc::kUsage, "--baseline-entry", "needs a log: --baseline-log or --ledger"};
  if (request.entry.empty()) return Error{Errc::kUsage, "--baseline-entry", "must be best, none, an index or a name"};
  if (request.entry == kNone) request.log.clear();
  if (request.log.empty()) return request;
  FAIRWAY_ASSIGN(const auto checkpoint, ledger::read_checkpoint(request.log));
  request.log_size = checkpoint.head.size;
  return request;
}

Result<Baseline> choose_baseline(const po::variables_map& v, const BaselineRequest& request,
                                 const std::optional<Recording>& recording, const Digest& config_sha256,
                                 const ledger::Statement::ScoredText& scored, uint64_t end) {
  Baseline baseline;
  if (request.given) {
    const SampleInput& given = *request.given;
    baseline.scores = {given.sample, given.name.empty() ? "the baseline" : verifier::visible(given.name, 500)};
    baseline.same_text = !given.scored || verifier::same_text(*given.scored, scored);
    return baseline;
  }
  if (request.log.empty()) {
    baseline.missing = "no baseline was given (--baseline, --baseline-log), so nothing says what the score must beat";
    return baseline;
  }
  verifier::BaselineQuery query{std::nullopt, "", config_sha256, scored, end};
  if (request.entry != kBest) {
    uint64_t index = 0;
    const char* const last = request.entry.data() + request.entry.size();
    const auto [stop, error] = std::from_chars(request.entry.data(), last, index);
    if (error == std::errc() && stop == last) {
      query.index = index;
    } else {
      query.submission = request.entry;
    }
  }
  FAIRWAY_ASSIGN(const auto keys, trust_of(v, request, recording));
  FAIRWAY_ASSIGN(auto found, verifier::ledger_baseline(request.log, keys.first, keys.second, query));
  if (!found) {
    baseline.missing = "no earlier entry of the log that passed is of another config and of the same text";
    return baseline;
  }
  baseline.scores = {std::move(found->sample),
                     fmt::format("entry {} ({})", found->index, verifier::visible(found->statement.submission, 100))};
  baseline.same_text = verifier::same_text(found->statement.runs[0].scored, scored);
  return baseline;
}

verifier::Check compare_seeds(const Baseline& baseline, std::span<const replay::Record> records) {
  std::string each;
  std::vector<double> values;
  for (const replay::Record& r : records) {
    values.push_back(r.identity.val_bpb);
    each += fmt::format("{}seed {} {:.8f}", each.empty() ? "" : ", ", r.identity.seed, r.identity.val_bpb);
  }
  const std::string source = fmt::format("{}: {}", seeds_line(records), each);
  verifier::Check check{"stats.significance", verifier::Verdict::kSkip, baseline.missing + "; " + source, "", "", {}};
  if (baseline.scores) {
    const auto sample = stats::sample_of(std::move(values), "the replay records");
    const replay::Identity& i = records[0].identity;
    if (sample) {
      check = stats::significance(
          {*sample, source}, static_cast<double>(i.eval_bytes) / static_cast<double>(i.eval_tokens), *baseline.scores);
    } else {
      check.status = verifier::Verdict::kReview;
      check.message = "no test is possible: " + sample.error().message();
    }
    if (!baseline.same_text) {
      if (check.status == verifier::Verdict::kPass) check.status = verifier::Verdict::kReview;
      check.message +=
          "; the baseline was scored on other validation shards or with another tokenizer: is it the same text?";
    }
  }
  for (const replay::Record& r : records)
    check.evidence.push_back({fmt::format("seed_{}/replay.json", r.identity.seed)});
  return check;
}

std::string seeds_line(std::span<const replay::Record> records) {
  return fmt::format("{} seed{}, val_loss {}, val_bpb {}", records.size(), records.size() == 1 ? "" : "s",
                     mean_and_sd(records, &replay::Identity::val_loss),
                     mean_and_sd(records, &replay::Identity::val_bpb));
}

}  // namespace fairway::cli
