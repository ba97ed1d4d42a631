/// The engine against a binary32 reference in PyTorch that shares no code with it: losses, gradients, ten training steps of small variants
/// of the published systems. systems.json defines them; systems_reference.py made the vectors.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/base/file.h"
#include "engine/optim/optimizer.h"
#include "engine/quant/safetensors.h"
#include "engine/submission/submission.h"
#include "kernels/accumulate.h"
#include "kernels/num/exact_sum.h"
#include "tests/engine/base/temporary_directory.h"

namespace fairway {
namespace {

using kernels::Products;
using nlohmann::json;

const std::string kFolder = std::string(FAIRWAY_SOURCE_DIR) + "/tests/golden/";

const json& definition() {
  static const json j = [] {
    std::ifstream in(kFolder + "systems.json");
    return json::parse(in);
  }();
  return j;
}

std::vector<std::string> system_names() {
  std::vector<std::string> names;
  for (const auto& [name, system] : definition().at("systems").items()) names.push_back(name);
  return names;
}

/// The system's keys as a fairway.toml, read by the reader every submission goes through.
submission::Submission load(const std::string& name) {
  const json &d = definition(), &system = d.at("systems").at(name);
  std::ostringstream toml;
  toml << "edition = 1\nname = \"" << name << "\"\n";
  auto table = [&](const char* title, const json& keys) {
    toml << "[" << title << "]\n";
    for (const auto& [key, value] : keys.items()) toml << key << " = " << value.dump() << "\n";
  };
  json model = d.at("shape");
  model.update(system.at("model"));
  const json& batch = d.at("batch");
  const int64_t length = batch.at("length"), sequences = batch.at("sequences"), workers = batch.at("workers");
  table("model", model);
  table("data", {{"path", "."}, {"prefix", "x"}, {"tokenizer", "x"}});
  table("train", {{"seq_len", length}, {"batch_tokens", length * sequences}, {"grad_chunk_tokens", length * sequences / workers},
                  {"virtual_workers", workers}, {"seeds", {1}}});
  table("optimizer", system.at("optimizer"));
  table("schedule", {{"kind", "steps"}, {"iterations", 100}, {"warmdown_iters", 0}});
  table("quantization", {{"scheme", "int8"}, {"codec", "zlib-9"}});
  test::TemporaryDirectory directory;
  std::ofstream(directory.path() + "/fairway.toml") << toml.str();
  auto s = submission::load_submission(directory.path());
  EXPECT_TRUE(s) << (s ? "" : s.error().message());
  return std::move(*s);
}

void set_products(model::ModelConfig& c, Products p) { c.linear = c.dgrad = c.wgrad = c.head = c.attention = p; }

// --- weights and tokens that both sides compute; the formulas stand in systems_reference.py ---

uint32_t fnv1a(const std::string& text) {
  uint32_t h = 0x811c9dc5u;
  for (unsigned char c : text) h = (h ^ c) * 0x01000193u;
  return h;
}

float noise(uint32_t name_hash, uint32_t i) {
  uint32_t h = i * 0x9e3779b1u + name_hash;
  h = (h ^ (h >> 16)) * 0x85ebca6bu;
  h = (h ^ (h >> 13)) * 0xc2b2ae35u;
  h ^= h >> 16;
  return static_cast<float>(h >> 8) * 0x1p-23f - 1.0f;
}

void set_weights(model::Gpt& m) {
  for (auto& p : m.parameters()) {
    const std::string& n = p->name();
    auto ends = [&](std::initializer_list<const char*> suffixes) {
      return std::any_of(suffixes.begin(), suffixes.end(), [&](const char* s) { return n.ends_with(s); });
    };
    float base = 0.0f, spread = 0.25f;
    if (ends({"attn_scale", "mlp_scale", "skip_weights"}) || n.find("ve_layer_scales") != std::string::npos) {
      base = 1.0f;
    } else if (ends({"q_gain"})) {
      base = 1.5f;
    } else if (ends({"vr_lambda", "resid_mix", "bigram.scale", "bigram_hash.scale", "ve_shared.scale"})) {
      base = 0.5f;
    } else if (ends({".table.weight", ".embed.weight", "conv1d.weight"})) {
      spread = 1.0f;
    } else if (n == "tok_emb.weight" || p->shape().size() < 2 || n.find("gate") != std::string::npos) {
      spread = 0.5f;
    }
    const uint32_t hash = fnv1a(n);
    for (int64_t i = 0; i < p->count(); ++i) p->value()[i] = base + spread * noise(hash, static_cast<uint32_t>(i));
    p->changed();
  }
}

/// Inputs and targets of `count` sequences from `first` on.
struct Tokens {
  std::vector<uint16_t> inputs, targets;
};
Tokens tokens_of(int64_t first, int64_t count, int64_t length, int64_t vocab) {
  Tokens tokens;
  for (int64_t s = first; s < first + count; ++s) {
    for (int64_t t = 0; t < length; ++t) {
      auto token = [&](int64_t at) { return static_cast<uint16_t>((s * 7919 + 31 * at + 5 * at * at) % vocab); };
      tokens.inputs.push_back(token(t));
      tokens.targets.push_back(token(t + 1));
    }
  }
  return tokens;
}

using Vectors = std::map<std::string, std::vector<float>>;

Vectors load_vectors(const std::string& name) {
  const std::string path = kFolder + "vectors/" + name + ".safetensors";
  auto bytes = read_file(path, 1 << 20);
  EXPECT_TRUE(bytes) << path;
  auto file = quant::read_safetensors(*bytes, path);
  EXPECT_TRUE(file) << (file ? "" : file.error().message());
  Vectors out;
  for (const auto& t : file->tensors) out[t.spec.name].assign(t.values.begin(), t.values.end());
  return out;
}

model::Batch batch_of(const Tokens& tokens, int64_t length, const submission::Submission& s) {
  model::Batch b;
  b.sequences = static_cast<int64_t>(tokens.inputs.size()) / length;
  b.length = length;
  b.inputs = tokens.inputs;
  b.targets = tokens.targets;
  b.training = true;
  b.term_limit = kernels::term_limit(s.train.batch_tokens * s.model.terms_per_parameter());
  b.chunk_term_limit = kernels::term_limit(s.chunks_per_step() * s.model.terms_per_parameter());
  return b;
}

void run(model::Gpt& m, const model::Batch& batch) {
  const Status forward = m.tape().forward(batch);
  ASSERT_TRUE(forward) << forward.error().message();
  const Status backward = m.tape().backward();
  ASSERT_TRUE(backward) << backward.error().message();
}

class Systems : public ::testing::TestWithParam<std::string> {};

struct Bounds {
  Products products;
  double rms, largest, mean, gradient;
};

TEST_P(Systems, LossesAndGradientsAgreeWithTheReference) {
  submission::Submission s = load(GetParam());
  const Vectors expected = load_vectors(GetParam());
  const bool show = std::getenv("FAIRWAY_SHOW_ERRORS") != nullptr;
  // The gradients of the vectors are rounded to fp16: 3e-4 of each.
  for (const Bounds& bound : {Bounds{Products::kP3, 1e-3, 5e-3, 1e-4, 5e-3}, Bounds{Products::kS21, 2e-4, 5e-3, 1e-4, 1e-3}}) {
    set_products(s.model, bound.products);
    model::Gpt m(s.model);
    set_weights(m);
    for (auto& p : m.parameters()) p->clear_gradient();
    const Tokens tokens = tokens_of(0, definition().at("batch").at("sequences"), s.train.seq_len, s.model.vocab_size);
    run(m, batch_of(tokens, s.train.seq_len, s));
    const auto& nll = expected.at("nll");
    ASSERT_EQ(m.tape().nll().size(), nll.size());
    double squares = 0, sum = 0, largest = 0;
    for (size_t i = 0; i < nll.size(); ++i) {
      const double d = static_cast<double>(m.tape().nll()[i]) - static_cast<double>(nll[i]);
      squares += d * d;
      sum += d;
      largest = std::max(largest, std::abs(d));
    }
    const double count = static_cast<double>(nll.size());
    EXPECT_LE(std::sqrt(squares / count), bound.rms);
    EXPECT_LE(largest, bound.largest);
    EXPECT_LE(std::abs(sum / count), bound.mean);
    if (show) std::printf("%s nll rms %.2e largest %.2e mean %.2e\n", GetParam().c_str(), std::sqrt(squares / count), largest, sum / count);
    for (auto& p : m.parameters()) {
      const auto& g = expected.at("grad." + p->name());
      const double scale = static_cast<double>(expected.at("scale." + p->name())[0]);
      ASSERT_EQ(g.size(), p->values().size()) << p->name();
      double difference = 0, norm = 0;
      for (size_t i = 0; i < g.size(); ++i) {
        const double reference = static_cast<double>(g[i]) * scale;
        const double d = static_cast<double>(p->gradients()[i]) * 0x1p-30 - reference;
        difference += d * d;
        norm += reference * reference;
      }
      EXPECT_LE(std::sqrt(difference), bound.gradient * std::sqrt(norm)) << p->name();
      if (show) std::printf("  %s %.2e\n", p->name().c_str(), norm == 0 ? 0.0 : std::sqrt(difference / norm));
    }
  }
}

TEST_P(Systems, TenTrainingStepsFollowTheReference) {
  submission::Submission s = load(GetParam());
  const Vectors expected = load_vectors(GetParam());
  model::Gpt m(s.model);
  set_weights(m);
  optim::Optimizer optimizer(s.optimizer, m);
  const json& batch = definition().at("batch");
  const int64_t sequences = batch.at("sequences"), workers = batch.at("workers"), steps = batch.at("steps");
  const bool by_worker = s.optimizer.clip_scope == optim::ClipScope::kWorker;
  for (int64_t step = 0; step < steps; ++step) {
    int64_t units = 0;
    for (int64_t w = 0; w < workers; ++w) {
      if (w == 0 || by_worker) {
        for (auto& p : m.parameters()) p->clear_gradient();
      }
      const Tokens tokens = tokens_of(step * sequences + w * sequences / workers, sequences / workers, s.train.seq_len, s.model.vocab_size);
      run(m, batch_of(tokens, s.train.seq_len, s));
      for (size_t i = 0; i < m.tape().nll().size(); ++i) units += num::loss_units(m.tape().nll()[i]);
      if (!by_worker) continue;
      const Status taken = optimizer.take_worker(s.train.batch_tokens / workers);
      ASSERT_TRUE(taken) << taken.error().message();
    }
    const double loss = static_cast<double>(units) * 0x1p-26 / static_cast<double>(s.train.batch_tokens);
    EXPECT_NEAR(loss, expected.at("losses")[static_cast<size_t>(step)], 1e-3) << "step " << step;
    const Status updated = by_worker ? optimizer.step_of_workers(step, 1.0, workers) : optimizer.step(step, 1.0, s.train.batch_tokens);
    ASSERT_TRUE(updated) << updated.error().message();
  }
}

INSTANTIATE_TEST_SUITE_P(Published, Systems, ::testing::ValuesIn(system_names()), [](const auto& info) { return info.param; });

}  // namespace
}  // namespace fairway
