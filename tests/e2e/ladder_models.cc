/// Rungs of whole models: initial values, a pass, training, packing and scoring.
#include "engine/comm/communicator.h"
#include "engine/eval/evaluator.h"
#include "engine/model/gpt.h"
#include "engine/optim/optimizer.h"
#include "engine/replay/artifact.h"
#include "engine/train/state.h"
#include "kernels/accumulate.h"
#include "tests/e2e/ladder.h"

namespace fairway::ladder {
namespace {

submission::Submission tiny(int64_t layers) {
  submission::Submission s;
  s.name = "ladder";
  s.model.vocab_size = 256;
  s.model.layers = layers;
  s.model.width = 64;
  s.model.heads = 4;
  s.model.kv_heads = 2;
  s.model.mlp_hidden = 96;
  s.train.seq_len = 80;
  s.train.grad_chunk_tokens = 160;
  s.train.batch_tokens = 320;
  auto scheme = quant::scheme_by_name("int8");
  require(static_cast<bool>(scheme), "scheme");
  s.scheme = *scheme;
  s.scheme.small_tensor_max_elements = 4000;  // so that matrices of this size are quantised too
  s.codec = quant::kZlib9;
  return s;
}

std::vector<uint16_t> tokens(size_t count, uint64_t key) {
  std::vector<uint16_t> out(count);
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<uint16_t>(num::philox(key, i / 4, 0, 0).word[0] % 256);
  return out;
}

/// One step's chunks, forward and backward; gradients are left in the accumulators.
void run_step(const submission::Submission& s, model::Gpt& model, int64_t step, Rung* losses) {
  const size_t chunk = static_cast<size_t>(s.train.grad_chunk_tokens);
  for (auto& p : model.parameters()) p->clear_gradient();
  for (int64_t c = 0; c < s.chunks_per_step(); ++c) {
    const auto stream = tokens(chunk + 1, static_cast<uint64_t>(step * 100 + c));
    model::Batch batch;
    batch.sequences = s.train.grad_chunk_tokens / s.train.seq_len;
    batch.length = s.train.seq_len;
    batch.inputs = std::span(stream).first(chunk);
    batch.targets = std::span(stream).subspan(1);
    batch.training = true;
    batch.term_limit = kernels::term_limit(s.train.batch_tokens * s.model.terms_per_parameter());
    batch.chunk_term_limit = kernels::term_limit(s.chunks_per_step() * s.model.terms_per_parameter());
    require(static_cast<bool>(model.tape().forward(batch)), "forward");
    if (losses != nullptr) losses->add(model.tape().nll().data(), model.tape().nll().size());
    require(static_cast<bool>(model.tape().backward()), "backward");
  }
}

void add_parameters(Rung& r, const model::Gpt& model) {
  for (const auto& p : model.parameters()) r.add(std::as_const(*p).value(), static_cast<size_t>(p->count()));
}

/// Zero projections hide the blocks' gradients; a fixed perturbation of them does not.
void fill_projections(model::Gpt& model) {
  uint32_t stream = 100;
  for (auto& p : model.parameters()) {
    if (!p->name().ends_with(".proj.weight")) continue;
    const Floats values = uniform(static_cast<size_t>(p->count()), stream++, 0.05f);
    std::copy(values.begin(), values.end(), p->value());
    p->changed();
  }
}

/// The model, with its optimizer if there is one, on the executor.
void use(kernels::Executor& executor, model::Gpt& model, optim::Optimizer* optimizer) {
  require(static_cast<bool>(model.use(executor)), "the model's executor");
  if (optimizer != nullptr) optimizer->use(executor);
}

void add_gradients(Rung& r, model::Gpt& model) {
  for (auto& p : model.parameters()) {
    p->download_gradient();
    r.add(p->gradients().data(), static_cast<size_t>(p->count()));
  }
}

Digest root_of(model::Gpt& model, optim::Optimizer& optimizer, int64_t steps) {
  model.download();
  optimizer.download();
  return train::state_root(model, optimizer, steps);
}

void one_layer(kernels::Executor& executor) {
  const submission::Submission s = tiny(1);
  model::Gpt model(s.model);
  {
    Rung r("model.initial_weights");
    model.initialise(1337);
    add_parameters(r, model);
  }
  fill_projections(model);
  use(executor, model, nullptr);
  Rung gradients("model.layer_gradients"), losses("model.layer_forward");  // printed in reverse: the forward pass is the lower rung
  run_step(s, model, 0, &losses);
  add_gradients(gradients, model);
}

void training(kernels::Executor& executor, bool one_step) {
  submission::Submission s = tiny(3);
  s.optimizer.grad_clip_norm = 0.5;
  model::Gpt model(s.model);
  model.initialise(42);
  optim::Optimizer optimizer(s.optimizer, model);
  use(executor, model, &optimizer);
  for (int64_t step = 0; step < (one_step ? 1 : 5); ++step) {
    run_step(s, model, step, nullptr);
    require(static_cast<bool>(optimizer.step(step, 1.0, s.train.batch_tokens)), "optimizer");
    if (step != 0 && step != 4) continue;
    Rung r(step == 0 ? "train.one_step" : "train.five_steps");
    r.add_value(root_of(model, optimizer, step + 1));
  }
  if (one_step) return;
  auto packed = replay::pack(model, s);
  require(static_cast<bool>(packed), "export.container");
  {
    Rung r("export.container");
    r.add(packed->container);
  }
  require(static_cast<bool>(replay::unpack(packed->container, s, "ladder", model)), "unpack");
  model.upload();
  Rung r("eval.scores");
  const auto stream = tokens(801, 5);
  auto communicator = comm::single_process();
  for (auto method : {eval::Method::kStandard, eval::Method::kSlidingB}) {
    const int64_t stride = method == eval::Method::kStandard ? 80 : 16;
    auto scores = eval::evaluate(model, {{method, 80, stride}, stream, nullptr, communicator.get(), {}, ""});
    require(static_cast<bool>(scores), "eval.scores");
    r.add_value(scores->stream_sha256);
    r.add_value(scores->val_loss);
  }
}

/// Every operation that can be combined, the loops of a recurrent model, and the optimizer of the banked systems.
void features(kernels::Executor& executor) {
  submission::Submission s = tiny(4);
  model::ModelConfig& m = s.model;
  m.rope_dims = 8;
  m.rope_reference_length = 50;
  m.ln_scale = true;
  m.xsa_last_n = 3;
  m.mlp_slope = 0.5f;
  m.smear = model::SmearForm::kBlend;
  m.bigram_buckets = 97;
  m.bigram_dim = 64;
  m.trigrams = true;
  m.value_dim = 16;
  m.value_layers = {2, 3};
  m.value_residual = m.gated_attention = true;
  m.mtp_heads = 1;
  m.matrix_init = model::MatrixInit::kOrthogonalBanks;
  m.projection_group = model::ProjectionGroup::kAdam;
  m.qat = model::Qat::kInt6RowMax;
  s.optimizer.grad_clip_norm = 0.3;
  s.optimizer.clip_scope = optim::ClipScope::kWorker;
  s.optimizer.muon = optim::MuonKind::kParallel;
  s.optimizer.muon_wd = s.optimizer.adam_wd = 0.04;
  s.optimizer.averages = {0.9, 2, 0.0, 0, true, optim::FinalWeights::kEma};
  model::Gpt model(s.model);
  model.initialise(42);
  optim::Optimizer optimizer(s.optimizer, model);
  {
    Rung r("model.every_feature");
    add_parameters(r, model);
    use(executor, model, &optimizer);
    run_step(s, model, 0, &r);
    add_gradients(r, model);
  }
  Rung r("train.parallel_muon");
  for (int64_t step = 0; step < 3; ++step) {
    for (int64_t worker = 0; worker < 2; ++worker) {
      run_step(s, model, step * 2 + worker, nullptr);
      require(static_cast<bool>(optimizer.take_worker(s.train.batch_tokens)), "worker");
    }
    require(static_cast<bool>(optimizer.step_of_workers(step, 1.0, 2)), "optimizer");
  }
  r.add_value(root_of(model, optimizer, 3));
}

/// Two steps of a system.
void two_steps(kernels::Executor& executor, const char* rung, const submission::Submission& s) {
  model::Gpt model(s.model);
  model.initialise(42);
  optim::Optimizer optimizer(s.optimizer, model);
  Rung r(rung);
  add_parameters(r, model);
  use(executor, model, &optimizer);
  for (int64_t step = 0; step < 2; ++step) {
    run_step(s, model, step, &r);
    require(static_cast<bool>(optimizer.step(step, 1.0, s.train.batch_tokens)), rung);
  }
  r.add_value(root_of(model, optimizer, 2));
}

/// What replaces attention, the MLP and the iteration.
void gated_delta(kernels::Executor& executor) {
  submission::Submission s = tiny(3);
  s.model.mlp_blocks = 2;
  s.model.delta_layers = {0, 1};
  s.model.delta_heads = 3;
  s.model.delta_key_dim = 8;
  s.model.delta_value_dim = 16;
  s.optimizer.whitening = optim::Whitening::kMud;
  two_steps(executor, "train.gated_delta", s);
}

/// What each pass of a looped model has for itself, and heads before the output matrix.
void passes(kernels::Executor& executor) {
  submission::Submission s = tiny(2);
  s.model.loops = 3;
  s.model.loop_lora_rank = 5;
  s.model.mtp_heads = 2;
  s.model.mtp_square = true;
  two_steps(executor, "train.passes", s);
}

/// What replaces the residual stream.
void hypersphere(kernels::Executor& executor) {
  submission::Submission s = tiny(2);
  s.model.hypersphere = true;
  s.model.unet_skips = false;
  two_steps(executor, "train.hypersphere", s);
}

}  // namespace

void models(kernels::Executor& executor) {
  one_layer(executor);
  training(executor, false);
  features(executor);
  gated_delta(executor);
  passes(executor);
  hypersphere(executor);
}

void first_models(kernels::Executor& executor) {
  one_layer(executor);
  training(executor, true);
}

}  // namespace fairway::ladder
