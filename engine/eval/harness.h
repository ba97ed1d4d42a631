/// The narrow way through which every evaluation goes: the harness owns the tokens, runs the model, computes every nll itself and
/// writes the trace. A procedure asks for tokens to learn from, hands over distributions, and never sees a target before that unless it
/// asks for it; whatever it asks for is recorded.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/progress.h"
#include "engine/base/result.h"
#include "engine/base/sha256.h"
#include "engine/comm/communicator.h"
#include "engine/data/byte_accounting.h"
#include "engine/eval/trace.h"
#include "engine/eval/windows.h"
#include "engine/model/gpt.h"

namespace fairway::eval {

/// What an evaluation found. Totals are integers; loss and bits per byte are binary64 divisions of them:
///   val_loss = fl(fl(loss_units * 2^-26) / tokens);  val_bpb = fl(fl(loss_units * 2^-26) / fl(ln 2 * bytes))
struct Scores {
  int64_t loss_units = 0;  ///< sum of round(nll * 2^26)
  uint64_t tokens = 0;
  uint64_t bytes = 0;
  Digest stream_sha256{};  ///< of the nll values, binary32 little-endian, in scoring order
  double val_loss = 0.0;
  double val_bpb = 0.0;
};

/// Receives scores in scoring order, on rank 0 only: the target of the first, and one nll per consecutive target.
using ScoreSink = std::function<Status(std::span<const float> nll)>;
/// The same with the index of the first target; used by probes. A first target of -1 says that all scores so far were thrown away.
using TargetSink = std::function<Status(int64_t first_target, std::span<const float> nll)>;
/// Receives the distribution of one target, as logits that the nll is computed from; used by probes, with one process only.
using RowSink = std::function<void(int64_t target, std::span<const float> logits)>;

/// One position's distribution before it is final.
struct Row {
  int64_t target = 0;                 ///< index of the token being predicted
  std::span<const uint16_t> context;  ///< every token before it
  std::span<float> logits;            ///< after the cap; softmax of what is left here is the distribution
};
/// Changes distributions, one position after the other, all of a window before the next window. Must not look outside its row.
using RowTransform = std::function<Status(const Row& row)>;

/// Consecutive windows of one shape that are scored by one state.
struct WindowGroup {
  std::vector<Window> windows;
};

/// What a group is scored with, besides weights.
struct ScoreOptions {
  RowTransform transform;                     ///< may be empty
  float temperature = 1.0f;                   ///< logits after the cap are divided by it, before `transform`
  model::AttentionHook* attention = nullptr;  ///< see tape.h
  int64_t first_position = 0;
};

class Harness {
 public:
  struct Setup {
    std::span<const uint16_t> tokens;        ///< P + 1
    const data::ByteAccounting* accounting;  ///< null: bytes stay 0
    comm::Communicator* communicator;
    ScoreSink sink;               ///< may be empty
    TargetSink targets;           ///< may be empty; called on every rank
    std::string progress_label;   ///< empty: no progress line
    int64_t expected_scores = 0;  ///< for the progress line
    bool by_document = false;     ///< the procedure may know where documents begin
    int64_t batch_tokens = 8192;  ///< most tokens of a group; the bits do not depend on it
    RowSink rows;                 ///< may be empty
    int64_t seq_len = 0;          ///< a shorter window counts as one padded to this length (NTK bases of rope); 0: as it is
  };
  explicit Harness(Setup setup);

  int64_t predictions() const { return static_cast<int64_t>(setup_.tokens.size()) - 1; }
  int ranks() const { return setup_.communicator->size(); }
  int64_t batch_tokens() const { return setup_.batch_tokens; }
  /// Indices of the tokens that begin a document; only where the evaluation is by document.
  const std::vector<int64_t>& document_starts() const { return document_starts_; }

  /// Scores the windows of each group: forward pass, distributions, nll, totals, trace. Ranks share the groups out.
  Status score(model::Gpt& model, std::span<const WindowGroup> groups, const ScoreOptions& options = {});

  /// Hands out tokens, whatever has been scored; they count as read by the state from now on.
  std::span<const uint16_t> read(int64_t first, int64_t count);
  /// The state has taken in what was read; `state` is its digest now. Without a trace the digest is not asked for.
  Status updated(const std::function<Digest()>& state);
  /// The state is back at one that has read nothing.
  Status reset(const std::function<Digest()>& state);
  /// Throws every score so far away: the totals start again.
  Status restart();

  /// Starts the trace; `initial_state` goes into its header.
  void begin_trace(TraceHeader header, TraceSink sink, const Digest& initial_state);
  /// Totals; the trace ends.
  Result<Scores> finish();

  /// Tokens that went into forward passes or were read since the last call.
  std::vector<TokenRange> take_given() { return std::exchange(given_, {}); }
  /// Grows whenever the state may have changed.
  uint64_t state_version() const { return state_version_; }

 private:
  struct Witness;
  Status score_round(model::Gpt& model, std::span<const WindowGroup> round, const ScoreOptions& options);
  Status run_group(model::Gpt& model, const WindowGroup& group, const ScoreOptions& options, const Witness* witness, int64_t* bits);
  Status forward(model::Gpt& model, std::span<const uint16_t> inputs, const WindowGroup& group, size_t count, const ScoreOptions& options,
                 model::LogitsSink& sink);
  std::optional<Witness> choose_witness(const WindowGroup& group) const;
  Status record(const WindowGroup& group, std::span<const float> nll);
  Status flush_reads();

  Setup setup_;
  std::vector<int64_t> document_starts_;
  std::unique_ptr<TraceWriter> trace_;
  Digest state_{};
  std::vector<TokenRange> reads_;
  Scores totals_;
  Sha256 stream_;
  uint64_t groups_ = 0;
  uint64_t state_version_ = 0;
  std::vector<TokenRange> given_;
  std::unique_ptr<Progress> progress_;
};

}  // namespace fairway::eval
