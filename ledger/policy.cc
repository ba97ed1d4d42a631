#include "ledger/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

namespace fairway::ledger {
namespace {

constexpr std::string_view kNone = "none";

std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> words;
  for (size_t at = 0; (at = line.find_first_not_of(" \t", at)) != line.npos;) {
    const size_t end = std::min(line.find_first_of(" \t", at), line.size());
    words.emplace_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

class PolicyParser {
 public:
  explicit PolicyParser(std::string where) : where_(std::move(where)) {}

  Status line(std::string_view text) {
    ++line_;
    for (const char c : text) {
      if ((static_cast<uint8_t>(c) < 0x20 && c != '\t') || c == 0x7f) return bad("a control character");
    }
    const auto words = words_of(text);
    if (words.empty() || words[0].starts_with('#')) return {};
    if (words[0] == "log") return log(words);
    if (words[0] == "witness") return witness(words);
    if (words[0] == "group") return group(words);
    if (words[0] == "quorum") return quorum(words);
    return bad(fmt::format("\"{}\" is not log, witness, group or quorum", words[0]));
  }

  Result<Policy> finish() {
    if (policy_.quorum.empty())
      return Error{Errc::kData, where_, "a policy needs a line `quorum NAME` or `quorum none`"};
    return std::move(policy_);
  }

 private:
  Error bad(std::string what) const { return Error{Errc::kData, fmt::format("{}:{}", where_, line_), std::move(what)}; }

  Status log(const std::vector<std::string>& words) {
    if (words.size() != 2 && words.size() != 3) return bad("expected `log VKEY [URL]`");
    if (policy_.logs.size() == kMaxPolicyLines) return bad("too many logs");
    FAIRWAY_ASSIGN(auto key, key_of(words[1], SignatureType::kEd25519));
    policy_.logs.push_back(std::move(key));
    return {};
  }

  Status witness(const std::vector<std::string>& words) {
    if (words.size() != 3 && words.size() != 4) return bad("expected `witness NAME VKEY [URL]`");
    FAIRWAY_ASSIGN(auto key, key_of(words[2], SignatureType::kCosignature));
    return define(words[1], Policy::Party{std::move(key), 1, {}});
  }

  Status group(const std::vector<std::string>& words) {
    if (words.size() < 4) return bad("expected `group NAME all|any|K MEMBER...`");
    Policy::Party party;
    party.members.assign(words.begin() + 3, words.end());
    const std::string& rule = words[2];
    if (rule == "all" || rule == "any") {
      party.threshold = rule == "any" ? 1 : party.members.size();
    } else {
      const auto [end, error] = std::from_chars(rule.data(), rule.data() + rule.size(), party.threshold);
      if (error != std::errc() || end != rule.data() + rule.size() || party.threshold < 1 ||
          party.threshold > party.members.size()) {
        return bad("a group needs `all`, `any` or a number from 1 to its members");
      }
    }
    for (const std::string& member : party.members) {
      if (!policy_.parties.contains(member)) return bad(fmt::format("\"{}\" is not defined above", member));
      if (!members_.insert(member).second) return bad(fmt::format("\"{}\" is a member of a group already", member));
    }
    return define(words[1], std::move(party));
  }

  Status quorum(const std::vector<std::string>& words) {
    if (words.size() != 2) return bad("expected `quorum NAME` or `quorum none`");
    if (!policy_.quorum.empty()) return bad("there is a quorum line already");
    if (words[1] != kNone && !policy_.parties.contains(words[1])) {
      return bad(fmt::format("\"{}\" is not defined above", words[1]));
    }
    policy_.quorum = words[1];
    return {};
  }

  Status define(const std::string& name, Policy::Party party) {
    if (policy_.parties.size() == kMaxPolicyLines) return bad("too many witnesses and groups");
    if (name == kNone || !policy_.parties.emplace(name, std::move(party)).second) {
      return bad(fmt::format("the name \"{}\" is taken", name));
    }
    return {};
  }

  Result<VerifierKey> key_of(const std::string& text, SignatureType type) {
    FAIRWAY_ASSIGN(auto key, parse_vkey(text, fmt::format("{}:{}", where_, line_)));
    if (key.type != type) {
      return bad(type == SignatureType::kEd25519 ? "a log needs a key of type 0x01"
                                                 : "a witness needs a key of type 0x04");
    }
    auto& known = type == SignatureType::kEd25519 ? log_keys_ : witness_keys_;
    if (!known.insert(key.key).second) return bad("the same public key twice");
    return key;
  }

  std::string where_;
  int line_ = 0;
  Policy policy_;
  std::set<std::string> members_;
  std::set<PublicKey> log_keys_, witness_keys_;
};

bool satisfied(const Policy& policy, const std::string& name, const std::map<std::string, uint64_t>& cosigned) {
  // Groups name only what stands above them, so this ends; each party is a member at most once, so it is linear.
  const Policy::Party& party = policy.parties.at(name);
  if (party.witness) return cosigned.contains(name);
  size_t count = 0;
  for (const std::string& member : party.members) count += satisfied(policy, member, cosigned) ? 1 : 0;
  return count >= party.threshold;
}

}  // namespace

Policy policy_of(const VerifierKey& log) { return Policy{{log}, {}, std::string(kNone)}; }

Result<Policy> parse_policy(std::string_view text, const std::string& where) {
  if (text.size() > kMaxPolicyBytes) return Error{Errc::kData, where, "a policy of more than 1 MiB"};
  PolicyParser parser(where);
  while (!text.empty()) {
    const size_t end = text.find('\n');
    FAIRWAY_TRY(parser.line(text.substr(0, end)));
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
  return parser.finish();
}

Result<Trust> check_policy(const Policy& policy, const Checkpoint& checkpoint, const std::string& where) {
  std::vector<VerifierKey> logs;
  for (const VerifierKey& log : policy.logs) {
    if (log.name == checkpoint.head.origin) logs.push_back(log);
  }
  if (logs.empty()) {
    return Error{Errc::kDisproved, where,
                 fmt::format("the origin \"{}\" is no log of the policy", checkpoint.head.origin)};
  }
  // An origin may have several keys (while it changes them); one valid signature is enough, a false one never is.
  std::optional<Trust> trust;
  std::optional<Error> problem;
  for (const VerifierKey& log : logs) {
    const Status status = verify_checkpoint(checkpoint, log, where);
    if (status && !trust) trust = Trust{log, {}};
    const bool has_line =
        std::any_of(checkpoint.note.signatures.begin(), checkpoint.note.signatures.end(),
                    [&](const SignatureLine& line) { return line.name == log.name && line.id == log.id; });
    if (!status && (has_line || !problem)) problem = status.error();
    if (!status && has_line) return *problem;
  }
  if (!trust) return *problem;
  for (const auto& [name, party] : policy.parties) {
    if (!party.witness) continue;
    FAIRWAY_ASSIGN(const auto time, verify_cosignature(checkpoint, *party.witness, where));
    if (time) trust->cosigned.emplace(name, *time);
  }
  if (policy.quorum != kNone && !satisfied(policy, policy.quorum, trust->cosigned)) {
    return Error{Errc::kDisproved, where,
                 fmt::format("the quorum \"{}\" is not reached: {} known witnesses have cosigned", policy.quorum,
                             trust->cosigned.size())};
  }
  return std::move(*trust);
}

Result<Checkpoint> add_cosignatures(const Checkpoint& checkpoint, std::string_view lines, const Policy& policy,
                                    const std::string& where) {
  Checkpoint cosigned = checkpoint;
  auto& signatures = cosigned.note.signatures;
  while (!lines.empty()) {
    const size_t end = lines.find('\n');
    if (end == lines.npos) return Error{Errc::kData, where, "the last signature line has no newline"};
    FAIRWAY_ASSIGN(auto line, parse_signature_line(lines.substr(0, end), where));
    lines.remove_prefix(end + 1);
    const bool is_known = std::any_of(policy.parties.begin(), policy.parties.end(), [&](const auto& named) {
      const auto& witness = named.second.witness;
      return witness && witness->name == line.name && witness->id == line.id;
    });
    if (!is_known || std::find(signatures.begin(), signatures.end(), line) != signatures.end()) continue;
    if (signatures.size() == kMaxNoteSignatures)
      return Error{Errc::kData, where, "too many signatures for one checkpoint"};
    signatures.push_back(std::move(line));
  }
  if (signatures.size() == checkpoint.note.signatures.size()) {
    return Error{Errc::kData, where, "no new cosignature of a witness of the policy"};
  }
  for (const auto& [name, party] : policy.parties) {
    if (!party.witness) continue;
    FAIRWAY_ASSIGN(const auto time, verify_cosignature(cosigned, *party.witness, where));
    (void)time;  // any time will do; a false signature will not
  }
  return cosigned;
}

}  // namespace fairway::ledger
