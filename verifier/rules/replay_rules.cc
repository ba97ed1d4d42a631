#include "verifier/rules/groups.h"

namespace fairway::verifier {

std::span<const Rule> replay_rules() {
  static constexpr const char* kSource =
      "Fairway's numerics contract, kernels/NUMERICS.md, and the replay record, submissions/README.md";
  static const Rule kRules[] = {
      {"replay.inputs", "The inputs are those of the record",
       "The SHA-256 of fairway.toml, of every token shard and of the tokenizer equal those in the replay record.",
       "A replay of other inputs says nothing about the record; nothing further is compared once an input differs.",
       "Point --data and --tokenizer at other places; only the content counts.", kSource, ""},
      {"replay.segment", "A segment of the training, run again, ends in the committed state",
       "Training between two committed states, started from the first, ends in the Merkle root that the record commits "
       "to.",
       "Running some randomly chosen segments again shows that the training is what it claims to be without repeating "
       "all of it.",
       "Keep states (replay.keep_states) and commit often enough that a segment is affordable.", kSource, ""},
      {"replay.artifact", "The artifact holds the model of the record",
       "The artifact decompresses to the container whose SHA-256 the record names.",
       "The score belongs to the container; an artifact with another container would be another model.",
       "The compressed bytes may differ from codec version to codec version; the container may not.", kSource, ""},
      {"replay.scores", "Scoring again gives the recorded score",
       "Every per-token score, val_loss, val_bpb, and the counts of tokens and bytes equal the record bit for bit.",
       "Fairway's arithmetic has no run-to-run differences, so any difference means that the score does not come from "
       "this artifact.",
       "", kSource, ""},
      {"replay.codec", "The codec of this machine writes other bytes",
       "Reported when the codec here compresses the same container to other bytes; the containers are compared "
       "instead.",
       "Compressed bytes depend on the version of a library and are no part of the numerics. The limit is checked on "
       "the file given.",
       "", kSource, "", Level::kNote},
      {"replay.identity", "Training again gives the recorded run",
       "The whole identity of a run trained from the start equals the record's: inputs, schedule, commitments, "
       "container, scores.",
       "It is the proof that this submission, and nothing else, gives this record.", "", kSource, ""},
  };
  return kRules;
}

}  // namespace fairway::verifier
