/// `fairway ledger`: the subcommands that write a log.
#include "verifier/cli/ledger.h"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/base/canonical_json.h"
#include "ledger/entry.h"
#include "ledger/store.h"

namespace fairway::cli {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

constexpr uint64_t kMaxStatementBytes = 1 << 20;

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

}  // namespace

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
  FAIRWAY_ASSIGN(const Writer writer, open_writer(v, v["DIR"].as<std::string>()));
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
  FAIRWAY_ASSIGN(const std::string said, append_entries(writer, files, entries));
  FAIRWAY_TRY(write_stdout(said));
  return 0;
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
