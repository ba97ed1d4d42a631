/// `fairway ledger record`, and the steps of every command that appends.
#include <fmt/format.h>

#include "ledger/entry.h"
#include "ledger/store.h"
#include "verifier/check/log_statement.h"
#include "verifier/cli/ledger.h"

namespace fairway::cli {
namespace {

namespace po = boost::program_options;

constexpr uint64_t kMaxReportBytes = 64 << 20;

std::string head_line(const ledger::TreeHead& head) {
  return fmt::format("{} entries, root {}\n", head.size, hex(head.root));
}

}  // namespace

Result<Writer> open_writer(const po::variables_map& v, const std::string& given_directory) {
  const std::string directory = trimmed_directory(given_directory);
  const std::string signer_path = v["statement-key"].as<std::string>();
  FAIRWAY_ASSIGN(KeyPaths paths, key_paths(v, directory));
  if (!signer_path.empty() && inside(signer_path, directory)) {
    return Error{Errc::kUsage, signer_path, "a private key must not lie inside the folder that is published"};
  }
  FAIRWAY_ASSIGN(auto key, ledger::PrivateKey::load(paths.key, passphrase_source(v)));
  Writer writer{directory, std::move(paths), std::move(key), std::nullopt};
  if (!signer_path.empty()) {
    FAIRWAY_ASSIGN(auto signer, ledger::PrivateKey::load(signer_path, passphrase_source(v)));
    writer.statement_key.emplace(std::move(signer));
  }
  return writer;
}

Result<ledger::Log> Writer::open() const { return ledger::Log::open({directory, paths.last_signed}, key); }

Result<std::string> append_entries(const Writer& writer, const std::vector<std::string>& files,
                                   const std::vector<std::string>& entries) {
  FAIRWAY_ASSIGN(auto log, writer.open());
  FAIRWAY_ASSIGN(const uint64_t first, log.append(entries));
  std::string said;
  for (size_t i = 0; i < files.size(); ++i) said += fmt::format("entry {}: {}\n", first + i, files[i]);
  return said + head_line(log.checkpoint().head);
}

Result<Recording> can_record(const po::variables_map& v, const std::string& directory) {
  FAIRWAY_ASSIGN(const Writer writer, open_writer(v, directory));
  FAIRWAY_ASSIGN(const auto log, writer.open());
  const ledger::TreeHead& head = log.checkpoint().head;
  return Recording{ledger::make_verifier_key(head.origin, ledger::SignatureType::kEd25519, writer.key.public_key()),
                   writer.signer().public_key(), head.size};
}

ExitCode ledger_record(const Arguments& arguments) {
  Parser parser("fairway ledger record DIR --report FILE [--level LEVEL] [--record RUNS] [options]",
                "Appends what a verification has found: makes the statement from a report (--format json of `fairway "
                "verify` or `fairway\n"
                "audit`) and from the replay records it was about, signs it and appends it. The full report is named "
                "by its digest: keep\n"
                "the file.");
  parser.positional("DIR", "folder of the log");
  parser.options().add_options()("report", po::value<std::string>()->required(), "one report in JSON")(
      "level", po::value<std::string>()->default_value("audit"), "how much was run again: audit, eval, spot or full")(
      "record", po::value<std::string>()->default_value(""), "folder of the recorded runs, seed_<n>/replay.json");
  add_statement_key(parser);
  add_key(parser);
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  const std::string directory = trimmed_directory(v["DIR"].as<std::string>()), path = v["report"].as<std::string>(),
                    runs = v["record"].as<std::string>();
  FAIRWAY_ASSIGN(const auto text, ledger::read_text(path, kMaxReportBytes));
  FAIRWAY_ASSIGN(const auto report, verifier::from_json(text, path));
  std::vector<replay::Record> records;
  if (!runs.empty()) {
    FAIRWAY_ASSIGN(records, verifier::read_records(runs));
  }
  FAIRWAY_ASSIGN(const std::string said, record_verification(v, directory, path, report, text,
                                                             v["level"].as<std::string>(), records, std::nullopt));
  FAIRWAY_TRY(write_stdout(said));
  return 0;
}

Result<std::string> record_verification(const po::variables_map& v, const std::string& directory,
                                        const std::string& report_path, const verifier::Report& report,
                                        const std::string& report_text, const std::string& level,
                                        std::span<const replay::Record> records, std::optional<uint64_t> since) {
  FAIRWAY_ASSIGN(const auto statement,
                 verifier::log_statement(report, level, records, sha256(std::string_view(report_text))));
  FAIRWAY_ASSIGN(const Writer writer, open_writer(v, directory));
  FAIRWAY_ASSIGN(const auto entry, ledger::make_entry(statement, writer.signer(), report_path));
  if (since) {
    // Opened for writing first: an append that was cut off is completed by that.
    FAIRWAY_ASSIGN(const auto log, writer.open());
    const ledger::TreeHead& head = log.checkpoint().head;
    ledger::TileStore store(writer.directory, head.size);
    for (uint64_t i = *since; i < head.size; ++i) {
      FAIRWAY_ASSIGN(const auto there, store.entry(i));
      if (there == entry) return fmt::format("entry {}: {}, recorded before\n", i, report_path) + head_line(head);
    }
  }
  return append_entries(writer, {report_path}, {entry});
}

}  // namespace fairway::cli
