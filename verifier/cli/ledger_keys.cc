/// `fairway ledger`: where keys and trust come from.
#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "ledger/store.h"
#include "verifier/cli/ledger.h"

namespace fairway::cli {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

constexpr uint64_t kMaxSmallFileBytes = 4096;

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

}  // namespace

bool inside(const fs::path& path, const fs::path& directory) {
  std::error_code ignored;
  const fs::path a = fs::weakly_canonical(fs::absolute(path), ignored),
                 b = fs::weakly_canonical(fs::absolute(directory), ignored);
  return std::mismatch(b.begin(), b.end(), a.begin(), a.end()).first == b.end();
}

std::string trimmed_directory(std::string directory) {
  while (directory.size() > 1 && directory.back() == '/') directory.pop_back();
  return directory;
}

void add_statement_key(Parser& parser) {
  parser.options().add_options()("statement-key", po::value<std::string>()->default_value(""),
                                 "private key that signs the statements; default: the log's");
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

}  // namespace fairway::cli
