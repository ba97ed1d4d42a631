/// How a submission is scored: the keys of [eval] in fairway.toml. submissions/README.md lists them, kernels/NUMERICS.md defines
/// every procedure.
#pragma once

#include <cstdint>
#include <string>

namespace fairway::eval {

enum class Method {
  kStandard,  ///< rows [i L, (i+1) L): every prediction once
  kSlidingA,  ///< starts 0, S, ... <= P - L; the last S of every window, also of the first (PR #65)
  kSlidingB,  ///< likewise, the first scored whole, and a tail window ending at P if S does not divide P - L: every prediction once
  kSlidingC,  ///< starts 0, S, ... < P, windows cut at P, the first scored whole, the last S of the others (PR #549)
  kSlidingD,  ///< starts 0, S, ... <= P - L; the first scores its first S, the others their last S (PR #635)
};

enum class ProcedureKind {
  kWindows,         ///< the windows of `method`, fixed weights
  kDocuments,       ///< windows that never cross the start of a document
  kDocuments212,    ///< likewise as PR #212 has it: windows of short documents run into the following ones
  kScoreFirstTtt,   ///< score a chunk, then train on it (PR #549)
  kLoraTtt,         ///< adapters of each document's own, scored and trained in turn
  kPhasedTtt,       ///< likewise, and the weights themselves trained on the documents scored so far
  kNeuralCache,     ///< attention also sees keys and values of tokens before the window
  kNgram,           ///< mixed with exact, normalised counts of the tokens scored so far
  kDishonest,       ///< one of the procedures that the verifier must find out (engine/eval/dishonest)
};

const char* method_name(Method method);
const char* procedure_name(ProcedureKind kind);

/// Stochastic gradient descent on the model's own weights.
struct SgdConfig {
  double lr = 0.002;
  double momentum = 0.9;
  double grad_clip_norm = 1.0;  ///< 0: off
  int64_t epochs = 3;
  int64_t chunk_tokens = 32768;      ///< C: predictions scored before the update that reads them
  int64_t freeze_blocks = 0;         ///< parameters of blocks 0 .. F-1 stay
  bool banks = false;                ///< but their matrices, which are slices of banks, train
  int64_t batch_rows = 32;           ///< rows of one step
  int64_t grad_chunk_tokens = 8192;  ///< canonical chunk of a gradient (NUMERICS.md, N7): at most so many tokens, whole rows
};

/// Adapters of one document and the Adam that trains them.
struct LoraConfig {
  int64_t rank = 8;
  double lr = 0.01;
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-10;
  double weight_decay = 0.0;    ///< decoupled
  int64_t chunk_tokens = 256;   ///< c: predictions scored before the step that reads them
  bool all_projections = false; ///< also k, the attention output and the MLP
  uint64_t seed = 0;            ///< of the initial A
};

/// Global updates between documents.
struct PhasesConfig {
  std::string order = "length";  ///< queue of documents: "length" (shortest first) or "stream"
  int64_t documents = 2000;      ///< scored before the last phase
  int64_t count = 1;             ///< phases, evenly spaced
};

struct CacheConfig {
  int64_t tokens = 8192;  ///< C: keys and values kept from before the window
};

struct NgramConfig {
  int64_t order = 5;        ///< longest context + 1
  double alpha = 0.2;       ///< weight of the counts where the context was seen
  double discount = 0.75;   ///< absolute discounting: what each seen continuation gives to the shorter context
};

/// Of the dishonest procedures.
struct DishonestConfig {
  std::string trick;           ///< which; tests/dishonest holds one of each
  int64_t max_steps = 300;     ///< ttt_before_scoring: steps of an epoch
  uint64_t shuffle_seed = 1337;
  int64_t buckets = 1 << 22;   ///< hashed_ngram
};

struct EvalConfig {
  Method method = Method::kStandard;
  int64_t seq_len = 1024;  ///< L
  int64_t stride = 1024;   ///< S <= L; L for kStandard
  ProcedureKind procedure = ProcedureKind::kWindows;
  double temperature = 1.0;  ///< logits are divided by it, after the cap
  SgdConfig sgd = {};
  LoraConfig lora = {};
  PhasesConfig phases = {};
  CacheConfig cache = {};
  NgramConfig ngram = {};
  DishonestConfig dishonest = {};

  /// Documents are scored apart, as their boundaries are known beforehand.
  bool by_document() const { return procedure == ProcedureKind::kDocuments || procedure == ProcedureKind::kDocuments212 || whole_stream(); }
  /// The state that scores one document must know nothing of another.
  bool independent_documents() const { return by_document() && procedure != ProcedureKind::kPhasedTtt; }
  /// Documents are scored in an order of their own.
  bool queue_order() const;
  /// Scores every token of the stream, not only whole rows.
  bool whole_stream() const;
};

/// The token that begins a document.
constexpr uint16_t kDocumentStart = 1;

}  // namespace fairway::eval
