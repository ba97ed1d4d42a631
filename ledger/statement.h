/// What an entry of the log says: an in-toto Statement v1 whose predicate is the outcome of a verification.
///
/// The shape is also given by statement.schema.json (JSON Schema) and explained in FORMAT.md. There are no floats:
/// losses are hexadecimal strings, as in a replay record, seeds and counts are decimal strings. Evidence that is larger
/// than an entry is named by its digest.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "engine/base/sha256.h"

namespace fairway::ledger {

inline constexpr std::string_view kStatementType = "https://in-toto.io/Statement/v1";
inline constexpr std::string_view kPredicateType = "urn:fairway:verification:v1";

struct Statement {
  /// A file the statement is about: "seed_1337/container", "seed_1337/artifact", "train_gpt.py".
  struct Subject {
    std::string name;
    Digest sha256{};
  };
  struct CheckOutcome {
    std::string id;      ///< of verifier/RULES.md
    std::string status;  ///< pass, fail, review or skip
    std::string message;
  };
  struct Codec {
    std::string name, version;
    Digest known_answer_sha256{};
  };
  /// What a run was scored on: two scores of the same shards with the same tokenizer can be compared.
  struct ScoredText {
    std::vector<Digest> val_sha256;  ///< of the validation shards; at least one
    Digest tokenizer_sha256{};
    uint64_t tokens = 0, bytes = 0;  ///< predictions, and what they stand for

    friend bool operator==(const ScoredText&, const ScoredText&) = default;
  };
  /// One replayed run of one seed.
  struct Run {
    uint64_t seed = 0;
    Digest config_sha256{};            ///< of fairway.toml
    Digest identity_sha256{};          ///< of the replay record's identity
    Digest scores_sha256{};            ///< of the score stream
    std::optional<Digest> state_root;  ///< the last commitment to the training state, if there are any
    std::string val_loss, val_bpb;     ///< binary64 as "0x1.…p+…"; nats per token, bits per byte
    ScoredText scored;
    Codec codec;
  };
  struct Evidence {
    std::string name;
    Digest sha256{};
  };

  std::vector<Subject> subjects;  ///< at least one
  std::string tool, tool_version;
  std::string submission;
  std::string level;    ///< audit, eval, spot or full: how much was run again
  std::string verdict;  ///< pass, fail or review
  std::vector<CheckOutcome> checks;
  std::vector<Run> runs;  ///< none where nothing can be replayed
  std::vector<Evidence> evidence;
};

nlohmann::json to_json(const Statement& statement);

/// kData, naming the key, for anything that is not exactly of the shape above. Duplicate keys are the reader's business
/// (parse_json).
Result<Statement> statement_from_json(const nlohmann::json& value, const std::string& where);

}  // namespace fairway::ledger
