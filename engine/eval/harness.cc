#include "engine/eval/harness.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/eval/row_collector.h"
#include "engine/model/checked.h"
#include "kernels/num/exact_sum.h"
#include "kernels/num/philox.h"

namespace fairway::eval {
namespace {

static_assert(std::endian::native == std::endian::little, "score streams are written as they lie in memory");

/// Losses below 2^10 nats in units of 2^-26 that int64 holds for certain.
constexpr uint64_t kMaxScored = uint64_t{1} << 27;

/// Words in which a digest travels between ranks.
constexpr size_t kDigestWords = sizeof(Digest) / sizeof(int64_t);

/// Another token than `token`, from a random word.
uint16_t other_token(uint16_t token, uint32_t random, int64_t vocab) {
  return static_cast<uint16_t>((token + 1u + random % static_cast<uint32_t>(vocab - 1)) % static_cast<uint32_t>(vocab));
}

}  // namespace

/// Rows of one window of a group, to be computed again with other tokens from position `cut` on.
struct Harness::Witness {
  size_t window = 0;
  int64_t cut = 0;  ///< position in the window
  uint64_t draw = 0;
};

Harness::Harness(Setup setup) : setup_(std::move(setup)) {
  FAIRWAY_CHECK(setup_.tokens.size() >= 2 && setup_.communicator != nullptr);
  for (size_t i = 0; setup_.by_document && i < setup_.tokens.size(); ++i) {
    if (setup_.tokens[i] == kDocumentStart) document_starts_.push_back(static_cast<int64_t>(i));
  }
  if (!setup_.progress_label.empty() && setup_.communicator->is_root()) {
    progress_ = std::make_unique<Progress>(setup_.progress_label, static_cast<uint64_t>(setup_.expected_scores), "tok");
  }
}

void Harness::begin_trace(TraceHeader header, TraceSink sink, const Digest& initial_state) {
  header.predictions = predictions();
  header.tokens_sha256 = sha256(std::as_bytes(setup_.tokens));
  header.initial_state = state_ = initial_state;
  trace_ = std::make_unique<TraceWriter>(header, std::move(sink));
}

std::optional<Harness::Witness> Harness::choose_witness(const WindowGroup& group) const {
  if (!trace_) return {};
  uint64_t seed = 0;
  std::memcpy(&seed, trace_->header_sha256().data(), sizeof seed);
  const num::Philox draw = num::philox(seed, groups_, 0, num::kPurposeWitness);
  const Window& w = group.windows.front();
  if ((groups_ >= 8 && draw.word[0] % 16 != 0) || computed_rows(w) < 2) return {};
  return Witness{draw.word[1] % group.windows.size(), w.first_scored + 1 + draw.word[2] % (computed_rows(w) - 1),
                 groups_};
}

Status Harness::forward(model::Gpt& model, std::span<const uint16_t> inputs, const WindowGroup& group, size_t count,
                        const ScoreOptions& options, model::LogitsSink& sink) {
  model::Batch batch;
  batch.sequences = static_cast<int64_t>(count);
  batch.length = group.windows.front().length;
  batch.inputs = inputs;
  batch.first_scored = group.windows.front().first_scored;
  batch.first_position = options.first_position;
  batch.attention = options.attention;
  batch.window_length = setup_.seq_len;
  batch.sink = &sink;
  return model::checked(model.tape().executor(), [&] { return model.tape().forward(batch); });
}

Status Harness::run_group(model::Gpt& model, const WindowGroup& group, const ScoreOptions& options,
                          const Witness* witness, int64_t* bits) {
  const Window& shape = group.windows.front();
  const size_t length = static_cast<size_t>(shape.length);
  const int64_t vocab = model.config().vocab_size;
  std::vector<uint16_t> inputs(length * group.windows.size());
  for (size_t i = 0; i < group.windows.size(); ++i) {
    std::copy_n(setup_.tokens.begin() + group.windows[i].start, length,
                inputs.begin() + static_cast<std::ptrdiff_t>(i * length));
  }
  int64_t* digests = bits + static_cast<int64_t>(group.windows.size()) * shape.scored_count;
  if (witness == nullptr) {
    RowCollector collector(setup_.tokens, group, model.config(), options, setup_.rows, nullptr, bits);
    return forward(model, inputs, group, group.windows.size(), options, collector);
  }
  const int64_t compared = witness->cut - shape.first_scored;
  // Before the run that counts, so that what hooks remember afterwards is that run.
  uint64_t seed = 0;
  std::memcpy(&seed, trace_->header_sha256().data(), sizeof seed);
  const auto begin = inputs.begin() + static_cast<std::ptrdiff_t>(witness->window * length);
  std::vector<uint16_t> changed(begin, begin + static_cast<std::ptrdiff_t>(length));
  for (size_t i = static_cast<size_t>(witness->cut); i < length; ++i) {
    changed[i] = other_token(
        changed[i], num::philox(seed, witness->draw, static_cast<uint32_t>(1 + i), num::kPurposeWitness).word[0],
        vocab);
  }
  RowHasher again(0, compared, vocab);
  FAIRWAY_TRY(forward(model, changed, group, 1, options, again));
  RowHasher first(static_cast<int64_t>(witness->window) * computed_rows(shape), compared, vocab);
  RowCollector collector(setup_.tokens, group, model.config(), options, setup_.rows, &first, bits);
  FAIRWAY_TRY(forward(model, inputs, group, group.windows.size(), options, collector));
  const Digest a = first.digest(), b = again.digest();
  std::memcpy(digests, a.data(), sizeof a);
  std::memcpy(digests + kDigestWords, b.data(), sizeof b);
  return {};
}

Status Harness::score(model::Gpt& model, std::span<const WindowGroup> groups, const ScoreOptions& options) {
  FAIRWAY_TRY(flush_reads());
  const size_t ranks = static_cast<size_t>(setup_.communicator->size());
  for (size_t at = 0; at < groups.size(); at += ranks) {
    FAIRWAY_TRY(score_round(model, groups.subspan(at, std::min(ranks, groups.size() - at)), options));
  }
  return {};
}

Status Harness::score_round(model::Gpt& model, std::span<const WindowGroup> round, const ScoreOptions& options) {
  comm::Communicator& c = *setup_.communicator;
  // One group per rank; the integer sum of disjoint contributions is a gather.
  std::vector<std::optional<Witness>> witnesses;
  std::vector<size_t> offsets = {0};
  uint64_t scored = 0;
  for (const WindowGroup& g : round) {
    witnesses.push_back(choose_witness(g));
    ++groups_;
    const size_t count = g.windows.size() * static_cast<size_t>(g.windows.front().scored_count);
    scored += count;
    offsets.push_back(offsets.back() + count + 2 * kDigestWords);
    for (const Window& w : g.windows) given_.push_back({w.start, w.length});
  }
  if (totals_.tokens + scored > kMaxScored) {
    return Error{Errc::kData, "evaluation",
                 "more than 2^27 predictions to score; use fewer validation tokens or a larger stride"};
  }
  std::vector<int64_t> bits(offsets.back(), 0);
  Status status;
  const size_t rank = static_cast<size_t>(c.rank());
  if (rank < round.size()) {
    status = run_group(model, round[rank], options, witnesses[rank] ? &*witnesses[rank] : nullptr,
                       bits.data() + offsets[rank]);
  }
  if (c.max(status ? 0 : 1) != 0) {
    if (!status) return status.error();
    return Error{Errc::kData, "evaluation", "another rank stopped with an error"};
  }
  c.sum(bits);
  std::vector<float> nll;
  Status written;
  for (size_t g = 0; g < round.size(); ++g) {
    const Window& shape = round[g].windows.front();
    const size_t count = round[g].windows.size() * static_cast<size_t>(shape.scored_count);
    if (written && witnesses[g]) {
      const Window& w = round[g].windows[witnesses[g]->window];
      TraceEvent e;
      e.kind = EventKind::kWitness;
      e.tokens = {w.start + w.first_scored + 1, witnesses[g]->cut - w.first_scored};
      e.context_first = w.start;
      e.cut = w.start + witnesses[g]->cut;
      std::memcpy(e.before.data(), bits.data() + offsets[g] + count, sizeof e.before);
      std::memcpy(e.after.data(), bits.data() + offsets[g] + count + kDigestWords, sizeof e.after);
      written = trace_->write(e);
    }
    nll.resize(count);
    for (size_t i = 0; i < count; ++i) nll[i] = num::float_of(static_cast<uint32_t>(bits[offsets[g] + i]));
    if (written) written = record(round[g], nll);
  }
  FAIRWAY_TRY(comm::agree(c, std::move(written)));
  if (progress_) progress_->update(totals_.tokens);
  return {};
}

Status Harness::record(const WindowGroup& group, std::span<const float> nll) {
  const Window& shape = group.windows.front();
  stream_.update(nll.data(), nll.size_bytes());
  if (setup_.communicator->is_root() && setup_.sink) FAIRWAY_TRY(setup_.sink(nll));
  // Consecutive targets of consecutive windows are one event.
  for (size_t i = 0; i < group.windows.size();) {
    const int64_t first = group.windows[i].start + shape.first_scored;
    int64_t count = 0, context = group.windows[i].start;
    const size_t from = i;
    while (i < group.windows.size() && group.windows[i].start + shape.first_scored == first + count) {
      count += shape.scored_count;
      context = std::min(context, group.windows[i].start);
      ++i;
    }
    const auto part = nll.subspan(from * static_cast<size_t>(shape.scored_count), static_cast<size_t>(count));
    int64_t units = 0;
    for (float x : part) units += num::loss_units(x);
    totals_.loss_units += units;
    totals_.tokens += part.size();
    if (setup_.accounting != nullptr) {
      totals_.bytes += setup_.accounting->total_bytes(setup_.tokens, static_cast<size_t>(first), part.size());
    }
    if (setup_.targets) FAIRWAY_TRY(setup_.targets(first + 1, part));
    if (!trace_) continue;
    TraceEvent e;
    e.kind = EventKind::kScore;
    e.tokens = {first + 1, count};
    e.context_first = context;
    e.before = state_;
    e.nll_sha256 = sha256(std::as_bytes(part));
    e.loss_units = units;
    FAIRWAY_TRY(trace_->write(e));
  }
  return {};
}

std::span<const uint16_t> Harness::read(int64_t first, int64_t count) {
  FAIRWAY_CHECK(first >= 0 && count >= 0 && first + count <= predictions() + 1);
  if (!reads_.empty() && reads_.back().end() == first) {
    reads_.back().count += count;
  } else {
    reads_.push_back({first, count});
  }
  given_.push_back({first, count});
  return setup_.tokens.subspan(static_cast<size_t>(first), static_cast<size_t>(count));
}

Status Harness::updated(const std::function<Digest()>& state) {
  ++state_version_;
  if (trace_) {
    TraceEvent e;
    e.kind = EventKind::kUpdate;
    e.before = state_;
    e.after = state_ = state();
    e.sources = reads_;
    FAIRWAY_TRY(trace_->write(e));
  }
  reads_.clear();
  return {};
}

Status Harness::flush_reads() {
  if (reads_.empty()) return {};
  return updated([&] { return state_; });
}

Status Harness::reset(const std::function<Digest()>& state) {
  ++state_version_;
  FAIRWAY_TRY(flush_reads());
  if (!trace_) return {};
  TraceEvent e;
  e.kind = EventKind::kReset;
  e.before = state_;
  e.after = state_ = state();
  return trace_->write(e);
}

Status Harness::restart() {
  FAIRWAY_TRY(flush_reads());
  if (trace_) {
    TraceEvent e;
    e.kind = EventKind::kRestart;
    e.scored = static_cast<int64_t>(totals_.tokens);
    e.loss_units = totals_.loss_units;
    FAIRWAY_TRY(trace_->write(e));
  }
  totals_ = Scores();
  stream_ = Sha256();
  return setup_.targets ? setup_.targets(-1, {}) : Status();
}

Result<Scores> Harness::finish() {
  FAIRWAY_TRY(flush_reads());
  totals_.stream_sha256 = stream_.finish();
  if (totals_.tokens == 0)
    return Error{Errc::kData, "evaluation", "nothing was scored; the stream is too short for this evaluation"};
  const double nats = static_cast<double>(totals_.loss_units) * 0x1p-26;
  totals_.val_loss = nats / static_cast<double>(totals_.tokens);
  if (totals_.bytes > 0) totals_.val_bpb = data::bits_per_byte(nats, totals_.bytes);
  if (trace_) {
    TraceEvent e;
    e.scored = static_cast<int64_t>(totals_.tokens);
    e.bytes = static_cast<int64_t>(totals_.bytes);
    e.loss_units = totals_.loss_units;
    e.nll_sha256 = totals_.stream_sha256;
    FAIRWAY_TRY(trace_->write(e));
  }
  return totals_;
}

}  // namespace fairway::eval
