#include "verifier/check/log_statement.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "engine/replay/version.h"
#include "verifier/report/escape.h"

namespace fairway::verifier {
namespace {

namespace fs = std::filesystem;

std::string shown(const std::string& text) {
  std::string out = visible(text, kLoggedMessageBytes);
  return out.empty() ? "-" : out;
}

Result<Digest> informative_digest(const replay::Record& record, const std::string& key) {
  const auto at = record.informative.find(key);
  const auto digest = at == record.informative.end() ? std::nullopt : digest_from_hex(at->second);
  if (!digest)
    return Error{Errc::kData, fmt::format("seed {}: informative.{}", record.identity.seed, key), "must be a SHA-256"};
  return *digest;
}

std::string informative_text(const replay::Record& record, const std::string& key) {
  const auto at = record.informative.find(key);
  return shown(at == record.informative.end() ? "" : at->second);
}

}  // namespace

ledger::Statement::ScoredText scored_text(const replay::Identity& i) {
  return {i.val_sha256, i.tokenizer_sha256, i.eval_tokens, i.eval_bytes};
}

Result<ledger::Statement> log_statement(const Report& report, const std::string& level,
                                        std::span<const replay::Record> records, const Digest& report_sha256) {
  ledger::Statement s;
  s.tool = "fairway";
  s.tool_version = replay::version();
  s.submission = shown(records.empty() ? report.subject_path : records[0].identity.name);
  s.level = level;
  s.verdict = verdict_name(report.verdict());
  for (const Check& c : report.checks) s.checks.push_back({c.id, verdict_name(c.status), shown(c.message)});
  if (s.checks.empty())
    return Error{Errc::kData, report.subject_path, "the report holds no check; there is nothing to log"};
  for (const replay::Record& record : records) {
    const replay::Identity& i = record.identity;
    const std::string seed = fmt::format("seed_{}", i.seed);
    FAIRWAY_ASSIGN(const Digest artifact, informative_digest(record, "artifact_sha256"));
    FAIRWAY_ASSIGN(const Digest known_answer, informative_digest(record, "codec_known_answer"));
    s.subjects.push_back({seed + "/container", i.container_sha256});
    s.subjects.push_back({seed + "/artifact", artifact});
    ledger::Statement::Run run{
        i.seed,
        i.config_sha256,
        replay::identity_digest(i),
        i.scores_sha256,
        std::nullopt,
        replay::hex_float(i.val_loss),
        replay::hex_float(i.val_bpb),
        scored_text(i),
        {informative_text(record, "codec"), informative_text(record, "codec_version"), known_answer}};
    if (!i.commitments.empty()) run.state_root = i.commitments.back().root;
    s.runs.push_back(std::move(run));
  }
  if (records.empty()) {
    const auto digest = digest_from_hex(report.subject_sha256);
    if (!digest)
      return Error{Errc::kData, report.subject_path, "the report names no SHA-256 that an entry could be about"};
    s.subjects.push_back({shown(report.subject_path), *digest});
  }
  s.evidence.push_back({"report.json", report_sha256});
  return s;
}

Result<std::vector<replay::Record>> read_records(const std::string& runs) {
  std::vector<replay::Record> records;
  std::error_code error;
  for (const auto& folder : fs::directory_iterator(runs, error)) {
    if (!folder.path().filename().string().starts_with("seed_")) continue;
    FAIRWAY_ASSIGN(auto loaded, replay::read_record(folder.path().string()));
    records.push_back(std::move(loaded.record));
  }
  if (records.empty()) return Error{Errc::kNoInput, runs, "holds no recorded run seed_<n>/replay.json"};
  std::sort(records.begin(), records.end(),
            [](const auto& a, const auto& b) { return a.identity.seed < b.identity.seed; });
  return records;
}

}  // namespace fairway::verifier
