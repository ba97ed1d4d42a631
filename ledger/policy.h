/// Trust policies (C2SP tlog-policy): which logs are accepted, and which witnesses must have cosigned.
///
/// A checkpoint satisfies a policy if one of its logs has signed it and the quorum of witnesses has cosigned it. The
/// file is text, one `log`, `witness`, `group` or `quorum` per line; ledger/README.md has an example.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ledger/cosignature.h"

namespace fairway::ledger {

inline constexpr size_t kMaxPolicyBytes = 1 << 20;
inline constexpr size_t kMaxPolicyLines = 1024;  // of each kind

struct Policy {
  /// A witness (no members) or a group: satisfied if `threshold` of its members are.
  struct Party {
    std::optional<VerifierKey> witness;
    size_t threshold = 0;
    std::vector<std::string> members;
  };
  std::vector<VerifierKey> logs;
  std::map<std::string, Party> parties;
  std::string quorum;  ///< a name of `parties`, or "none"
};

/// The policy of one log without witnesses.
Policy policy_of(const VerifierKey& log);

/// kData with file and line for anything the specification does not allow.
Result<Policy> parse_policy(std::string_view text, const std::string& where);

/// What a checkpoint has been found to be signed by.
struct Trust {
  VerifierKey log;
  std::map<std::string, uint64_t> cosigned;  ///< name of the witness in the policy -> time of its cosignature
};

/// kDisproved if the origin is no log of the policy, if that log has not signed, if any signature of a known key is
/// false, or if the quorum is not reached.
Result<Trust> check_policy(const Policy& policy, const Checkpoint& checkpoint, const std::string& where);

/// `checkpoint` with the lines of `lines` that are valid cosignatures of the policy's witnesses, each once; others are
/// left out. kData for malformed lines or if none is left; kDisproved if one under a known witness's name and id is
/// false.
Result<Checkpoint> add_cosignatures(const Checkpoint& checkpoint, std::string_view lines, const Policy& policy,
                                    const std::string& where);

}  // namespace fairway::ledger
