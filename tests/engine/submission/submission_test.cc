#include "engine/submission/submission.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/model/gpt.h"
#include "tests/support/tiny_submission.h"

namespace fairway::submission {
namespace {

using test::replaced;
using test::spill;

Result<Submission> load_text(const std::string& text) {
  const test::TemporaryDirectory folder;
  spill(folder / "fairway.toml", text);
  return load_submission(folder.path());
}

/// The message with the folder's random name cut off: "fairway.toml:6 model.width: ...".
std::string error_of(const std::string& text) {
  const auto s = load_text(text);
  if (s) return "";
  EXPECT_EQ(s.error().code, Errc::kData);
  const std::string message = s.error().message();
  const size_t at = message.find("/fairway.toml");
  return at == std::string::npos ? message : message.substr(at + 1);
}

/// The number of the first line that starts with `start`, from 1; 0 if there is none.
int64_t line_of(const std::string& text, const std::string& start) {
  if (text.starts_with(start)) return 1;
  const size_t at = text.find("\n" + start);
  return at == std::string::npos ? 0 : 2 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
}

const std::string kGood = test::kTinyConfig;

TEST(Shipped, EverySubmissionLoadsWithoutItsData) {
  for (const char* name : {"demo", "naive-baseline", "naive-baseline-mini", "pr65-mixed-quant", "pr65-mixed-quant-mini",
                           "pr212-nine-layer", "pr212-nine-layer-mini",
                           "pr212-xsa-ema", "pr212-xsa-ema-mini",
                           "pr549-parallel-muon-ttt", "pr549-parallel-muon-ttt-mini",
                           "pr635-value-residual-ttt", "pr635-value-residual-ttt-mini",
                           "pr831-neural-cache", "pr831-neural-cache-mini"}) {
    const auto s = load_submission(std::string(FAIRWAY_SOURCE_DIR "/submissions/") + name);
    ASSERT_TRUE(s) << s.error().message();
    EXPECT_EQ(s->name, name);
    EXPECT_EQ(s->config_sha256, sha256(std::string_view(s->config_text)));
    EXPECT_EQ(s->config_text, test::slurp(std::string(FAIRWAY_SOURCE_DIR "/submissions/") + name + "/fairway.toml"));
    EXPECT_EQ(s->chunks_per_step() * s->train.grad_chunk_tokens, s->train.batch_tokens);
  }
}

TEST(Shipped, TheSystemsHaveThePublishedParametersAtBothSizes) {
  const std::pair<const char*, int64_t> published[] = {{"pr212-nine-layer", 21'778'504},
                                                       {"pr212-xsa-ema", 26'829'913},
                                                       {"pr549-parallel-muon-ttt", 26'928'220},
                                                       {"pr635-value-residual-ttt", 26'809'543},
                                                       {"pr831-neural-cache", 26'829'913}};
  for (const auto& [name, parameters] : published) {
    for (const char* size : {"", "-mini"}) {
      const auto s = load_submission(std::string(FAIRWAY_SOURCE_DIR "/submissions/") + name + size);
      ASSERT_TRUE(s) << s.error().message();
      EXPECT_EQ(model::Gpt(s->model).parameter_count(), parameters) << name << size;
    }
  }
}

TEST(Shipped, BaselineAndPr65AreThoseOfTheRecords) {
  const auto b = load_submission(FAIRWAY_SOURCE_DIR "/submissions/naive-baseline");
  ASSERT_TRUE(b);
  EXPECT_EQ(model::Gpt(b->model).parameter_count(), 17'059'912);
  EXPECT_EQ(b->train.batch_tokens, 524288);
  EXPECT_EQ(b->optimizer.matrix_lr, 0.04);
  EXPECT_EQ(b->optimizer.tied_embed_lr, 0.05);
  EXPECT_EQ(b->schedule.warmdown_iters, 1200);
  EXPECT_EQ(b->eval.method, eval::Method::kStandard);
  EXPECT_EQ(b->scheme.block_rule().limit, quant::kInt8Limit);
  EXPECT_EQ(b->codec, quant::kZlib9);
  EXPECT_EQ(b->model.qat, model::Qat::kNone);
  const auto p = load_submission(FAIRWAY_SOURCE_DIR "/submissions/pr65-mixed-quant");
  ASSERT_TRUE(p);
  EXPECT_EQ(model::Gpt(p->model).parameter_count(), 21'778'504);
  EXPECT_EQ(p->optimizer.matrix_lr, 0.02);
  EXPECT_EQ(p->optimizer.momentum.final, 0.99);
  EXPECT_EQ(p->optimizer.momentum.warmup_start, 0.92);
  EXPECT_EQ(p->optimizer.momentum.warmup_steps, 1500);
  EXPECT_EQ(p->schedule.warmdown_iters, 3000);
  EXPECT_EQ(p->eval.method, eval::Method::kSlidingA);
  EXPECT_EQ(p->eval.seq_len, 1024);
  EXPECT_EQ(p->eval.stride, 64);
  EXPECT_EQ(p->scheme.block_rule().limit, quant::kInt6Limit);
  EXPECT_EQ(p->codec, quant::kZstd22);
  EXPECT_EQ(p->model.qat, model::Qat::kInt6Row);
}

TEST(Loading, PathsAreRelativeToTheFolderUnlessReplaced) {
  const test::TemporaryDirectory folder;
  spill(folder / "fairway.toml", kGood);
  const auto s = load_submission(folder.path());
  ASSERT_TRUE(s) << s.error().message();
  EXPECT_EQ(s->data.path, folder / "shards");
  EXPECT_EQ(s->data.tokenizer, folder / "tokenizer.model");
  const auto other = load_submission(folder.path(), {"/data", "t.model"});
  ASSERT_TRUE(other);
  EXPECT_EQ(other->data.path, "/data");
  EXPECT_EQ(other->data.tokenizer, "t.model");
}

TEST(Loading, OptionalKeysHaveTheirDefaults) {
  const auto s = load_text(kGood);
  ASSERT_TRUE(s) << s.error().message();
  EXPECT_EQ(s->model.rope_base, 10000.0);
  EXPECT_EQ(s->model.logit_softcap, 30.0f);
  EXPECT_EQ(s->model.qk_gain_init, 1.5f);
  EXPECT_EQ(s->model.linear, kernels::Products::kP3);
  EXPECT_EQ(s->optimizer.newton_schulz, kernels::Products::kS21);
  EXPECT_EQ(s->optimizer.grad_clip_norm, 0.0);
  EXPECT_EQ(s->eval.seq_len, 16);
  EXPECT_FALSE(s->replay.keep_states);
}

TEST(Loading, NumericsAreChosenByName) {
  const auto s = load_text(kGood + "\n[numerics]\nlinear = \"p4\"\ninput_gradients = \"b21\"\nweight_gradients = \"p4\"\nlogits = \"b21\"\n"
                                   "attention = \"p4\"\nnewton_schulz = \"p3\"\n");
  ASSERT_TRUE(s) << s.error().message();
  EXPECT_EQ(s->model.linear, kernels::Products::kP4);
  EXPECT_EQ(s->model.dgrad, kernels::Products::kS21);
  EXPECT_EQ(s->model.wgrad, kernels::Products::kP4);
  EXPECT_EQ(s->model.head, kernels::Products::kS21);
  EXPECT_EQ(s->model.attention, kernels::Products::kP4);
  EXPECT_EQ(s->optimizer.newton_schulz, kernels::Products::kP3);
}

TEST(Errors, ClippingPerWorkerNeedsWholeChunksOfEveryWorker) {
  const std::string text = replaced(replaced(kGood, "grad_chunk_tokens = 64", "grad_chunk_tokens = 128"), "matrix_lr = 0.04",
                                    "matrix_lr = 0.04\ngrad_clip_norm = 0.3\nclip_scope = \"worker\"");
  const std::string message = error_of(text);
  EXPECT_NE(message.find("optimizer.clip_scope"), std::string::npos) << message;
  EXPECT_NE(message.find("train.virtual_workers * train.grad_chunk_tokens = 512"), std::string::npos) << message;
}

TEST(Errors, AMissingFolderOrFileIsMissingInput) {
  const test::TemporaryDirectory folder;
  for (const std::string& path : {folder / "absent", folder.path()}) {
    const auto s = load_submission(path);
    ASSERT_FALSE(s);
    EXPECT_EQ(s.error().code, Errc::kNoInput);
    EXPECT_EQ(s.error().where, path + "/fairway.toml");
  }
}

struct Edit {
  const char* from;
  const char* to;
  const char* key;   ///< "table.key" the message must name
  const char* what;  ///< part of its sentence
};

TEST(Errors, EachNamesFileLineAndKey) {
  const Edit edits[] = {
      // Unknown.
      {"width = 32", "width = 32\nwidht = 32", "model.widht", "unknown key"},
      {"name = \"tiny\"", "name = \"tiny\"\nauthor = \"x\"", "author", "unknown key"},
      {"[replay]", "[reply]", "reply", "unknown key"},
      // What cannot be combined; both keys are named.
      {"width = 32", "width = 32\nxsa_last_n = 3", "model.xsa_last_n", "exceeds model.layers = 2"},
      {"width = 32", "width = 32\nve_dim = 8\nve_layers = [1, 2]", "model.ve_layers", "layer 2 does not exist with model.layers = 2"},
      {"width = 32", "width = 32\nve_dim = 8\nve_layers = [1, 1]", "model.ve_layers", "ascending"},
      {"width = 32", "width = 32\nve_dim = 8", "model.ve_dim", "model.ve_dim and model.ve_layers belong together"},
      {"width = 32", "width = 32\nve_dim = 17\nve_layers = [1]", "model.ve_dim", "model.kv_heads * model.width / model.heads = 16"},
      {"width = 32", "width = 32\nbigram_hash = \"affine_31\"", "model.bigram_hash", "no effect without model.bigram_buckets"},
      {"width = 32", "width = 32\nbigram_buckets = 9\nbigram_dim = 33", "model.bigram_dim", "model.width = 32"},
      {"width = 32", "width = 32\ntrigram_hash = true", "model.trigram_hash", "set it and model.bigram_buckets"},
      {"width = 32", "width = 32\nrope_dims = 10", "model.rope_dims", "model.width / model.heads = 8"},
      {"width = 32", "width = 32\nrope_dims = 2\nrope_ntk_length = 8", "model.rope_ntk_length", "model.rope_dims above 2"},
      {"width = 32", "width = 32\nvalue_residual = true\nloops = 2", "model.value_residual", "model.loops above 1"},
      {"width = 32", "width = 32\nloop_lora_rank = 2", "model.loop_lora_rank", "model.loops = 1"},
      {"width = 32", "width = 32\nloops = 2\nloop_lora_rank = 33", "model.loop_lora_rank", "model.width = 32"},
      {"width = 32", "width = 32\nloops = 2\nloop_lora_rank = 2\ndelta_layers = [1]", "model.loop_lora_rank", "model.delta_layers"},
      {"width = 32", "width = 32\nloops = 2\nloop_lora_rank = 2\nhypersphere = true\nunet_skips = false", "model.loop_lora_rank", "model.hypersphere"},
      {"width = 32", "width = 32\nmtp_square = true", "model.mtp_square", "no effect without model.mtp_heads"},
      {"matrix_lr = 0.04", "matrix_lr = 0.04\nlora_lr = 0.1", "optimizer.lora_lr", "no effect without model.loop_lora_rank"},
      {"width = 32", "width = 32\nloops = 200", "model.loops", "model.loops * model.layers = 400"},
      {"width = 32", "width = 32\nmlp_blocks = 5", "model.mlp_blocks", "model.mlp_hidden"},
      {"width = 32", "width = 32\nhypersphere = true", "model.hypersphere", "model.unet_skips = true"},
      {"width = 32", "width = 32\nhypersphere = true\nunet_skips = false\nln_scale = true", "model.hypersphere", "model.ln_scale = true"},
      {"width = 32", "width = 32\nhypersphere = true\nunet_skips = false\nmtp_heads = 1", "model.hypersphere", "model.mtp_heads"},
      {"width = 32", "width = 32\nhypersphere = true\nunet_skips = false\nxsa_last_n = 1", "model.hypersphere", "model.xsa_last_n"},
      {"width = 32", "width = 32\ndelta_layers = [2]", "model.delta_layers", "layer 2 does not exist with model.layers = 2"},
      {"width = 32", "width = 32\ndelta_layers = [1]\nxsa_last_n = 1", "model.delta_layers", "model.xsa_last_n = 1"},
      {"width = 32", "width = 32\ndelta_layers = [1]\nve_dim = 8\nve_layers = [1]", "model.delta_layers", "model.ve_layers"},
      {"width = 32", "width = 32\ndelta_layers = [1]\nvalue_residual = true", "model.delta_layers", "model.value_residual"},
      {"width = 32", "width = 32\ndelta_layers = [1]\ngated_attention = true", "model.delta_layers", "model.gated_attention"},
      {"width = 32", "width = 32\ndelta_layers = [1]\ndelta_key_dim = 200", "model.delta_key_dim", "model.delta_value_dim = 25600"},
      {"width = 32", "width = 32\ndelta_layers = [1]\ndelta_heads = 600", "model.delta_heads", "model.delta_value_dim = 128"},
      {"width = 32", "width = 32\ndelta_heads = 2", "model.delta_heads", "no effect without model.delta_layers"},
      {"matrix_lr = 0.04", "matrix_lr = 0.04\nmud_passes = 2", "optimizer.mud_passes", "optimizer.muon_whitening = \"mud\""},
      {"width = 32", "width = 32\nmtp_weight = 0.1", "model.mtp_weight", "no effect without model.mtp_heads"},
      {"matrix_lr = 0.04", "matrix_lr = 0.04\nclip_scope = \"worker\"", "optimizer.clip_scope", "optimizer.grad_clip_norm"},
      {"matrix_lr = 0.04", "matrix_lr = 0.04\nmuon = \"parallel\"\nmuon_wd_order = \"after\"", "optimizer.muon_wd_order", "optimizer.muon"},
      {"matrix_lr = 0.04", "matrix_lr = 0.04\nhead_lr = 0.1", "optimizer.head_lr", "model.tied_head = false"},
      {"[schedule]", "[averages]\nfinal_weights = \"ema\"\n[schedule]", "averages.final_weights", "averages.ema_decay"},
      {"[schedule]", "[averages]\nfinal_weights = \"snapshots\"\n[schedule]", "averages.final_weights", "averages.snapshot_every"},
      {"codec = ", "qat_below = 0.1\ncodec = ", "quantization.qat_below", "quantization.qat"},
      {"codec = ", "qat_from = 3\ncodec = ", "quantization.qat_from", "quantization.qat"},
      {"stride = 5", "stride = 5\nstrides = 5", "eval.strides", "unknown key"},
      // Wrong type.
      {"layers = 2", "layers = \"2\"", "model.layers", "must be an integer from 1 to 256"},
      {"layers = 2", "layers = 2.0", "model.layers", "must be an integer"},
      {"matrix_lr = 0.04", "matrix_lr = \"fast\"", "optimizer.matrix_lr", "must be a number"},
      {"prefix = \"tiny\"", "prefix = 3", "data.prefix", "must be a string"},
      {"seeds = [7]", "seeds = 7", "train.seeds", "list of integers"},
      {"seeds = [7]", "seeds = []", "train.seeds", "at least one entry"},
      {"seeds = [7]", "seeds = [7, \"x\"]", "train.seeds", "every entry"},
      {"checkpoint_every = 3", "checkpoint_every = 3\nkeep_states = 1", "replay.keep_states", "true or false"},
      // Out of range.
      {"edition = 1", "edition = 2", "edition", "from 1 to 1"},
      {"vocab_size = 96", "vocab_size = 65537", "model.vocab_size", "from 2 to 65536"},
      {"layers = 2", "layers = 0", "model.layers", "from 1 to 256"},
      {"matrix_lr = 0.04", "matrix_lr = -0.1", "optimizer.matrix_lr", "from 0 to 10"},
      {"matrix_lr = 0.04", "matrix_lr = nan", "optimizer.matrix_lr", "must be a number"},
      {"matrix_lr = 0.04", "matrix_lr = inf", "optimizer.matrix_lr", "must be a number"},
      {"iterations = 8", "iterations = 0", "schedule.iterations", "from 1"},
      {"grad_chunk_tokens = 64", "grad_chunk_tokens = 8208", "train.grad_chunk_tokens", "from 1 to 8192"},
      {"seeds = [7]", "seeds = [-1]", "train.seeds", "from 0"},
      {"virtual_workers = 4", "virtual_workers = 0", "train.virtual_workers", "from 1"},
      // Names.
      {"kind = \"steps\"", "kind = \"epochs\"", "schedule.kind", "\"epochs\" is not one of: steps, wallclock"},
      {"scheme = \"int8\"", "scheme = \"int3\"", "quantization.scheme", "use int8, mixed_int6"},
      {"codec = \"zlib-9\"", "codec = \"rar\"", "quantization.codec", "use zlib-1 to zlib-9"},
      {"method = \"sliding_b\"", "method = \"sliding_e\"", "eval.method", "sliding_e"},
      {"prefix = \"tiny\"", "prefix = \"a/b\"", "data.prefix", "start of a file name"},
      {"prefix = \"tiny\"", "prefix = \"\"", "data.prefix", "start of a file name"},
      // Relations.
      {"heads = 4", "heads = 5", "model.heads", "must divide model.width"},
      {"kv_heads = 2", "kv_heads = 3", "model.kv_heads", "must divide model.heads"},
      {"grad_chunk_tokens = 64", "grad_chunk_tokens = 60", "train.grad_chunk_tokens", "not a multiple of train.seq_len = 16"},
      {"batch_tokens = 256", "batch_tokens = 224", "train.batch_tokens", "not a multiple of train.grad_chunk_tokens = 64"},
      {"virtual_workers = 4", "virtual_workers = 5", "train.batch_tokens", "not a multiple of train.virtual_workers"},
      {"stride = 5", "stride = 17", "eval.stride", "exceeds eval.seq_len = 16"},
      {"method = \"sliding_b\"", "method = \"standard\"", "eval.stride", "has none"},
      {"kind = \"steps\"", "kind = \"steps\"\nmax_wallclock_seconds = 10", "schedule.max_wallclock_seconds", "only schedule.kind"},
  };
  for (const Edit& e : edits) {
    const std::string text = replaced(kGood, e.from, e.to), message = error_of(text);
    const std::string key = e.key, name = key.substr(key.find('.') + 1);
    const int64_t line = line_of(text, key == "reply" ? "[reply]" : name + " =");
    EXPECT_TRUE(message.starts_with("fairway.toml:" + std::to_string(line) + " " + key + ": ")) << e.to << ", line " << line << "\n  " << message;
    EXPECT_NE(message.find(e.what), std::string::npos) << e.to << "\n  " << message;
  }
}

/// One key of [eval] or of a table in it, under the procedure that reads it.
struct EvalEdit {
  const char* procedure;
  const char* table;  ///< "" is [eval] itself
  const char* line;   ///< key = value
  const char* what;
};

TEST(Errors, EveryKeyOfTheEvaluationIsBounded) {
  const EvalEdit edits[] = {
      {"score_first_ttt", "", "temperature = 0.0", "from 0.01 to 100"},
      {"score_first_ttt", "", "seq_len = 8193", "at most 8192"},
      {"score_first_ttt", "ttt", "lr = -1.0", "from 0 to 10"},
      {"score_first_ttt", "ttt", "momentum = 1.5", "from 0 to 1"},
      {"score_first_ttt", "ttt", "grad_clip_norm = -1.0", "from 0"},
      {"score_first_ttt", "ttt", "epochs = -1", "from 0 to 1000"},
      {"score_first_ttt", "ttt", "chunk_tokens = 0", "from 1"},
      {"score_first_ttt", "ttt", "freeze_blocks = 257", "from 0 to 256"},
      {"score_first_ttt", "ttt", "batch_rows = 0", "from 1 to 8192"},
      {"score_first_ttt", "ttt", "grad_chunk_tokens = 8193", "from 1 to 8192"},
      {"score_first_ttt", "ttt", "optimizer = \"adam\"", "unknown key"},
      {"score_first_ttt", "lora", "rank = 8", "does not use the table"},
      {"lora_ttt", "ttt", "lr = 0.1", "does not use the table"},
      {"lora_ttt", "lora", "rank = 0", "from 1 to 1024"},
      {"lora_ttt", "lora", "lr = 11.0", "from 0 to 10"},
      {"lora_ttt", "lora", "beta1 = 1.0", "from 0 to 0.999999"},
      {"lora_ttt", "lora", "beta2 = 1.0", "from 0 to 0.999999"},
      {"lora_ttt", "lora", "eps = 0.0", "from 1e-30 to 1"},
      {"lora_ttt", "lora", "weight_decay = -0.1", "from 0 to 10"},
      {"lora_ttt", "lora", "chunk_tokens = 0", "from 1 to 131072"},
      {"lora_ttt", "lora", "chunk_tokens = 17", "exceeds eval.seq_len = 16"},
      {"lora_ttt", "lora", "all_projections = 1", "true or false"},
      {"lora_ttt", "lora", "seed = -1", "from 0"},
      {"lora_ttt", "phases", "count = 2", "does not use the table"},
      {"phased_ttt", "phases", "order = \"random\"", "\"random\" is not one of: length, stream"},
      {"phased_ttt", "phases", "documents = 0", "from 1"},
      {"phased_ttt", "phases", "count = 0", "from 1 to 1000"},
      {"neural_cache", "cache", "tokens = -1", "from 0 to 1048576"},
      {"windows", "cache", "tokens = 64", "does not use the table"},
      {"ngram", "ngram", "order = 17", "from 1 to 16"},
      {"ngram", "ngram", "alpha = 1.0", "from 0 to 0.999"},
      {"ngram", "ngram", "discount = -0.5", "from 0 to 0.999"},
      {"dishonest/slot", "dishonest", "max_steps = 0", "from 1"},
      {"dishonest/slot", "dishonest", "shuffle_seed = -1", "from 0"},
      {"dishonest/slot", "dishonest", "buckets = 3", "power of two"},
      {"windows", "dishonest", "buckets = 4", "does not use the table"},
  };
  for (const EvalEdit& e : edits) {
    const std::string table = e.table, line = e.line, name = line.substr(0, line.find(' '));
    const std::string procedure = "stride = 5\nprocedure = \"" + std::string(e.procedure) + "\"\n";
    const std::string text = replaced(kGood, "stride = 5\n", procedure + (table.empty() ? "" : "[eval." + table + "]\n") + line + "\n");
    const std::string message = error_of(text), what = e.what;
    // A table that the procedure does not read is named itself, a key with its table.
    const bool whole = what.find("the table") != std::string::npos || what.find("eval.seq_len") != std::string::npos;
    const std::string key = " eval." + (table.empty() ? name : whole ? table : table + "." + name) + ": ";
    EXPECT_NE(message.find(key), std::string::npos) << e.procedure << ": " << e.line << "\n  " << message;
    EXPECT_NE(message.find(what), std::string::npos) << e.procedure << ": " << e.line << "\n  " << message;
  }
}

TEST(Errors, AProcedureThatDoesNotExistIsToldWhichDo) {
  const std::string message = error_of(replaced(kGood, "stride = 5", "stride = 5\nprocedure = \"score_first\""));
  EXPECT_NE(message.find("eval.procedure: \"score_first\" is none of windows, documents"), std::string::npos) << message;
}

TEST(Errors, ANeuralCacheNeedsKeysAndValuesOfEveryLayer) {
  const std::string message =
      error_of(replaced(replaced(kGood, "width = 32", "width = 32\ndelta_layers = [1]"), "stride = 5", "stride = 5\nprocedure = \"neural_cache\""));
  EXPECT_NE(message.find(" eval.procedure: "), std::string::npos) << message;
  EXPECT_NE(message.find("model.delta_layers"), std::string::npos) << message;
}

TEST(Errors, AMissingKeyNamesItsTablesLine) {
  for (const auto& [line, key, table] : {std::tuple{"vocab_size = 96\n", "model.vocab_size", "[model]"},
                                         {"seq_len = 16\n", "train.seq_len", "[train]"},
                                         {"kind = \"steps\"\n", "schedule.kind", "[schedule]"},
                                         {"scheme = \"int8\"\n", "quantization.scheme", "[quantization]"},
                                         {"tied_embed_lr = 0.05\n", "optimizer.tied_embed_lr", "[optimizer]"},
                                         {"seeds = [7]\n", "train.seeds", "[train]"},
                                         {"path = \"shards\"\n", "data.path", "[data]"}}) {
    const std::string text = replaced(kGood, line, "");
    const std::string message = error_of(text);
    EXPECT_TRUE(message.starts_with("fairway.toml:" + std::to_string(line_of(text, table)) + " " + key + ": ")) << message;
  }
  EXPECT_EQ(error_of(replaced(kGood, "edition = 1\n", "")), "fairway.toml:1 edition: this key is missing");
  EXPECT_EQ(error_of(replaced(kGood, "[model]", "[modell]")), "fairway.toml:1 model: the table [model] is missing");
}

TEST(Errors, OneTypedWhereATableIsExpected) {
  EXPECT_EQ(error_of("edition = 1\nname = \"x\"\nmodel = 3\n"), "fairway.toml:3 model: must be a table");
}

TEST(Errors, SyntaxAndDuplicatesCarryLineAndColumn) {
  std::string message = error_of(replaced(kGood, "layers = 2", "layers = = 2"));
  EXPECT_TRUE(message.starts_with("fairway.toml:6:")) << message;
  message = error_of(replaced(kGood, "layers = 2", "layers = 2\nlayers = 2"));
  EXPECT_TRUE(message.starts_with("fairway.toml:7:")) << message;
  EXPECT_NE(message.find("layers"), std::string::npos) << message;
  message = error_of(kGood + "[model]\n");
  EXPECT_NE(message.find("model"), std::string::npos) << message;
  EXPECT_NE(error_of(std::string("\0\1\2", 3)), "");
  EXPECT_NE(error_of(""), "");
}

TEST(Errors, EveryTruncationIsAnErrorOrAnHonestConfig) {
  size_t accepted = 0;
  for (size_t size = 0; size < kGood.size(); size += 3) {
    if (load_text(kGood.substr(0, size))) ++accepted;
  }
  // Everything after the last required table, [quantization], is optional.
  EXPECT_LE(accepted, (kGood.size() - kGood.find("codec")) / 3 + 1);
}

}  // namespace
}  // namespace fairway::submission
