/// The score trace: an append-only record of what was scored, by which state, and what that state had read. engine/eval/TRACE.md gives
/// every byte.
///
/// Goal: a reader who has the tokens can decide whether each score was final before anything learned from its token, without running
/// the model. Non-goal: trust. Whoever writes a trace can write a consistent lie; running again, and the probes, answer that.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/base/sha256.h"

namespace fairway::eval {

/// Tokens first .. first + count - 1 of the stream.
struct TokenRange {
  int64_t first = 0, count = 0;
  int64_t end() const { return first + count; }
  bool operator==(const TokenRange&) const = default;
};

/// What a trace is about: its first 160 bytes.
struct TraceHeader {
  int64_t predictions = 0;       ///< P; the stream has P + 1 tokens
  int64_t vocab = 0;
  bool independent = false;      ///< states of different documents must not know of each other
  bool document_order = false;   ///< documents may be scored in any order; their boundaries are known beforehand
  int64_t window = 0;            ///< L: longest window
  Digest config_sha256{};        ///< of fairway.toml
  Digest container_sha256{};     ///< of the artifact's container; zero for weights from elsewhere
  Digest tokens_sha256{};        ///< of the P + 1 tokens, 16 bits each
  Digest initial_state{};
};

enum class EventKind : uint8_t {
  kScore = 1,    ///< tokens were scored by the present state
  kUpdate = 2,   ///< the state has read tokens; it may have changed
  kReset = 3,    ///< the state is back at one that has read nothing
  kRestart = 4,  ///< all scores so far were thrown away
  kWitness = 5,  ///< a window was run again with other tokens after a cut
  kEnd = 6,
};

/// One event; which members mean something depends on the kind.
struct TraceEvent {
  EventKind kind = EventKind::kEnd;
  Digest before{}, after{};         ///< kScore: `before` is the state; kUpdate, kReset: both; kWitness: distributions first and again
  TokenRange tokens;                ///< kScore: the targets; kWitness: targets whose distributions were compared
  int64_t context_first = 0;        ///< kScore: the earliest token a window began at; kWitness: the window's
  int64_t cut = 0;                  ///< kWitness: tokens from here on were replaced
  Digest nll_sha256{};              ///< kScore: of the nll values; kEnd: of all of them
  int64_t loss_units = 0;           ///< kScore, kEnd, kRestart (those thrown away)
  int64_t scored = 0, bytes = 0;    ///< kEnd; kRestart: scores thrown away
  std::vector<TokenRange> sources;  ///< kUpdate
};

/// Receives the bytes of a trace in order.
using TraceSink = std::function<Status(std::span<const std::byte>)>;

/// Writes header and events, each with its link in the chain of digests.
class TraceWriter {
 public:
  TraceWriter(const TraceHeader& header, TraceSink sink);
  Status write(const TraceEvent& event);
  /// SHA-256 of the header: what random choices of the run are drawn from.
  const Digest& header_sha256() const { return header_sha256_; }

 private:
  TraceSink sink_;
  Digest header_sha256_{}, link_{};
  Status header_status_;
};

/// A trace read back, and the first thing wrong with its form.
struct Trace {
  TraceHeader header;
  std::vector<TraceEvent> events;  ///< the sound ones, up to the first that is not
  std::string defect;              ///< "event 12 (UPDATE): ..."; empty if every link holds and an END stands last
};

/// Errors: kData if it is no trace at all (too short, other magic, other numerics edition).
Result<Trace> parse_trace(std::span<const std::byte> bytes, const std::string& where);

/// "SCORE"
const char* event_name(EventKind kind);
/// "event 12 (UPDATE, tokens 100..163 read)": how messages name an event.
std::string describe(const Trace& trace, size_t event);

}  // namespace fairway::eval
