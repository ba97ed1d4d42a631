/// `fairway ledger`: keys, and the subcommands that write a log.
#include "verifier/cli/ledger.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/base/canonical_json.h"
#include "ledger/entry.h"
#include "ledger/store.h"
#include "verifier/check/log_statement.h"

namespace fairway::cli {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

constexpr uint64_t kMaxStatementBytes = 1 << 20;
constexpr uint64_t kMaxReportBytes = 64 << 20;
constexpr uint64_t kMaxSmallFileBytes = 4096;

const std::vector<Command>& ledger_commands() {
  static const std::vector<Command> list = {
      {"init", "make an empty log and its key", ledger_init},
      {"append", "sign statements and add them, durably", ledger_append},
      {"record", "append what a verification has found, from its report", ledger_record},
      {"checkpoint", "show the log's signed size and root; add witnesses' cosignatures", ledger_checkpoint},
      {"prove", "write proofs that need nothing but keys to be checked", ledger_prove},
      {"verify", "check a proof: entry, inclusion, consistency, witnesses", ledger_verify},
      {"fsck", "derive the whole log again from its entries and compare", ledger_fsck},
      {"export", "copy the log for a static host; entries as JSON lines; one entry as a bundle", ledger_export},
  };
  return list;
}

bool inside(const fs::path& path, const fs::path& directory) {
  std::error_code ignored;
  const fs::path a = fs::weakly_canonical(fs::absolute(path), ignored),
                 b = fs::weakly_canonical(fs::absolute(directory), ignored);
  return std::mismatch(b.begin(), b.end(), a.begin(), a.end()).first == b.end();
}

/// A file's text without the newline at its end.
Result<std::string> read_line_file(const std::string& path) {
  FAIRWAY_ASSIGN(auto text, ledger::read_text(path, kMaxSmallFileBytes));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

/// A vkey given as itself or as a file that holds it.
Result<ledger::VerifierKey> vkey_argument(const std::string& text, const std::string& option) {
  if (text.find('+') != text.npos && !fs::exists(text)) return ledger::parse_vkey(text, option);
  FAIRWAY_ASSIGN(const auto line, read_line_file(text));
  return ledger::parse_vkey(line, text);
}

std::string trimmed_directory(std::string directory) {
  while (directory.size() > 1 && directory.back() == '/') directory.pop_back();
  return directory;
}

/// The keys of a command that appends.
struct Writer {
  KeyPaths paths;
  ledger::PrivateKey key;
  std::optional<ledger::PrivateKey> statement_key;
  const ledger::PrivateKey& signer() const { return statement_key ? *statement_key : key; }
};

Result<Writer> open_writer(const po::variables_map& v, const std::string& directory) {
  const std::string signer_path = v["statement-key"].as<std::string>();
  FAIRWAY_ASSIGN(KeyPaths paths, key_paths(v, directory));
  if (!signer_path.empty() && inside(signer_path, directory)) {
    return Error{Errc::kUsage, signer_path, "a private key must not lie inside the folder that is published"};
  }
  FAIRWAY_ASSIGN(auto key, ledger::PrivateKey::load(paths.key, passphrase_source(v)));
  Writer writer{std::move(paths), std::move(key), std::nullopt};
  if (!signer_path.empty()) {
    FAIRWAY_ASSIGN(auto signer, ledger::PrivateKey::load(signer_path, passphrase_source(v)));
    writer.statement_key.emplace(std::move(signer));
  }
  return writer;
}

std::string head_line(const ledger::TreeHead& head) { return fmt::format("{} entries, root {}\n", head.size, hex(head.root)); }

/// Appends, durably; what a person is told about it.
Result<std::string> append_entries(const Writer& writer, const std::string& directory, const std::vector<std::string>& files,
                      const std::vector<std::string>& entries) {
  FAIRWAY_ASSIGN(auto log, ledger::Log::open({directory, writer.paths.last_signed}, writer.key));
  FAIRWAY_ASSIGN(const uint64_t first, log.append(entries));
  std::string said;
  for (size_t i = 0; i < files.size(); ++i) said += fmt::format("entry {}: {}\n", first + i, files[i]);
  return said + head_line(log.checkpoint().head);
}

}  // namespace

void add_statement_key(Parser& parser) {
  parser.options().add_options()("statement-key", po::value<std::string>()->default_value(""),
                                 "private key that signs the statements; default: the log's");
}

Status can_record(const po::variables_map& v, const std::string& directory) {
  FAIRWAY_ASSIGN(const Writer writer, open_writer(v, directory));
  FAIRWAY_ASSIGN(auto log, ledger::Log::open({trimmed_directory(directory), writer.paths.last_signed}, writer.key));
  (void)log;
  return {};
}

void add_key(Parser& parser) {
  parser.options().add_options()("key", po::value<std::string>()->default_value(""),
                                 "the log's private key; default: DIR.key.pem, beside DIR")(
      "passphrase-file", po::value<std::string>()->default_value(""),
      "file with the passphrase of an encrypted key; else FAIRWAY_KEY_PASSPHRASE, else a terminal is asked");
}

Result<KeyPaths> key_paths(const po::variables_map& v, const std::string& directory) {
  KeyPaths paths;
  paths.key = v["key"].as<std::string>();
  if (paths.key.empty()) paths.key = trimmed_directory(directory) + ".key.pem";
  paths.last_signed = paths.key + ".last";
  if (inside(paths.key, directory)) {
    return Error{Errc::kUsage, paths.key, "a private key must not lie inside the folder that is published"};
  }
  return paths;
}

ledger::PrivateKey::Passphrase passphrase_source(const po::variables_map& v) {
  return [path = v["passphrase-file"].as<std::string>()]() -> std::optional<std::string> {
    if (!path.empty()) {
      auto text = read_line_file(path);
      return text ? std::optional(std::move(*text)) : std::nullopt;
    }
    if (const char* text = std::getenv("FAIRWAY_KEY_PASSPHRASE"); text != nullptr) return text;
    char buffer[1024];
    if (isatty(0) == 0 || EVP_read_pw_string(buffer, sizeof buffer, "Passphrase of the key: ", 0) != 0)
      return std::nullopt;
    std::string text = buffer;
    OPENSSL_cleanse(buffer, sizeof buffer);
    return text;
  };
}

void add_trust(Parser& parser) {
  parser.options().add_options()("vkey", po::value<std::string>()->default_value(""),
                                 "the log's public key, NAME+ID+KEY, or a file with it")(
      "policy", po::value<std::string>()->default_value(""),
      "instead: a trust policy (C2SP tlog-policy) with logs, witnesses and their quorum")(
      "statement-vkey", po::value<std::string>()->default_value(""),
      "public key of the statements, if it is not the log's");
}

Result<ledger::Policy> trust(const po::variables_map& v, const std::string& fallback) {
  const std::string vkey = v["vkey"].as<std::string>(), policy = v["policy"].as<std::string>();
  if (!vkey.empty() && !policy.empty()) return Error{Errc::kUsage, "", "give either --vkey or --policy"};
  if (!policy.empty()) {
    FAIRWAY_ASSIGN(const auto text, ledger::read_text(policy, ledger::kMaxPolicyBytes));
    return ledger::parse_policy(text, policy);
  }
  if (vkey.empty() && fallback.empty()) {
    return Error{Errc::kUsage, "", "give --vkey or --policy: a proof says nothing without a key from elsewhere"};
  }
  FAIRWAY_ASSIGN(auto key, vkey_argument(vkey.empty() ? fallback + "/" + ledger::kVkeyName : vkey, "--vkey"));
  if (key.type != ledger::SignatureType::kEd25519)
    return Error{Errc::kUsage, "--vkey", "is the key of a witness, not of a log"};
  return ledger::policy_of(key);
}

Result<ledger::PublicKey> statement_key(const po::variables_map& v, const ledger::VerifierKey& log) {
  const std::string text = v["statement-vkey"].as<std::string>();
  if (text.empty()) return log.key;
  FAIRWAY_ASSIGN(const auto key, vkey_argument(text, "--statement-vkey"));
  return key.key;
}

Status write_output(const std::string& path, std::string_view text) {
  if (!path.empty()) return write_file_atomic(path, text);
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    return Error{Errc::kIo, "standard output", "cannot write"};
  }
  return {};
}

ExitCode run_ledger(const Arguments& arguments) {
  std::string page =
      "Usage: fairway ledger COMMAND [arguments]\n\nA transparency log of verifications: C2SP tlog-tiles in a plain "
      "folder.\n\n";
  for (const Command& c : ledger_commands()) page += fmt::format("  {:<10} {}\n", c.name, c.summary);
  page += "\n`fairway ledger COMMAND --help` explains a command.\n";
  if (!arguments.empty() && (arguments[0] == "--help" || arguments[0] == "-h")) {
    std::fputs(page.c_str(), stdout);
    return 0;
  }
  for (const Command& c : ledger_commands()) {
    if (!arguments.empty() && arguments[0] == c.name) return c.run({arguments.begin() + 1, arguments.end()});
  }
  return Error{Errc::kUsage, "",
               arguments.empty() ? "a command is missing; see `fairway ledger --help`"
                                 : fmt::format("no command \"{}\"; see `fairway ledger --help`", arguments[0])};
}

ExitCode ledger_init(const Arguments& arguments) {
  Parser parser("fairway ledger init DIR --origin NAME [options]",
                "Makes an empty log in DIR, which is what gets published, and its Ed25519 key beside DIR, which never "
                "is. The origin names the log\n"
                "for good: the address it will be served at, without https://. Prints the public key that others "
                "verify with; it is also\n"
                "written to DIR/log.vkey. A key file that exists is used as it is. Beside the key, KEY.last remembers "
                "the last checkpoint\n"
                "that was signed: with it a folder that was rolled back or replaced is refused.");
  parser.positional("DIR", "folder to publish");
  parser.options().add_options()("origin", po::value<std::string>()->required(),
                                 "name of the log, such as example.com/fairway; no spaces, no plus")(
      "encrypt", "encrypt a new key with the passphrase");
  add_key(parser);
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  const std::string directory = trimmed_directory(v["DIR"].as<std::string>()), origin = v["origin"].as<std::string>();
  FAIRWAY_ASSIGN(const KeyPaths paths, key_paths(v, directory));
  if (!ledger::valid_key_name(origin))
    return Error{Errc::kUsage, "--origin", "must be a name without spaces and plus signs, such as example.com/fairway"};
  if (fs::exists(directory + "/" + ledger::kCheckpointName)) return Error{Errc::kUsage, directory, "is a log already"};
  if (!fs::exists(paths.key)) {
    std::string passphrase;
    if (v.count("encrypt") != 0) {
      auto given = passphrase_source(v)();
      if (!given || given->empty())
        return Error{Errc::kUsage, "--encrypt", "needs a passphrase: --passphrase-file or FAIRWAY_KEY_PASSPHRASE"};
      passphrase = std::move(*given);
    }
    FAIRWAY_TRY(make_directories(parent_directory(paths.key)));
    FAIRWAY_TRY(ledger::PrivateKey::generate().save(paths.key, passphrase));
  }
  FAIRWAY_ASSIGN(const auto key, ledger::PrivateKey::load(paths.key, passphrase_source(v)));
  FAIRWAY_TRY(ledger::Log::create({directory, paths.last_signed}, origin, key));
  std::fputs(
      (ledger::format_vkey(ledger::make_verifier_key(origin, ledger::SignatureType::kEd25519, key.public_key())) + "\n")
          .c_str(),
      stdout);
  return 0;
}

ExitCode ledger_append(const Arguments& arguments) {
  Parser parser("fairway ledger append DIR STATEMENT.json [STATEMENT.json ...] [options]",
                "Signs statements (in-toto Statement v1, the shape of ledger/statement.schema.json) and appends them "
                "under one new checkpoint.\n"
                "When the command ends with 0 they are durable; if it fails, none is. The text must be canonical JSON "
                "(RFC 8785), because\n"
                "what is signed is the text; --canonicalise rewrites it first. An entry has less than 64 KB.");
  parser.positional("DIR", "folder of the log");
  parser.positional_list("STATEMENT", "statements, in the order of their entries");
  parser.options().add_options()("canonicalise", "accept any JSON and sign its canonical form");
  add_statement_key(parser);
  add_key(parser);
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  const std::string directory = trimmed_directory(v["DIR"].as<std::string>());
  FAIRWAY_ASSIGN(const Writer writer, open_writer(v, directory));
  const auto files = v["STATEMENT"].as<std::vector<std::string>>();
  std::vector<std::string> entries;
  for (const std::string& file : files) {
    FAIRWAY_ASSIGN(auto text, ledger::read_text(file, kMaxStatementBytes));
    if (v.count("canonicalise") != 0) {
      FAIRWAY_ASSIGN(const auto value, parse_json(text, file));
      FAIRWAY_ASSIGN(text, canonical_json(value, file));
    } else if (text.ends_with('\n')) {
      text.pop_back();  // the end of the file's only line, no part of the statement
    }
    FAIRWAY_ASSIGN(auto entry, ledger::make_entry(text, writer.signer(), file));
    entries.push_back(std::move(entry));
  }
  FAIRWAY_ASSIGN(const std::string said, append_entries(writer, directory, files, entries));
  FAIRWAY_TRY(write_stdout(said));
  return 0;
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
  FAIRWAY_ASSIGN(const std::string said, record_verification(v, directory, path, report, text, v["level"].as<std::string>(), records));
  FAIRWAY_TRY(write_stdout(said));
  return 0;
}

Result<std::string> record_verification(const po::variables_map& v, const std::string& directory, const std::string& report_path,
                                        const verifier::Report& report, const std::string& report_text, const std::string& level,
                                        std::span<const replay::Record> records) {
  FAIRWAY_ASSIGN(const auto statement, verifier::log_statement(report, level, records, sha256(std::string_view(report_text))));
  FAIRWAY_ASSIGN(const Writer writer, open_writer(v, trimmed_directory(directory)));
  FAIRWAY_ASSIGN(const auto entry, ledger::make_entry(statement, writer.signer(), report_path));
  return append_entries(writer, trimmed_directory(directory), {report_path}, {entry});
}

ExitCode ledger_checkpoint(const Arguments& arguments) {
  Parser parser("fairway ledger checkpoint DIR [--cosignatures FILE --policy POLICY] [options]",
                "Prints the log's checkpoint, a signed note, once its signature holds. With --cosignatures it first "
                "adds the lines that witnesses\n"
                "have answered with (C2SP tlog-witness; `prove --from` makes what they are asked with). Each must "
                "verify as that of a witness\n"
                "of the policy; lines of others are left out.");
  parser.positional("DIR", "folder of the log");
  parser.options().add_options()("cosignatures", po::value<std::string>()->default_value(""),
                                 "file with signature lines");
  add_trust(parser);
  add_key(parser);
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  const std::string directory = trimmed_directory(v["DIR"].as<std::string>()),
                    lines_path = v["cosignatures"].as<std::string>();
  FAIRWAY_ASSIGN(auto policy, trust(v, directory));
  const std::string where = directory + "/" + ledger::kCheckpointName;
  if (lines_path.empty()) {
    FAIRWAY_ASSIGN(const auto checkpoint, ledger::read_checkpoint(directory));
    FAIRWAY_ASSIGN(const auto trusted, ledger::check_policy(policy, checkpoint, where));
    (void)trusted;
    FAIRWAY_TRY(write_output("", checkpoint.text()));
    return 0;
  }
  if (v["policy"].as<std::string>().empty())
    return Error{Errc::kUsage, "--cosignatures", "needs --policy, which says who the witnesses are"};
  FAIRWAY_ASSIGN(const KeyPaths paths, key_paths(v, directory));
  FAIRWAY_ASSIGN(const auto key, ledger::PrivateKey::load(paths.key, passphrase_source(v)));
  FAIRWAY_ASSIGN(const auto lines, ledger::read_text(lines_path, ledger::kMaxNoteBytes));
  FAIRWAY_ASSIGN(auto log, ledger::Log::open({directory, paths.last_signed}, key));
  FAIRWAY_ASSIGN(const auto cosigned, ledger::add_cosignatures(log.checkpoint(), lines, policy, lines_path));
  FAIRWAY_TRY(log.publish_cosigned(cosigned));
  FAIRWAY_TRY(write_output("", cosigned.text()));
  return 0;
}

}  // namespace fairway::cli
