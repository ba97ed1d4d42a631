#include "engine/submission/eval_section.h"

#include <fmt/format.h>

#include <algorithm>

namespace fairway::submission {
namespace {

using eval::ProcedureKind;

constexpr int64_t kMaxTrainedLength = 8192;  // a backward pass runs on whole sequences of at most so many tokens (NUMERICS.md, 21)
constexpr std::string_view kDishonestPrefix = "dishonest/";

const std::vector<ProcedureKind> kHonest = {ProcedureKind::kWindows,     ProcedureKind::kDocuments, ProcedureKind::kDocuments212,
                                            ProcedureKind::kScoreFirstTtt, ProcedureKind::kLoraTtt,   ProcedureKind::kPhasedTtt,
                                            ProcedureKind::kNeuralCache, ProcedureKind::kNgram};

void read_procedure(TableReader& t, eval::EvalConfig& e) {
  const std::string name = t.text("procedure", "windows");
  if (name.starts_with(kDishonestPrefix)) {
    e.procedure = ProcedureKind::kDishonest;
    e.dishonest.trick = name.substr(kDishonestPrefix.size());
    return;
  }
  std::string known;
  for (ProcedureKind kind : kHonest) {
    if (name == eval::procedure_name(kind)) {
      e.procedure = kind;
      return;
    }
    known += (known.empty() ? "" : ", ") + std::string(eval::procedure_name(kind));
  }
  t.fail("procedure", fmt::format("\"{}\" is none of {}", name, known));
}

bool among(ProcedureKind kind, std::initializer_list<ProcedureKind> kinds) {
  return kind == ProcedureKind::kDishonest || std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

}  // namespace

Status read_eval(TableReader& t, int64_t train_seq_len, eval::EvalConfig& e) {
  e.method = static_cast<eval::Method>(t.choice("method", 0, {"standard", "sliding_a", "sliding_b", "sliding_c", "sliding_d"}));
  e.seq_len = t.integer("seq_len", train_seq_len, 1, 131072);
  read_procedure(t, e);
  // Procedures with windows of their own have a stride whatever the method says.
  const bool strided = e.method != eval::Method::kStandard ||
                       among(e.procedure, {ProcedureKind::kDocuments, ProcedureKind::kDocuments212, ProcedureKind::kScoreFirstTtt, ProcedureKind::kNeuralCache});
  e.stride = t.integer("stride", strided ? std::min<int64_t>(64, e.seq_len) : e.seq_len, 1, 131072);
  if (!strided && e.stride != e.seq_len) t.fail("stride", "the standard method has none; remove it");
  if (e.stride > e.seq_len) t.fail("stride", fmt::format("{} exceeds eval.seq_len = {}", e.stride, e.seq_len));
  e.temperature = t.number("temperature", 1.0, 0.01, 100.0);

  auto section = [&](const char* key, std::initializer_list<ProcedureKind> users, auto&& read) -> Status {
    if (t.has(key) && !among(e.procedure, users)) t.fail(key, "this eval.procedure does not use the table; remove it");
    TableReader inner = t.table(key, false);
    read(inner);
    return inner.finish();
  };
  FAIRWAY_TRY(section("ttt", {ProcedureKind::kScoreFirstTtt, ProcedureKind::kPhasedTtt}, [&](TableReader& s) {
    e.sgd.lr = s.number("lr", 0.002, 0.0, 10.0);
    e.sgd.momentum = s.number("momentum", 0.9, 0.0, 1.0);
    e.sgd.grad_clip_norm = s.number("grad_clip_norm", 1.0, 0.0, 1e9);
    e.sgd.epochs = s.integer("epochs", 3, 0, 1000);
    e.sgd.chunk_tokens = s.integer("chunk_tokens", 32768, 1, int64_t{1} << 27);
    e.sgd.freeze_blocks = s.integer("freeze_blocks", 0, 0, 256);
    e.sgd.batch_rows = s.integer("batch_rows", 32, 1, 8192);
    e.sgd.grad_chunk_tokens = s.integer("grad_chunk_tokens", 8192, 1, kMaxTrainedLength);
  }));
  FAIRWAY_TRY(section("lora", {ProcedureKind::kLoraTtt, ProcedureKind::kPhasedTtt}, [&](TableReader& s) {
    e.lora.rank = s.integer("rank", 8, 1, 1024);
    e.lora.lr = s.number("lr", 0.01, 0.0, 10.0);
    e.lora.beta1 = s.number("beta1", 0.9, 0.0, 0.999999);
    e.lora.beta2 = s.number("beta2", 0.95, 0.0, 0.999999);
    e.lora.eps = s.number("eps", 1e-10, 1e-30, 1.0);
    e.lora.weight_decay = s.number("weight_decay", 0.0, 0.0, 10.0);
    e.lora.chunk_tokens = s.integer("chunk_tokens", 256, 1, 131072);
    e.lora.all_projections = s.boolean("all_projections", false);
    e.lora.seed = static_cast<uint64_t>(s.integer("seed", 0, 0, INT64_MAX));
  }));
  FAIRWAY_TRY(section("phases", {ProcedureKind::kPhasedTtt}, [&](TableReader& s) {
    e.phases.order = s.choice("order", 0, {"length", "stream"}) == 0 ? "length" : "stream";
    e.phases.documents = s.integer("documents", 2000, 1, 1'000'000'000);
    e.phases.count = s.integer("count", 1, 1, 1000);
  }));
  FAIRWAY_TRY(section("cache", {ProcedureKind::kNeuralCache}, [&](TableReader& s) { e.cache.tokens = s.integer("tokens", 8192, 0, 1 << 20); }));
  FAIRWAY_TRY(section("ngram", {ProcedureKind::kNgram}, [&](TableReader& s) {
    e.ngram.order = s.integer("order", 5, 1, 16);
    e.ngram.alpha = s.number("alpha", 0.2, 0.0, 0.999);
    e.ngram.discount = s.number("discount", 0.75, 0.0, 0.999);
  }));
  FAIRWAY_TRY(section("dishonest", {}, [&](TableReader& s) {
    e.dishonest.max_steps = s.integer("max_steps", 300, 1, 1'000'000'000);
    e.dishonest.shuffle_seed = static_cast<uint64_t>(s.integer("shuffle_seed", 1337, 0, INT64_MAX));
    e.dishonest.buckets = s.integer("buckets", 1 << 22, 2, 1 << 26);
    if ((e.dishonest.buckets & (e.dishonest.buckets - 1)) != 0) s.fail("buckets", "must be a power of two");
  }));
  const bool trains = among(e.procedure, {ProcedureKind::kScoreFirstTtt, ProcedureKind::kLoraTtt, ProcedureKind::kPhasedTtt});
  if (trains && e.seq_len > kMaxTrainedLength) t.fail("seq_len", fmt::format("a procedure that trains takes at most {}", kMaxTrainedLength));
  if (e.by_document() && e.whole_stream() && e.lora.chunk_tokens > e.seq_len) {
    t.fail("lora", fmt::format("chunk_tokens = {} exceeds eval.seq_len = {}", e.lora.chunk_tokens, e.seq_len));
  }
  return {};
}

}  // namespace fairway::submission
