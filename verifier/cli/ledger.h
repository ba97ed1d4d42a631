/// What the subcommands of `fairway ledger` share.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "engine/replay/record.h"
#include "ledger/key.h"
#include "ledger/log.h"
#include "ledger/policy.h"
#include "verifier/cli/command.h"
#include "verifier/report/report.h"

namespace fairway::cli {

/// Whether a path lies in a folder, links resolved; nothing of them need exist.
bool inside(const std::filesystem::path& path, const std::filesystem::path& directory);
/// A folder's name without slashes at its end.
std::string trimmed_directory(std::string directory);

/// --key and --passphrase-file.
void add_key(Parser& parser);
/// The log's key file and memory: what --key says, or the files that `init` puts beside DIR. kUsage if either lies
/// inside DIR.
struct KeyPaths {
  std::string key, last_signed;
};
Result<KeyPaths> key_paths(const boost::program_options::variables_map& v, const std::string& directory);
/// Where a passphrase comes from: --passphrase-file, FAIRWAY_KEY_PASSPHRASE, a terminal.
ledger::PrivateKey::Passphrase passphrase_source(const boost::program_options::variables_map& v);

/// --statement-key.
void add_statement_key(Parser& parser);
/// The folder and the keys of a command that appends.
struct Writer {
  std::string directory;  ///< without a slash at its end
  KeyPaths paths;
  ledger::PrivateKey key;
  std::optional<ledger::PrivateKey> statement_key;

  const ledger::PrivateKey& signer() const { return statement_key ? *statement_key : key; }
  Result<ledger::Log> open() const;
};
/// Errors as of PrivateKey::load, and kUsage for a key inside the folder.
Result<Writer> open_writer(const boost::program_options::variables_map& v, const std::string& directory);
/// Appends, durably; what a person is told about it. `files` names where each entry is from.
Result<std::string> append_entries(const Writer& writer, const std::vector<std::string>& files,
                                   const std::vector<std::string>& entries);

/// A log that opens, with keys that load.
struct Recording {
  ledger::VerifierKey log;
  ledger::PublicKey signer;  ///< of the statements
  uint64_t size = 0;
};
/// Asked before hours of work whose result is to be recorded.
Result<Recording> can_record(const boost::program_options::variables_map& v, const std::string& directory);
/// Appends the signed statement of a report to the log in `directory`; what a person is told about it. `report_text` is
/// the file `report_path` in which the report is kept. An entry from `since` on that is this one already is not
/// repeated.
Result<std::string> record_verification(const boost::program_options::variables_map& v, const std::string& directory,
                                        const std::string& report_path, const verifier::Report& report,
                                        const std::string& report_text, const std::string& level,
                                        std::span<const replay::Record> records, std::optional<uint64_t> since);

/// --vkey, --policy.
void add_trust(Parser& parser);
/// The policy they give. `fallback` is a folder whose log.vkey is used if there is neither; empty: that is kUsage.
Result<ledger::Policy> trust(const boost::program_options::variables_map& v, const std::string& fallback);
/// The key of the statements: --statement-vkey, else the key of the log that signed the checkpoint.
Result<ledger::PublicKey> statement_key(const boost::program_options::variables_map& v, const ledger::VerifierKey& log);

/// Writes to a file, atomically, or to standard output if `path` is empty.
Status write_output(const std::string& path, std::string_view text);

ExitCode ledger_init(const Arguments& arguments);
ExitCode ledger_append(const Arguments& arguments);
ExitCode ledger_checkpoint(const Arguments& arguments);
ExitCode ledger_record(const Arguments& arguments);
ExitCode ledger_prove(const Arguments& arguments);
ExitCode ledger_verify(const Arguments& arguments);
ExitCode ledger_fsck(const Arguments& arguments);
ExitCode ledger_export(const Arguments& arguments);

}  // namespace fairway::cli
