#include "verifier/rules/groups.h"

namespace fairway::verifier {

std::span<const Rule> ledger_rules() {
  static constexpr const char* kSource =
      "C2SP tlog-tiles, tlog-checkpoint, tlog-cosignature, tlog-proof; ledger/FORMAT.md";
  static const Rule kRules[] = {
      {"ledger.checkpoint", "The checkpoint is signed by the log and its witnesses",
       "The origin is that of a trusted log, that log's key has signed size and root, and the policy's quorum of "
       "witnesses has cosigned.",
       "A root that nobody trusted has signed proves nothing.", "", kSource, "https://c2sp.org/tlog-checkpoint"},
      {"ledger.inclusion", "The entry is in the log",
       "The hashes of the proof lead from the entry at its index to the root of the checkpoint.",
       "It shows that everybody who follows the log can see this entry.", "", kSource, "https://c2sp.org/tlog-proof"},
      {"ledger.statement", "The entry is a signed statement of the expected shape",
       "The entry is canonical JSON: a DSSE envelope, signed by the statements' key, around a statement of "
       "ledger/statement.schema.json.",
       "Being in a log does not make an entry true; the signature says who answers for it.", "", kSource, ""},
      {"ledger.consistency", "The log only grew", "The tree of the older checkpoint is a prefix of the newer one.",
       "A log that shows different pasts to different people, or takes entries back, is found out this way.", "",
       kSource, "https://c2sp.org/tlog-witness"},
      {"ledger.tree", "The log is whole",
       "Every tile, partial tile and the root, derived again from the entries, equal what is stored and signed.",
       "Proofs come from tiles; only entries are what was logged.",
       "Damaged tiles can be restored from any copy of the log.", kSource, "https://c2sp.org/tlog-tiles"},
  };
  return kRules;
}

}  // namespace fairway::verifier
