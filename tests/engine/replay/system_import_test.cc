/// Weights of every published system under the names of its own script, with the tensors stacked where the script
/// stacks them.
///
/// Names, shapes and their number are those of the published state dicts, written down here once more; sizes are small,
/// depths are not.
#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <map>

#include "engine/base/file.h"
#include "engine/quant/safetensors.h"
#include "engine/replay/artifact.h"
#include "engine/replay/import.h"
#include "engine/submission/settings.h"
#include "tests/support/tiny_submission.h"

namespace fairway::replay {
namespace {

using quant::NamedTensor;

constexpr int64_t kVocab = 96, kWidth = 32, kHeads = 4, kKeyWidth = 16, kHidden = 48, kBuckets = 53, kBigramDim = 12,
                  kValueDim = 10;

struct System {
  const char* folder;
  int64_t layers;
  size_t tensors;      ///< of the published state dict, matrices apart
  size_t stacked;      ///< of the published state dict with banks; 0: the script has none
  const char* bigram;  ///< module of the bigram table; null: none
  const char* smear;   ///< name of the gate; null: none
  bool value_embedding, value_residual;
};
constexpr System kSystems[] = {
    {"naive-baseline", 9, 92, 0, nullptr, nullptr, false, false},
    {"pr65-mixed-quant", 9, 92, 0, nullptr, nullptr, false, false},
    {"pr212-nine-layer", 9, 92, 0, nullptr, nullptr, false, false},
    {"pr212-xsa-ema", 11, 116, 0, "bigram_hash", "smear_gate.gate", false, false},
    {"pr549-parallel-muon-ttt", 11, 121, 59, "bigram", "smear.gate", true, false},
    {"pr635-value-residual-ttt", 11, 149, 87, "bigram", "smear.gate", false, true},
    {"pr831-neural-cache", 11, 116, 0, "bigram", "smear.gate", false, false},
};

/// The submission of the repository with small tensors.
std::string small_config(const System& system) {
  const std::string path = std::string(FAIRWAY_SOURCE_DIR) + "/submissions/" + system.folder + "/fairway.toml";
  auto set = [](const char* key, int64_t value) {
    return submission::Setting{std::string("model.") + key, std::to_string(value)};
  };
  std::vector<submission::Setting> settings = {set("vocab_size", kVocab), set("width", kWidth), set("heads", kHeads),
                                               set("kv_heads", 2), set("mlp_hidden", kHidden)};
  const std::string text = test::slurp(path);
  if (text.find("rope_dims") != std::string::npos) settings.push_back(set("rope_dims", 4));
  if (system.bigram != nullptr)
    settings.insert(settings.end(), {set("bigram_buckets", kBuckets), set("bigram_dim", kBigramDim)});
  if (system.value_embedding) settings.push_back(set("ve_dim", kValueDim));
  auto changed = submission::with_settings(text, path, settings);
  EXPECT_TRUE(changed);
  return changed ? *changed : "";
}

submission::Submission load(const std::string& text) {
  const test::TemporaryDirectory folder;
  test::spill(folder / "fairway.toml", text);
  auto s = submission::load_submission(folder.path());
  EXPECT_TRUE(s) << s.error().message();
  return *s;
}

/// Every tensor of the script's state dict, each value another multiple of 1/128, which no format rounds.
std::vector<NamedTensor> state_dict(const System& s) {
  std::vector<NamedTensor> tensors;
  int64_t next = 0;
  auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    std::vector<float> values(*quant::element_count(shape));
    for (float& x : values) x = static_cast<float>(next++ % 255 - 127) * 0x1p-7f;
    tensors.push_back({{name, std::move(shape), quant::FloatFormat::kF32}, std::move(values)});
  };
  add("tok_emb.weight", {kVocab, kWidth});
  add("skip_weights", {s.layers / 2, kWidth});
  if (s.bigram != nullptr) {
    const std::string bigram = s.bigram;
    add(bigram + ".embed.weight", {kBuckets, kBigramDim});
    add(bigram + ".proj.weight", {kWidth, kBigramDim});
    add(bigram + ".scale", {});
    add(s.smear, {kWidth});
  }
  for (int64_t i = 0; i < s.layers; ++i) {
    const std::string block = "blocks." + std::to_string(i) + ".";
    add(block + "attn_scale", {kWidth});
    add(block + "mlp_scale", {kWidth});
    add(block + "resid_mix", {2, kWidth});
    add(block + "attn.q_gain", {kHeads});
    if (s.value_residual) {
      add(block + "attn.vr_lambda", {2});
      add(block + "attn.attn_gate.weight", {kHeads, kWidth});
      add(block + "attn.attn_gate.bias", {kHeads});
    }
    add(block + "attn.c_q.weight", {kWidth, kWidth});
    add(block + "attn.c_k.weight", {kKeyWidth, kWidth});
    add(block + "attn.c_v.weight", {kKeyWidth, kWidth});
    add(block + "attn.proj.weight", {kWidth, kWidth});
    add(block + "mlp.fc.weight", {kHidden, kWidth});
    add(block + "mlp.proj.weight", {kWidth, kHidden});
  }
  if (s.value_embedding) {
    add("ve_shared.embed.weight", {kVocab, kValueDim});
    add("ve_shared.proj.weight", {kKeyWidth, kValueDim});
    add("ve_shared.scale", {});
    add("ve_layer_scales.0", {1});
    add("ve_layer_scales.1", {1});
  }
  return tensors;
}

/// The matrices of all blocks in four stacked tensors: queries then outputs, keys then values, the MLP's two.
std::vector<NamedTensor> with_banks(std::vector<NamedTensor> tensors, int64_t layers) {
  auto take = [&](NamedTensor& bank, const std::string& matrix) {
    for (int64_t i = 0; i < layers; ++i) {
      const std::string name = "blocks." + std::to_string(i) + "." + matrix + ".weight";
      const auto at =
          std::find_if(tensors.begin(), tensors.end(), [&](const NamedTensor& t) { return t.spec.name == name; });
      if (bank.spec.shape.empty()) bank.spec.shape = {0, at->spec.shape[0], at->spec.shape[1]};
      ++bank.spec.shape[0];
      bank.values.insert(bank.values.end(), at->values.begin(), at->values.end());
      tensors.erase(at);
    }
  };
  NamedTensor qo, kv, up, down;
  qo.spec.name = "qo_bank", kv.spec.name = "kv_bank", up.spec.name = "mlp_up_bank", down.spec.name = "mlp_down_bank";
  take(qo, "attn.c_q"), take(qo, "attn.proj");
  take(kv, "attn.c_k"), take(kv, "attn.c_v");
  take(up, "mlp.fc"), take(down, "mlp.proj");
  for (NamedTensor* bank : {&qo, &kv, &up, &down}) tensors.push_back(std::move(*bank));
  return tensors;
}

std::map<std::string, std::vector<float>> by_name(const std::vector<NamedTensor>& tensors) {
  std::map<std::string, std::vector<float>> map;
  for (const NamedTensor& t : tensors) map[t.spec.name] = t.values;
  return map;
}

class SystemImport : public ::testing::TestWithParam<System> {
 protected:
  void write(const std::vector<NamedTensor>& tensors) {
    std::vector<quant::TensorView> views;
    for (const NamedTensor& t : tensors) views.push_back({t.spec, t.values});
    const auto bytes = quant::write_safetensors(views, {{"format", "pt"}});
    ASSERT_TRUE(bytes);
    ASSERT_TRUE(write_file_atomic(path, *bytes));
  }
  const test::TemporaryDirectory folder;
  const std::string path = folder / "weights.safetensors";
};

TEST_P(SystemImport, TheUpstreamTensorsAreThoseOfTheModelAndComeBackAsTheyWere) {
  const System& system = GetParam();
  const auto tensors = state_dict(system);
  ASSERT_EQ(tensors.size(), system.tensors);
  const auto s = load(small_config(system));
  std::vector<std::vector<NamedTensor>> forms = {tensors};
  if (system.stacked > 0) {
    forms.push_back(with_banks(tensors, system.layers));
    ASSERT_EQ(forms.back().size(), system.stacked);
  }
  for (const auto& form : forms) {
    model::Gpt model(s.model);
    model.initialise(1);
    write(form);
    const Status status = import_weights(path, model);
    ASSERT_TRUE(status) << status.error().message();
    const auto exported = export_weights(model, s);
    ASSERT_TRUE(exported);
    const auto again = quant::read_safetensors(*exported, "exported");
    ASSERT_TRUE(again);
    EXPECT_EQ(by_name(again->tensors), by_name(tensors));
  }
}

TEST_P(SystemImport, ATensorOfAnotherSizeIsRefusedWithTheKeyThatAsksForIt) {
  const System& system = GetParam();
  write(state_dict(system));
  struct Wrong {
    const char *key, *from, *to;
    std::string tensor;
  };
  std::vector<Wrong> cases = {{"model.mlp_hidden", "mlp_hidden = 48", "mlp_hidden = 50", "mlp.fc.weight"},
                              {"model.vocab_size", "vocab_size = 96", "vocab_size = 97", "tok_emb.weight"}};
  if (system.bigram != nullptr) {
    cases.push_back({"model.bigram_buckets = 54", "bigram_buckets = 53", "bigram_buckets = 54",
                     std::string(system.bigram) + ".embed.weight"});
    cases.push_back({"model.bigram_dim = 14", "bigram_dim = 12", "bigram_dim = 14", std::string(system.bigram) + "."});
  }
  if (system.value_embedding) cases.push_back({"model.ve_dim = 12", "ve_dim = 10", "ve_dim = 12", "ve_shared."});
  for (const Wrong& c : cases) {
    const auto s = load(test::replaced(small_config(system), c.from, c.to));
    model::Gpt model(s.model);
    model.initialise(1);
    const auto before = export_weights(model, s);
    const Status status = import_weights(path, model);
    ASSERT_FALSE(status) << c.to;
    EXPECT_EQ(status.error().code, Errc::kData);
    for (const std::string& part : {std::string(c.key), c.tensor, path}) {
      EXPECT_NE(status.error().message().find(part), std::string::npos) << part << ": " << status.error().message();
    }
    EXPECT_EQ(*export_weights(model, s), *before) << c.to;
  }
}

TEST_P(SystemImport, ABankOfAnotherSizeIsNamedAsItStandsInTheFile) {
  const System& system = GetParam();
  if (system.stacked == 0) GTEST_SKIP() << "the script has no banks";
  write(with_banks(state_dict(system), system.layers));
  using Change = std::array<const char*, 3>;
  for (const auto& [from, to, bank] : {Change{"mlp_hidden = 48", "mlp_hidden = 50", "_bank"}, Change{"kv_heads = 2", "kv_heads = 4", "kv_bank"}}) {
    const auto s = load(test::replaced(small_config(system), from, to));
    model::Gpt model(s.model);
    const Status status = import_weights(path, model);
    ASSERT_FALSE(status) << to;
    for (const std::string& part : {std::string("model.") + to, std::string(bank), path}) {
      EXPECT_NE(status.error().message().find(part), std::string::npos) << part << ": " << status.error().message();
    }
  }
}

TEST_P(SystemImport, AValueThatIsNotFiniteIsNamed) {
  const System& system = GetParam();
  auto tensors = state_dict(system);
  tensors.back().values.back() = std::numeric_limits<float>::quiet_NaN();
  write(tensors);
  const auto s = load(small_config(system));
  model::Gpt model(s.model);
  model.initialise(1);
  const auto before = export_weights(model, s);
  const Status status = import_weights(path, model);
  ASSERT_FALSE(status);
  for (const std::string& part : {tensors.back().spec.name, std::string("not finite"), path}) {
    EXPECT_NE(status.error().message().find(part), std::string::npos) << part << ": " << status.error().message();
  }
  EXPECT_EQ(*export_weights(model, s), *before);
}

TEST_P(SystemImport, AMissingAndAnUnknownTensorAreNamed) {
  const System& system = GetParam();
  const auto s = load(small_config(system));
  model::Gpt model(s.model);
  model.initialise(1);
  auto tensors = state_dict(system);
  const std::string last = tensors.back().spec.name;
  tensors.back().spec.name = "blocks.11.attn.c_q.weight";
  write(tensors);
  Status status = import_weights(path, model);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message().find("blocks.11.attn.c_q.weight"), std::string::npos) << status.error().message();
  tensors.pop_back();
  write(tensors);
  status = import_weights(path, model);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message().find(last), std::string::npos) << status.error().message();
}

INSTANTIATE_TEST_SUITE_P(Published, SystemImport, ::testing::ValuesIn(kSystems), [](const auto& info) {
  std::string name = info.param.folder;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace fairway::replay
