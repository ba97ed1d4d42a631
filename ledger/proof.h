/// Proofs as files: inclusion of an entry (C2SP tlog-proof), and consistency with an older checkpoint.
///
/// Both end in a checkpoint, word for word, and need nothing but keys to be checked. The consistency proof has the form
/// of the request that C2SP tlog-witness sends to witnesses, so it can be posted to one as it is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ledger/checkpoint.h"

namespace fairway::ledger {

inline constexpr size_t kMaxProofBytes = 2 << 20;
inline constexpr size_t kMaxProofHashes = 63;
inline constexpr std::string_view kInclusionHeader = "c2sp.org/tlog-proof@v1\n";

struct InclusionProof {
  std::string extra;  ///< the entry itself, which makes the file self-contained; empty: it must come from elsewhere
  uint64_t index = 0;
  std::vector<Digest> hashes;  ///< from the leaf's sibling to the root's child
  Checkpoint checkpoint;
};

std::string format_proof(const InclusionProof& proof);
Result<InclusionProof> parse_inclusion_proof(std::string_view text, const std::string& where);

struct ConsistencyProof {
  uint64_t old_size = 0;
  std::vector<Digest> hashes;
  Checkpoint checkpoint;
};

std::string format_proof(const ConsistencyProof& proof);
Result<ConsistencyProof> parse_consistency_proof(std::string_view text, const std::string& where);

}  // namespace fairway::ledger
