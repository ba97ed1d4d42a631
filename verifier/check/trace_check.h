/// Auditing a score trace: was every score final before anything learned from its token? (verifier/RULES.md, trace.*)
///
/// Needs the trace and the tokens, not the model. A trace that lies consistently is found by scoring again and by the probes.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "engine/eval/trace.h"
#include "verifier/report/report.h"

namespace fairway::verifier {

/// What the trace must be about.
struct TraceSubject {
  std::span<const uint16_t> tokens;
  Digest config_sha256{}, container_sha256{};
  Digest scores_sha256{};  ///< what the record says every nll hashes to
};

/// Adds trace.chain and, where the chain holds, trace.order, trace.once, trace.sources, trace.reset and trace.witness. Error kData if
/// the bytes are no trace at all.
Status check_trace(std::span<const std::byte> bytes, const std::string& where, const TraceSubject& subject, Report& report);

/// trace.replay: the trace of scoring again must be the recorded one, byte by byte; the first event that differs is named.
void compare_traces(std::span<const std::byte> recorded, std::span<const std::byte> again, Report& report);

}  // namespace fairway::verifier
