#include "engine/eval/trace.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "kernels/numerics_edition.h"

namespace fairway::eval {
namespace {

constexpr char kMagic[8] = {'F', 'W', 'T', 'R', 'A', 'C', 'E', '1'};
constexpr size_t kHeaderBytes = 176;
constexpr size_t kFrameBytes = 8;  // kind, three zero bytes, size of the body
constexpr size_t kMaxBodyBytes = size_t{1} << 24;

/// Appends fields in their order.
class Packer {
 public:
  void number(int64_t x) { put(&x, sizeof x); }
  void word(uint32_t x) { put(&x, sizeof x); }
  void digest(const Digest& d) { put(d.data(), d.size()); }
  void put(const void* data, size_t size) {
    const auto* p = static_cast<const std::byte*>(data);
    bytes.insert(bytes.end(), p, p + size);
  }
  std::vector<std::byte> bytes;
};

/// Takes them in the same order; `ok` turns false when they run out.
class Unpacker {
 public:
  explicit Unpacker(std::span<const std::byte> bytes) : bytes_(bytes) {}
  int64_t number() { return take<int64_t>(); }
  uint32_t word() { return take<uint32_t>(); }
  Digest digest() { return take<Digest>(); }
  bool finished() const { return ok && bytes_.empty(); }
  bool ok = true;

 private:
  template <class T>
  T take() {
    T value{};
    if (bytes_.size() < sizeof value) {
      ok = false;
      return value;
    }
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_ = bytes_.subspan(sizeof value);
    return value;
  }
  std::span<const std::byte> bytes_;
};

static_assert(std::endian::native == std::endian::little, "traces are written as their numbers lie in memory");

std::vector<std::byte> body_of(const TraceEvent& e) {
  Packer p;
  switch (e.kind) {
    case EventKind::kScore:
      p.number(e.tokens.first), p.number(e.tokens.count), p.number(e.context_first), p.number(e.loss_units);
      p.digest(e.before), p.digest(e.nll_sha256);
      break;
    case EventKind::kUpdate:
      p.digest(e.before), p.digest(e.after), p.number(static_cast<int64_t>(e.sources.size()));
      for (const TokenRange& r : e.sources) p.number(r.first), p.number(r.count);
      break;
    case EventKind::kReset:
      p.digest(e.before), p.digest(e.after);
      break;
    case EventKind::kRestart:
      p.number(e.scored), p.number(e.loss_units);
      break;
    case EventKind::kWitness:
      p.number(e.tokens.first), p.number(e.tokens.count), p.number(e.context_first), p.number(e.cut);
      p.digest(e.before), p.digest(e.after);
      break;
    case EventKind::kEnd:
      p.number(e.scored), p.number(e.bytes), p.number(e.loss_units), p.digest(e.nll_sha256);
      break;
  }
  return std::move(p.bytes);
}

bool parse_body(std::span<const std::byte> body, TraceEvent& e) {
  Unpacker u(body);
  switch (e.kind) {
    case EventKind::kScore:
      e.tokens.first = u.number(), e.tokens.count = u.number(), e.context_first = u.number(), e.loss_units = u.number();
      e.before = u.digest(), e.nll_sha256 = u.digest();
      break;
    case EventKind::kUpdate: {
      e.before = u.digest(), e.after = u.digest();
      const int64_t count = u.number();
      if (count < 0 || static_cast<uint64_t>(count) > body.size() / (2 * sizeof(int64_t))) return false;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t first = u.number();
        e.sources.push_back({first, u.number()});
      }
      break;
    }
    case EventKind::kReset:
      e.before = u.digest(), e.after = u.digest();
      break;
    case EventKind::kRestart:
      e.scored = u.number(), e.loss_units = u.number();
      break;
    case EventKind::kWitness:
      e.tokens.first = u.number(), e.tokens.count = u.number(), e.context_first = u.number(), e.cut = u.number();
      e.before = u.digest(), e.after = u.digest();
      break;
    case EventKind::kEnd:
      e.scored = u.number(), e.bytes = u.number(), e.loss_units = u.number(), e.nll_sha256 = u.digest();
      break;
    default: return false;
  }
  return u.finished();
}

std::vector<std::byte> header_bytes(const TraceHeader& h) {
  Packer p;
  p.put(kMagic, sizeof kMagic);
  p.word(static_cast<uint32_t>(kNumericsEdition));
  p.word((h.independent ? 1u : 0u) | (h.document_order ? 2u : 0u));
  p.number(h.predictions), p.number(h.vocab), p.number(h.window), p.number(0);
  p.digest(h.config_sha256), p.digest(h.container_sha256), p.digest(h.tokens_sha256), p.digest(h.initial_state);
  FAIRWAY_CHECK(p.bytes.size() == kHeaderBytes);
  return std::move(p.bytes);
}

Digest next_link(const Digest& link, std::span<const std::byte> frame_and_body) {
  Sha256 sha;
  sha.update(link.data(), link.size());
  sha.update(frame_and_body);
  return sha.finish();
}

bool plausible(const TraceHeader& h, const TokenRange& r) {
  return r.first >= 0 && r.count >= 0 && r.count <= h.predictions + 1 && r.first <= h.predictions + 1 - r.count;
}

}  // namespace

TraceWriter::TraceWriter(const TraceHeader& header, TraceSink sink) : sink_(std::move(sink)) {
  const auto bytes = header_bytes(header);
  header_sha256_ = link_ = sha256(bytes);
  header_status_ = sink_(bytes);
}

Status TraceWriter::write(const TraceEvent& event) {
  FAIRWAY_TRY(header_status_);
  const auto body = body_of(event);
  Packer p;
  p.word(static_cast<uint32_t>(event.kind));
  p.word(static_cast<uint32_t>(body.size()));
  p.put(body.data(), body.size());
  link_ = next_link(link_, p.bytes);
  p.digest(link_);
  return sink_(p.bytes);
}

Result<Trace> parse_trace(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.size() < kHeaderBytes || std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0) {
    return Error{Errc::kData, where, "not a score trace (FWTRACE1)"};
  }
  Trace trace;
  Unpacker u(bytes.subspan(sizeof kMagic, kHeaderBytes - sizeof kMagic));
  const uint32_t edition = u.word();
  if (edition != static_cast<uint32_t>(kNumericsEdition)) {
    return Error{Errc::kData, where, fmt::format("a trace of numerics edition {}, not {}", edition, kNumericsEdition)};
  }
  const uint32_t flags = u.word();
  TraceHeader& h = trace.header;
  h.independent = (flags & 1u) != 0;
  h.document_order = (flags & 2u) != 0;
  h.predictions = u.number(), h.vocab = u.number(), h.window = u.number();
  const int64_t reserved = u.number();
  h.config_sha256 = u.digest(), h.container_sha256 = u.digest(), h.tokens_sha256 = u.digest(), h.initial_state = u.digest();
  if (flags > 3 || reserved != 0 || h.predictions < 1 || h.predictions > (int64_t{1} << 40)) {
    return Error{Errc::kData, where, "the header of the score trace is not one this reader knows"};
  }
  Digest link = sha256(bytes.first(kHeaderBytes));
  size_t at = kHeaderBytes;
  auto defect = [&](const std::string& what) {
    trace.defect = fmt::format("event {} @ {:#x}: {}", trace.events.size(), at, what);
    return trace;
  };
  while (trace.events.empty() || trace.events.back().kind != EventKind::kEnd) {
    const auto rest = bytes.subspan(at);
    if (rest.empty()) return defect("the trace is truncated: it ends before its END event");
    if (rest.size() < kFrameBytes) return defect("the trace is truncated inside an event");
    Unpacker frame(rest.first(kFrameBytes));
    const uint32_t kind = frame.word(), size = frame.word();
    TraceEvent event;
    event.kind = static_cast<EventKind>(kind);
    if (kind < 1 || kind > 6 || size > kMaxBodyBytes) return defect("no event of this format; the trace was edited or cut");
    const std::string name = event_name(event.kind);
    if (rest.size() < kFrameBytes + size + sizeof(Digest)) return defect(name + ": the trace is truncated inside this event");
    const Digest expected = next_link(link, rest.first(kFrameBytes + size));
    if (std::memcmp(expected.data(), rest.data() + kFrameBytes + size, sizeof(Digest)) != 0) {
      return defect(name + ": its link does not follow from the event before it; events were edited, removed or put in another order");
    }
    link = expected;
    bool sound = parse_body(rest.subspan(kFrameBytes, size), event);
    sound = sound && plausible(h, event.tokens);
    for (const TokenRange& r : event.sources) sound = sound && plausible(h, r);
    if (!sound) return defect(name + ": its fields are not those of such an event");
    trace.events.push_back(std::move(event));
    at += kFrameBytes + size + sizeof(Digest);
  }
  if (at != bytes.size()) return defect("something follows the END event");
  return trace;
}

const char* event_name(EventKind kind) {
  switch (kind) {
    case EventKind::kScore: return "SCORE";
    case EventKind::kUpdate: return "UPDATE";
    case EventKind::kReset: return "RESET";
    case EventKind::kRestart: return "RESTART";
    case EventKind::kWitness: return "WITNESS";
    case EventKind::kEnd: return "END";
  }
  return "unknown";
}

std::string describe(const Trace& trace, size_t index) {
  const TraceEvent& e = trace.events[index];
  std::string what;
  if (e.kind == EventKind::kScore || e.kind == EventKind::kWitness) what = fmt::format(", targets {}..{}", e.tokens.first, e.tokens.end() - 1);
  if (e.kind == EventKind::kUpdate && !e.sources.empty()) {
    what = fmt::format(", tokens {}..{}{} read", e.sources.front().first, e.sources.front().end() - 1, e.sources.size() > 1 ? " and others" : "");
  }
  return fmt::format("event {} ({}{})", index, event_name(e.kind), what);
}

}  // namespace fairway::eval
