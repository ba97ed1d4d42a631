#include "engine/submission/submission.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "engine/base/file.h"
#include "engine/model/gpt.h"
#include "engine/submission/eval_section.h"
#include "engine/submission/toml_reader.h"

namespace fairway::submission {
namespace {

constexpr uint64_t kMaxConfigBytes = 1 << 20;
constexpr int64_t kEdition = 1;
constexpr int64_t kMaxChunkTokens = 8192;
constexpr int64_t kMaxLossTerms = int64_t{1} << 27;  // so many losses below 2^10 nats in units of 2^-26 stay within int64

using kernels::Products;

Products products(TableReader& t, std::string_view key, Products fallback) {
  return static_cast<Products>(t.choice(key, static_cast<int>(fallback), {"p3", "p4", "b21"}));
}

/// Keys that mean something only with another one, which is missing.
void needs(TableReader& t, bool on, const char* other, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (!on && t.has(key)) t.fail(key, fmt::format("has no effect without model.{}; set that key or remove this one", other));
  }
}

/// Input features, values, attention and losses beyond the baseline.
void read_features(TableReader& t, model::ModelConfig& m) {
  m.unet_skips = t.boolean("unet_skips", true);
  m.hypersphere = t.boolean("hypersphere", false);
  m.ln_scale = t.boolean("ln_scale", false);
  m.rope_dims = t.integer("rope_dims", 0, 0, 1024);
  m.rope_reference_length = t.integer("rope_ntk_length", 0, 0, 131072);
  m.xsa_last_n = t.integer("xsa_last_n", 0, 0, 256);
  m.mlp_slope = static_cast<float>(t.number("mlp_slope", 0.0, 0.0, 1.0));
  m.mlp_blocks = t.integer("mlp_blocks", 1, 1, 16);
  m.smear = static_cast<model::SmearForm>(t.choice("smear_gate", 0, {"none", "keep", "first_channels", "blend"}));
  m.bigram_buckets = t.integer("bigram_buckets", 0, 0, 65536);
  m.bigram_dim = t.integer("bigram_dim", 128, 1, 16384);
  m.bigram_hash = static_cast<ops::BigramHash>(
      t.choice("bigram_hash", static_cast<int>(m.bigram_hash), {"affine_92821", "affine_31", "xor_previous", "xor_current"}));
  m.trigrams = t.boolean("trigram_hash", false);
  needs(t, m.bigram_buckets > 0, "bigram_buckets", {"bigram_dim", "bigram_hash"});
  m.value_dim = t.integer("ve_dim", 0, 0, 16384);
  if (t.has("ve_layers")) m.value_layers = t.integers("ve_layers", 0, 255);
  if (t.has("delta_layers")) m.delta_layers = t.integers("delta_layers", 0, 255);
  m.delta_heads = t.integer("delta_heads", 6, 1, 1024);
  m.delta_key_dim = t.integer("delta_key_dim", 64, 1, 1024);
  m.delta_value_dim = t.integer("delta_value_dim", 128, 1, 1024);
  needs(t, !m.delta_layers.empty(), "delta_layers", {"delta_heads", "delta_key_dim", "delta_value_dim"});
  m.value_residual = t.boolean("value_residual", false);
  m.gated_attention = t.boolean("gated_attention", false);
  m.loops = t.integer("loops", 1, 1, 256);
  m.loop_lora_rank = t.integer("loop_lora_rank", 0, 0, 16384);
  m.mtp_heads = t.integer("mtp_heads", 0, 0, 16);
  m.mtp_weight = static_cast<float>(t.number("mtp_weight", 0.2, 1e-9, 100.0));
  m.mtp_square = t.boolean("mtp_square", false);
  needs(t, m.mtp_heads > 0, "mtp_heads", {"mtp_weight", "mtp_square"});
  m.tied_head = t.boolean("tied_head", true);
  m.matrix_init = static_cast<model::MatrixInit>(
      t.choice("matrix_init", 0, {"uniform", "orthogonal", "orthogonal_scaled", "orthogonal_banks"}));
}

void read_model(TableReader& t, model::ModelConfig& m) {
  m.vocab_size = t.integer("vocab_size", {}, 2, 65536);
  m.layers = t.integer("layers", {}, 1, 256);
  m.width = t.integer("width", {}, 2, 16384);
  m.heads = t.integer("heads", {}, 1, 1024);
  m.kv_heads = t.integer("kv_heads", {}, 1, 1024);
  m.mlp_hidden = t.integer("mlp_hidden", {}, 1, 65536);
  m.rope_base = t.number("rope_base", 10000.0, 1.0, 1e9);
  m.rope_bf16_frequencies = t.choice("rope_inv_freq_dtype", 0, {"f32", "bf16"}) == 1;
  m.logit_softcap = static_cast<float>(t.number("logit_softcap", 30.0, 0.0, 1e4));
  m.qk_gain_init = static_cast<float>(t.number("qk_gain_init", 1.5, 1e-6, 1000.0));
  m.embed_bf16 = t.choice("tied_embed_dtype", 0, {"bf16", "f32"}) == 0;
  m.embed_init_std = static_cast<float>(t.number("tied_embed_init_std", 0.005, 1e-9, 100.0));
  read_features(t, m);
  // Relations between keys; what is wrong with a single one has been reported above.
  if (auto status = model::check_config(m); !status) {
    t.fail(std::string_view(status.error().where).substr(std::string_view("model.").size()), status.error().what);
  }
}

void read_numerics(TableReader& t, Submission& s) {
  s.model.linear = products(t, "linear", Products::kP3);
  s.model.dgrad = products(t, "input_gradients", Products::kP3);
  s.model.wgrad = products(t, "weight_gradients", Products::kP3);
  s.model.head = products(t, "logits", Products::kP3);
  s.model.attention = products(t, "attention", Products::kP3);
  s.optimizer.newton_schulz = products(t, "newton_schulz", Products::kS21);
}

void read_optimizer(TableReader& t, Submission& s) {
  optim::OptimizerConfig& o = s.optimizer;
  o.matrix_lr = t.number("matrix_lr", {}, 0.0, 10.0);
  o.scalar_lr = t.number("scalar_lr", {}, 0.0, 10.0);
  o.tied_embed_lr = t.number("tied_embed_lr", {}, 0.0, 10.0);
  o.momentum.final = t.number("muon_momentum", 0.95, 0.0, 1.0);
  o.momentum.warmup_start = t.number("muon_momentum_warmup_start", 0.85, 0.0, 1.0);
  o.momentum.warmup_steps = t.integer("muon_momentum_warmup_steps", 500, 0, 1'000'000'000);
  o.newton_schulz_steps = t.integer("muon_backend_steps", 5, 0, 100);
  o.whitening = static_cast<optim::Whitening>(t.choice("muon_whitening", 0, {"newton_schulz", "mud"}));
  o.mud_passes = t.integer("mud_passes", 1, 1, 16);
  if (t.has("mud_passes") && o.whitening != optim::Whitening::kMud) {
    t.fail("mud_passes", "has no effect without optimizer.muon_whitening = \"mud\"; set that key or remove this one");
  }
  o.beta1 = t.number("beta1", 0.9, 0.0, 0.999999);
  o.beta2 = t.number("beta2", 0.95, 0.0, 0.999999);
  o.adam_eps = t.number("adam_eps", 1e-8, 1e-30, 1.0);
  o.grad_clip_norm = t.number("grad_clip_norm", 0.0, 0.0, 1e9);
  o.clip_scope = t.choice("clip_scope", 0, {"global", "worker"}) == 0 ? optim::ClipScope::kGlobal : optim::ClipScope::kWorker;
  if (o.clip_scope == optim::ClipScope::kWorker && o.grad_clip_norm < 1e-30) {
    t.fail("clip_scope", "\"worker\" clips by optimizer.grad_clip_norm; set it above 1e-30");
  }
  if (o.clip_scope == optim::ClipScope::kWorker && s.train.batch_tokens % (s.train.virtual_workers * s.train.grad_chunk_tokens) != 0) {
    t.fail("clip_scope", fmt::format("\"worker\" needs whole chunks per worker: train.batch_tokens = {} is not a multiple of "
                                     "train.virtual_workers * train.grad_chunk_tokens = {}",
                                     s.train.batch_tokens, s.train.virtual_workers * s.train.grad_chunk_tokens));
  }
  o.muon = t.choice("muon", 0, {"standard", "parallel"}) == 0 ? optim::MuonKind::kStandard : optim::MuonKind::kParallel;
  o.muon_wd = t.number("muon_wd", 0.0, 0.0, 10.0);
  o.muon_wd_after = t.choice("muon_wd_order", 0, {"before", "after"}) == 1;
  if (o.muon_wd_after && o.muon == optim::MuonKind::kParallel) {
    t.fail("muon_wd_order", "optimizer.muon = \"parallel\" decays before the update; remove one of them");
  }
  o.adam_wd = t.number("adam_wd", 0.0, 0.0, 10.0);
  o.head_lr = t.number("head_lr", 0.008, 0.0, 10.0);
  if (t.has("head_lr") && s.model.tied_head) t.fail("head_lr", "needs an output matrix of its own: model.tied_head = false");
  o.lora_lr = t.number("lora_lr", 0.01, 0.0, 10.0);
  if (t.has("lora_lr") && s.model.loop_lora_rank == 0)
    t.fail("lora_lr", "has no effect without model.loop_lora_rank; set that key or remove this one");
  s.model.projection_group =
      t.choice("projections", 0, {"muon", "adam"}) == 0 ? model::ProjectionGroup::kMuon : model::ProjectionGroup::kAdam;
}

void read_averages(TableReader& t, optim::AverageConfig& a) {
  a.ema_decay = t.number("ema_decay", 0.0, 0.0, 0.9999999);
  a.snapshot_every = t.integer("snapshot_every", 0, 0, 1'000'000'000);
  a.snapshot_below = t.number("snapshot_below", 0.0, 0.0, 1.0);
  a.snapshot_from = t.integer("snapshot_from", 0, 0, 1'000'000'000);
  a.snapshots_of_ema = t.choice("snapshots_of", 0, {"weights", "ema"}) == 1;
  a.final_weights = static_cast<optim::FinalWeights>(t.choice("final_weights", 0, {"last", "ema", "snapshots"}));
  const bool final_ema = a.final_weights == optim::FinalWeights::kEma;
  if ((final_ema || a.snapshots_of_ema) && a.ema_decay == 0.0) {
    t.fail(final_ema ? "final_weights" : "snapshots_of", "\"ema\" needs a moving average; set averages.ema_decay");
  }
  if (a.final_weights == optim::FinalWeights::kSnapshots && a.snapshot_every == 0) {
    t.fail("final_weights", "\"snapshots\" needs some; set averages.snapshot_every");
  }
}

void read_train(TableReader& t, Submission& s) {
  TrainConfig& c = s.train;
  c.seq_len = t.integer("seq_len", {}, 1, 131072);
  c.batch_tokens = t.integer("batch_tokens", {}, 1, kMaxLossTerms);
  c.grad_chunk_tokens = t.integer("grad_chunk_tokens", {}, 1, kMaxChunkTokens);
  c.virtual_workers = t.integer("virtual_workers", 8, 1, 1024);
  c.log_every = t.integer("log_every", 200, 1, 1'000'000'000);
  c.val_every = t.integer("val_every", 0, 0, 1'000'000'000);
  for (int64_t seed : t.integers("seeds", 0, INT64_MAX)) c.seeds.push_back(static_cast<uint64_t>(seed));
  if (c.grad_chunk_tokens % c.seq_len != 0) {
    t.fail("grad_chunk_tokens", fmt::format("{} is not a multiple of train.seq_len = {}", c.grad_chunk_tokens, c.seq_len));
  }
  if (c.batch_tokens % c.grad_chunk_tokens != 0) {
    t.fail("batch_tokens", fmt::format("{} is not a multiple of train.grad_chunk_tokens = {}", c.batch_tokens, c.grad_chunk_tokens));
  }
  if (c.batch_tokens % (c.virtual_workers * c.seq_len) != 0) {
    t.fail("batch_tokens", fmt::format("{} is not a multiple of train.virtual_workers * train.seq_len = {}", c.batch_tokens,
                                       c.virtual_workers * c.seq_len));
  }
}

void read_schedule(TableReader& t, optim::ScheduleConfig& c) {
  c.kind = t.choice("kind", {}, {"steps", "wallclock"}) == 0 ? optim::ScheduleKind::kSteps : optim::ScheduleKind::kWallclock;
  c.iterations = t.integer("iterations", {}, 1, 1'000'000'000);
  c.warmdown_iters = t.integer("warmdown_iters", {}, 0, 1'000'000'000);
  c.max_wallclock_seconds = t.number("max_wallclock_seconds", 600.0, 0.001, 1e9);
  if (c.kind == optim::ScheduleKind::kSteps && t.has("max_wallclock_seconds")) {
    t.fail("max_wallclock_seconds", "only schedule.kind = \"wallclock\" has a limit; remove it");
  }
}

void read_data(TableReader& t, const DataOverride& paths, Submission& s) {
  namespace fs = std::filesystem;
  auto resolve = [&](const std::string& in_file, const std::string& override_path) {
    if (!override_path.empty()) return override_path;
    return (fs::path(s.directory) / in_file).lexically_normal().string();
  };
  s.data.path = resolve(t.text("path", {}), paths.data);
  s.data.prefix = t.text("prefix", {});
  s.data.tokenizer = resolve(t.text("tokenizer", {}), paths.tokenizer);
  if (s.data.prefix.empty() || s.data.prefix.find('/') != std::string::npos) t.fail("prefix", "must be the start of a file name");
}

/// How the block matrices (and, by deviations, the others) are clipped.
void read_clip(TableReader& t, quant::ExportScheme& scheme) {
  enum Clip { kOfTheScheme, kQuantile, kRowMax, kSearchRows, kSearchMatrix, kDeviation };
  const auto clip = static_cast<Clip>(
      t.choice("clip", kOfTheScheme, {"scheme", "quantile", "row_max", "search_rows", "search_matrix", "deviation"}));
  quant::RowMethod& method = scheme.block_rule().method;
  method.rounded_scale = t.boolean("rounded_scale", method.rounded_scale);
  const bool floor = t.boolean("scale_floor", true);
  for (quant::MatrixRule& rule : scheme.rules) rule.method.scale_floor = floor;
  const bool search = clip == kSearchRows || clip == kSearchMatrix;
  if (search) {
    method.candidates.clear();
    for (double p : t.numbers("clip_candidates", 0.0, 1.0)) method.candidates.push_back(static_cast<float>(p));
    method.one_for_all_rows = clip == kSearchMatrix;
  } else if (t.has("clip_candidates")) {
    t.fail("clip_candidates", "only quantization.clip = \"search_rows\" or \"search_matrix\" has candidates; remove it");
  }
  if (clip == kQuantile) method.candidates = {quant::kExportQuantile};
  if (clip == kRowMax) method.candidates = {1.0f};
  for (const char* key : {"clip_deviations", "other_clip_deviations"}) {
    if (clip != kDeviation && t.has(key)) {
      t.fail(key, "only quantization.clip = \"deviation\" has deviations; remove it");
    }
  }
  if (clip != kDeviation) return;
  const auto blocks = static_cast<float>(t.number("clip_deviations", {}, 0.01, 1000.0));
  const auto others = static_cast<float>(t.number("other_clip_deviations", {}, 0.01, 1000.0));
  for (quant::MatrixRule& rule : scheme.rules) {
    rule.method.deviations = rule.block ? blocks : others;
    rule.method.rounded_scale = true;
  }
}

void read_calibration(TableReader& t, Submission& s) {
  CalibrationConfig& c = s.calibration;
  c.source = static_cast<Calibration>(t.choice("calibration", 0, {"none", "train", "self_generated"}));
  c.sequences = t.integer("calibration_sequences", 64, 1, 65536);
  c.tokens = t.integer("calibration_tokens", s.train.seq_len, 2, 131072);
  c.seed = static_cast<uint64_t>(t.integer("calibration_seed", 42, 0, INT64_MAX));
  s.scheme.gptq = c.source != Calibration::kNone;
  s.scheme.gptq_damping = t.number("gptq_damping", 0.01, 1e-9, 100.0);
  if (!s.scheme.gptq) {
    for (const char* key : {"calibration_sequences", "calibration_tokens", "calibration_seed", "gptq_damping"}) {
      if (t.has(key)) t.fail(key, "has no meaning with quantization.calibration = \"none\"; remove it");
    }
    return;
  }
  const quant::RowMethod& method = s.scheme.block_rule().method;
  if (s.scheme.codebook_entries > 0) {
    t.fail("calibration", "full GPTQ fills int8 rows; it cannot go with quantization.codebook_entries");
  } else if (method.candidates.size() > 1 && !method.one_for_all_rows && method.deviations == 0.0f) {
    t.fail("calibration", "full GPTQ chooses one clip per matrix; quantization.clip cannot be \"search_rows\"");
  } else if (!method.rounded_scale) {
    t.fail("calibration", "full GPTQ divides by the stored scale; it needs quantization.rounded_scale = true");
  }
}

void read_quantization(TableReader& t, Submission& s) {
  auto scheme = quant::scheme_by_name(t.text("scheme", {}));
  if (scheme) {
    s.scheme = *scheme;
  } else {
    t.fail("scheme", scheme.error().what);
    s.scheme = quant::scheme_int8();
  }
  auto codec = quant::codec_by_name(t.text("codec", {}));
  if (codec) {
    s.codec = *codec;
  } else {
    t.fail("codec", codec.error().what);
  }
  s.model.qat = static_cast<model::Qat>(t.choice("qat", 0, {"none", "int6_row", "int6_row_max", "int8_row"}));
  s.model.qat_scope = static_cast<model::QatScope>(t.choice("qat_scope", 0, {"all_matrices", "projections"}));
  s.train.qat_below = t.number("qat_below", 2.0, 1e-9, 2.0);
  s.train.qat_from = t.integer("qat_from", 0, 0, 1'000'000'000);
  for (const char* key : {"qat_scope", "qat_below", "qat_from"}) {
    if (s.model.qat == model::Qat::kNone && t.has(key)) {
      t.fail(key, "has no effect with quantization.qat = \"none\"; remove it or set that key");
    }
  }

  quant::ExportScheme& e = s.scheme;
  e.small_tensor_max_elements = static_cast<uint64_t>(t.integer("small_tensor_max_elements", 65536, 0, INT64_C(1) << 32));
  e.block_rule().limit = static_cast<int32_t>(t.integer("limit", e.block_rule().limit, 1, quant::kInt8Limit));
  if (t.has("fp16")) e.fp16_patterns = t.texts("fp16");
  if (t.has("control")) {
    for (std::string& pattern : t.texts("control")) e.control_patterns.push_back(std::move(pattern));
  }
  read_clip(t, e);
  e.prune = static_cast<float>(t.number("prune_percent", 0.0, 0.0, 100.0) / 100.0);
  e.codebook_entries = static_cast<uint32_t>(t.integer("codebook_entries", 0, 0, quant::kMaxCodebookEntries));
  if (e.codebook_entries > 0) {
    for (const char* key : {"clip", "limit"}) {
      if (t.has(key)) t.fail(key, "matrices with quantization.codebook_entries are not stored as int8 rows; remove one of the two");
    }
  }
  e.embed_rank = static_cast<uint32_t>(t.integer("embed_svd_rank", 0, 0, 16384));
  const int64_t most = std::min(s.model.width, s.model.vocab_size);
  if (e.embed_rank > most) {
    t.fail("embed_svd_rank", fmt::format("{} exceeds the smaller of model.width and model.vocab_size, {}", e.embed_rank, most));
  }
  read_calibration(t, s);
}

void read_replay(TableReader& t, ReplayConfig& c) {
  c.commit_every = t.integer("commit_every", 0, 0, 1'000'000'000);
  c.checkpoint_every = t.integer("checkpoint_every", 0, 0, 1'000'000'000);
  c.keep_states = t.boolean("keep_states", false);
}

}  // namespace

Result<Submission> load_submission(const std::string& directory, const DataOverride& paths) {
  namespace fs = std::filesystem;
  Submission s;
  s.directory = directory;
  const std::string path = (fs::path(directory) / "fairway.toml").string();
  auto bytes = read_file(path, kMaxConfigBytes);
  if (!bytes) {
    if (bytes.error().code != Errc::kNoInput) return bytes.error();
    return Error{Errc::kNoInput, path, "not found; a replayable submission is a folder with a fairway.toml (see submissions/README.md)"};
  }
  s.config_text.assign(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  s.config_sha256 = sha256(std::string_view(s.config_text));

  FAIRWAY_ASSIGN(TomlDocument document, TomlDocument::parse(s.config_text, path));
  TableReader root = document.root();
  root.integer("edition", {}, kEdition, kEdition);
  s.name = root.text("name", {});

  auto section = [&](const char* key, bool required, auto&& read) -> Status {
    TableReader t = root.table(key, required);
    read(t);
    return t.finish();
  };
  FAIRWAY_TRY(section("model", true, [&](TableReader& t) { read_model(t, s.model); }));
  FAIRWAY_TRY(section("numerics", false, [&](TableReader& t) { read_numerics(t, s); }));
  FAIRWAY_TRY(section("data", true, [&](TableReader& t) { read_data(t, paths, s); }));
  FAIRWAY_TRY(section("train", true, [&](TableReader& t) { read_train(t, s); }));
  FAIRWAY_TRY(section("optimizer", true, [&](TableReader& t) { read_optimizer(t, s); }));
  FAIRWAY_TRY(section("averages", false, [&](TableReader& t) { read_averages(t, s.optimizer.averages); }));
  FAIRWAY_TRY(section("schedule", true, [&](TableReader& t) { read_schedule(t, s.schedule); }));
  FAIRWAY_TRY(section("quantization", true, [&](TableReader& t) { read_quantization(t, s); }));
  Status eval;
  FAIRWAY_TRY(section("eval", false, [&](TableReader& t) {
    eval = read_eval(t, s.train.seq_len, s.eval);
    s.eval.sgd.banks = s.optimizer.muon == optim::MuonKind::kParallel;
    if (s.eval.procedure == eval::ProcedureKind::kNeuralCache && !s.model.delta_layers.empty()) {
      t.fail("procedure", "\"neural_cache\" keeps keys and values, which the layers in model.delta_layers lack; remove one of the two");
    }
  }));
  FAIRWAY_TRY(std::move(eval));
  FAIRWAY_TRY(section("replay", false, [&](TableReader& t) { read_replay(t, s.replay); }));
  FAIRWAY_TRY(root.finish());
  return s;
}

}  // namespace fairway::submission
