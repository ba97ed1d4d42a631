/// Upstream artifacts put into a model of ours; the files are PyTorch's (tests/golden/make_upstream_artifacts.py).
#include "engine/replay/import.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "engine/base/file.h"
#include "engine/quant/container.h"
#include "engine/replay/artifact.h"
#include "kernels/num/float_bits.h"
#include "tests/support/tiny_submission.h"

namespace fairway::replay {
namespace {

using test::replaced;

std::string golden(const std::string& name) { return std::string(FAIRWAY_SOURCE_DIR) + "/tests/golden/upstream/" + name; }

/// The model of the golden files.
std::string golden_config() {
  std::string text = test::kTinyConfig;
  text = replaced(text, "vocab_size = 96", "vocab_size = 12");
  text = replaced(text, "width = 32", "width = 8");
  text = replaced(text, "heads = 4", "heads = 2");
  text = replaced(text, "kv_heads = 2", "kv_heads = 1");
  return replaced(text, "mlp_hidden = 48", "mlp_hidden = 12");
}

class UpstreamImport : public ::testing::Test {
 protected:
  UpstreamImport() : t(golden_config()), s(t.load()), model(s.model) {}
  test::TinySubmission t;
  submission::Submission s;
  model::Gpt model;
};

TEST_F(UpstreamImport, EveryFormGivesTheModelPyTorchsBits) {
  auto text = read_file(golden("expected.json"), 1 << 20);
  ASSERT_TRUE(text);
  const auto expected = nlohmann::json::parse(std::string(reinterpret_cast<const char*>(text->data()), text->size()));
  for (const char* name : {"per_row_int8.zlib", "per_row_int6.zst", "by_category.xz", "plain.pt", "banks.pt"}) {
    model.initialise(1);
    const auto status = load_artifact(golden(name), s, model);
    ASSERT_TRUE(status) << status.error().message();
    for (const auto& p : model.parameters()) {
      const auto bits = expected.at(name).at(p->name()).at("bits").get<std::vector<uint32_t>>();
      ASSERT_EQ(static_cast<size_t>(p->count()), bits.size());
      for (size_t i = 0; i < bits.size(); ++i) {
        // Where the file does not say that the embedding is bfloat16, the model does.
        const float x = quant::round_to_format(num::float_of(bits[i]), parameter_spec(*p).format);
        ASSERT_EQ(num::bits_of(p->values()[i]), num::bits_of(x)) << name << " " << p->name() << " element " << i;
      }
    }
  }
}

TEST_F(UpstreamImport, AModelOfAnotherShapeIsRefusedWithBothKeysNamed) {
  const struct {
    const char *from, *to, *tensor, *key;
  } cases[] = {{"vocab_size = 12", "vocab_size = 13", "tok_emb.weight", "model.vocab_size = 13"},
               {"mlp_hidden = 12", "mlp_hidden = 14", "mlp.fc.weight", "model.mlp_hidden = 14"},
               {"kv_heads = 1", "kv_heads = 2", "attn.c_k.weight", "model.kv_heads = 2"}};
  for (const auto& c : cases) {
    test::TinySubmission other(replaced(golden_config(), c.from, c.to));
    const auto os = other.load();
    model::Gpt m(os.model);
    const auto status = load_artifact(golden("by_category.xz"), os, m);
    ASSERT_FALSE(status) << c.to;
    EXPECT_NE(status.error().message().find(c.tensor), std::string::npos) << status.error().message();
    EXPECT_NE(status.error().message().find(c.key), std::string::npos) << status.error().message();
  }
}

// Payloads of the published logs, from the configs of the submissions themselves.
TEST(PublishedSystems, HaveThePublishedPayloads) {
  const struct {
    const char* folder;
    uint64_t payload_bytes;
  } cases[] = {{"naive-baseline", 17'178'912},    {"pr65-mixed-quant", 21'906'720},         {"pr212-nine-layer", 22'428'960},
               {"pr212-xsa-ema", 27'056'482},     {"pr549-parallel-muon-ttt", 27'138'232}, {"pr635-value-residual-ttt", 27'693'850},
               {"pr831-neural-cache", 27'006'130}};
  for (const auto& c : cases) {
    const auto s = submission::load_submission(std::string(FAIRWAY_SOURCE_DIR) + "/submissions/" + c.folder);
    ASSERT_TRUE(s) << s.error().message();
    const model::Gpt model(s->model);
    const auto entries = planned_entries(model, *s);
    ASSERT_TRUE(entries) << entries.error().message();
    EXPECT_EQ(quant::payload_size_bytes(*entries), c.payload_bytes) << c.folder;
  }
}

TEST_F(UpstreamImport, BanksOfAnotherDepthAreRefusedWithBothKeysNamed) {
  test::TinySubmission other(replaced(golden_config(), "layers = 2", "layers = 3"));
  const auto os = other.load();
  model::Gpt m(os.model);
  const auto status = load_artifact(golden("banks.pt"), os, m);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().where.find("_bank"), std::string::npos) << status.error().message();
  EXPECT_NE(status.error().what.find("model.layers = 3"), std::string::npos) << status.error().message();
}

TEST_F(UpstreamImport, OurOwnArtifactIsStillReadAndItsFaultsAreStillNamed) {
  model.initialise(3);
  const auto packed = pack(model, s);
  ASSERT_TRUE(packed);
  const std::string path = t.folder / "model.zlib";
  ASSERT_TRUE(write_file_atomic(path, packed->compressed));
  model::Gpt restored(s.model);
  ASSERT_TRUE(load_artifact(path, s, restored));
  auto damaged = packed->compressed;
  damaged[damaged.size() / 2] ^= std::byte{4};
  ASSERT_TRUE(write_file_atomic(path, damaged));
  const auto status = load_artifact(path, s, restored);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::kData);
  EXPECT_NE(status.error().what.find("zlib stream"), std::string::npos) << status.error().message();
}

TEST_F(UpstreamImport, AfterAnErrorTheModelIsAsItWas) {
  model.initialise(9);
  const auto before = export_weights(model, s);
  ASSERT_TRUE(before);
  auto bytes = read_file(golden("plain.pt"), 1 << 20);
  ASSERT_TRUE(bytes);
  (*bytes)[bytes->size() / 3] ^= std::byte{1};
  const std::string path = t.folder / "broken.pt";
  ASSERT_TRUE(write_file_atomic(path, *bytes));
  ASSERT_FALSE(load_artifact(path, s, model));
  const auto after = export_weights(model, s);
  ASSERT_TRUE(after);
  EXPECT_EQ(*before, *after);
}

}  // namespace
}  // namespace fairway::replay
