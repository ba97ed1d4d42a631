#include "engine/replay/artifact.h"
#include "engine/replay/import.h"

#include <gtest/gtest.h>

#include "engine/base/file.h"
#include "engine/quant/safetensors.h"
#include "kernels/num/half.h"
#include "tests/engine/model/small_model.h"
#include "tests/support/tiny_submission.h"

namespace fairway::replay {
namespace {

using model::Gpt;
using test::replaced;
using test::slurp;
using test::spill;
using Values = std::vector<std::vector<float>>;

Values values(const Gpt& m) {
  Values out;
  for (const auto& p : m.parameters()) out.emplace_back(std::as_const(*p).values().begin(), std::as_const(*p).values().end());
  return out;
}

std::string_view text_of(const std::vector<std::byte>& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

class Artifact : public ::testing::Test {
 protected:
  // Wide enough that a matrix exceeds 65,536 elements and is stored as integers.
  Artifact() : t(config("int8", "zlib-9")), s(t.load()), model(s.model) {
    model.initialise(5);
    test::perturb(model, 11);
  }
  static std::string config(const char* scheme, const char* codec) {
    const std::string wide = replaced(replaced(test::kTinyConfig, "width = 32", "width = 128"), "mlp_hidden = 48", "mlp_hidden = 576");
    return replaced(replaced(wide, "\"int8\"", std::string("\"") + scheme + "\""), "\"zlib-9\"", std::string("\"") + codec + "\"");
  }
  test::TinySubmission t;
  submission::Submission s;
  Gpt model;
};

TEST_F(Artifact, UnpackingLeavesNothingOfParametersThatNoContainerHolds) {
  t.text = replaced(t.text, "width = 128", "width = 128\nmtp_heads = 1");
  s = t.load();
  Gpt trained(s.model), fresh(s.model);
  trained.initialise(5);
  test::perturb(trained, 11);
  const auto packed = pack(trained, s);
  ASSERT_TRUE(packed) << packed.error().message();
  ASSERT_TRUE(unpack(packed->container, s, "memory", trained));
  ASSERT_TRUE(unpack(packed->container, s, "memory", fresh));
  EXPECT_EQ(values(trained), values(fresh));
  for (float x : std::as_const(*trained.find("mtp_heads.0.weight")).values()) ASSERT_EQ(x, 0.0f);
}

TEST_F(Artifact, PackFileUnpackGivesTheQuantisedValues) {
  for (const auto& [scheme, codec] : {std::pair{"int8", "zlib-9"}, {"mixed_int6", "zstd-22"}}) {
    t.text = config(scheme, codec);
    s = t.load();
    const auto packed = pack(model, s);
    ASSERT_TRUE(packed) << packed.error().message();
    const std::string path = t.folder / artifact_file_name(s.codec);
    ASSERT_TRUE(write_file_atomic(path, packed->compressed));
    Gpt restored(s.model);
    const auto container = read_artifact(path, s, restored);
    ASSERT_TRUE(container) << container.error().message();
    EXPECT_EQ(*container, packed->container);
    EXPECT_EQ(sha256(*container), packed->container_sha256);
    ASSERT_TRUE(unpack(*container, s, path, restored));
    // The quantiser and the restoring function, called for each tensor alone.
    size_t quantised = 0;
    for (size_t i = 0; i < model.parameters().size(); ++i) {
      const model::Parameter& p = *model.parameters()[i];
      const quant::TensorSpec spec{p.name(), p.shape(), p.bf16() ? quant::FloatFormat::kBf16 : quant::FloatFormat::kF32};
      const auto entry = quant::plan_tensor(spec, s.scheme);
      ASSERT_TRUE(entry);
      quantised += entry->storage == quant::Storage::kInt8Rows;
      const auto one = quant::pack_tensor(*entry, p.values(), quant::kExportQuantile);
      ASSERT_TRUE(one);
      EXPECT_TRUE(values(restored)[i] == quant::restore_tensor(*one).values) << p.name();
    }
    EXPECT_EQ(quantised, 4u);  // mlp.fc and mlp.proj of two layers
    EXPECT_EQ(packed->float32_bytes, static_cast<uint64_t>(model.parameter_count()) * 4);
    EXPECT_LT(packed->payload_bytes, packed->container.size());
    EXPECT_LT(packed->compressed.size(), packed->float32_bytes / 2);
  }
}

TEST_F(Artifact, UnpackingMakesTheModelForgetItsOldWeights) {
  const test::Sample sample(2, 20, 96, 4);
  const auto packed = pack(model, s);
  ASSERT_TRUE(packed);
  Gpt fresh(s.model);
  ASSERT_TRUE(unpack(packed->container, s, "c", fresh));
  const auto expected = test::nll_of(fresh, sample.batch(false));
  EXPECT_NE(test::nll_of(model, sample.batch(false)), expected);
  ASSERT_TRUE(unpack(packed->container, s, "c", model));
  EXPECT_EQ(test::nll_of(model, sample.batch(false)), expected);
}

TEST_F(Artifact, OfAnotherConfigIsRefused) {
  const auto packed = pack(model, s);
  ASSERT_TRUE(packed);
  for (const auto& [from, to] : {std::pair{"layers = 2", "layers = 3"}, {"\"int8\"", "\"mixed_int6\""}, {"vocab_size = 96", "vocab_size = 97"},
                                 {"kv_heads = 2", "kv_heads = 4"}}) {
    test::TinySubmission other(replaced(config("int8", "zlib-9"), from, to));
    const auto os = other.load();
    Gpt m(os.model);
    const Values before = values(m);
    const Status status = unpack(packed->container, os, "model.zlib", m);
    ASSERT_FALSE(status) << to;
    EXPECT_EQ(status.error().code, Errc::kData);
    EXPECT_TRUE(status.error().where.starts_with("model.zlib")) << status.error().message();
    EXPECT_TRUE(values(m) == before) << to;
  }
}

TEST_F(Artifact, TruncatedOrFlippedFilesAreRefused) {
  for (const char* codec : {"zlib-9", "zstd-22"}) {
    t.text = config("int8", codec);
    s = t.load();
    const auto packed = pack(model, s);
    ASSERT_TRUE(packed);
    const std::string path = t.folder / "file", good(text_of(packed->compressed));
    auto refused = [&](const std::string& bytes) {
      spill(path, bytes);
      const auto container = read_artifact(path, s, model);
      if (container) return sha256(*container) != packed->container_sha256;
      EXPECT_EQ(container.error().code, Errc::kData);
      EXPECT_TRUE(container.error().where.starts_with(path)) << container.error().message();
      return true;
    };
    for (size_t size : {size_t{0}, size_t{1}, size_t{10}, good.size() / 2, good.size() - 1}) EXPECT_TRUE(refused(good.substr(0, size))) << size;
    EXPECT_TRUE(refused(good + "x"));
    for (size_t at = 8; at < good.size(); at += good.size() / 40) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 0x04);
      EXPECT_TRUE(refused(bad)) << codec << " " << at;
    }
    EXPECT_FALSE(refused(good));
  }
}

TEST_F(Artifact, AFileThatExpandsBeyondThePlanIsRefused) {
  const std::vector<std::byte> zeros(100'000'000);
  const auto bomb = quant::compress({quant::Codec::kZstd, 1}, zeros);
  ASSERT_TRUE(bomb);
  t.text = config("int8", "zstd-22");
  s = t.load();
  spill(t.folder / "bomb", text_of(*bomb));
  const auto container = read_artifact(t.folder / "bomb", s, model);
  ASSERT_FALSE(container);
  EXPECT_EQ(container.error().code, Errc::kData);
}

TEST_F(Artifact, AMissingFileIsMissingInput) {
  EXPECT_EQ(read_artifact(t.folder / "none", s, model).error().code, Errc::kNoInput);
}

TEST_F(Artifact, AValueThatIsNotFiniteCannotBePackedAndIsNamed) {
  model.find("blocks.1.mlp.fc.weight")->value()[7] = NAN;
  const auto packed = pack(model, s);
  ASSERT_FALSE(packed);
  EXPECT_EQ(packed.error().code, Errc::kData);
  EXPECT_NE(packed.error().where.find("blocks.1.mlp.fc.weight"), std::string::npos);
}

TEST_F(Artifact, AModelOfOneLayerWithoutSkipWeightsRoundTrips) {
  test::TinySubmission one(replaced(test::kTinyConfig, "layers = 2", "layers = 1"));
  const auto os = one.load();
  Gpt m(os.model), back(os.model);
  m.initialise(1);
  const auto packed = pack(m, os);
  ASSERT_TRUE(packed) << packed.error().message();
  ASSERT_TRUE(unpack(packed->container, os, "c", back));
}

TEST_F(Artifact, WeightsRoundTripThroughSafetensorsToTheBit) {
  const auto bytes = export_weights(model, s);
  ASSERT_TRUE(bytes) << bytes.error().message();
  spill(t.folder / "w.safetensors", text_of(*bytes));
  Gpt other(s.model);
  ASSERT_TRUE(import_weights(t.folder / "w.safetensors", other));
  EXPECT_TRUE(values(other) == values(model));
  const test::Sample sample(2, 20, 96, 4);
  EXPECT_EQ(test::nll_of(other, sample.batch(false)), test::nll_of(model, sample.batch(false)));
}

class Import : public Artifact {
 protected:
  /// Writes all tensors after `edit` and returns the error of reading them.
  std::string error_after(const std::function<void(std::vector<quant::NamedTensor>&)>& edit) {
    std::vector<quant::NamedTensor> tensors;
    for (const auto& p : model.parameters()) {
      tensors.push_back({{p->name(), p->shape(), quant::FloatFormat::kF32}, {p->values().begin(), p->values().end()}});
    }
    edit(tensors);
    std::vector<quant::TensorView> views;
    for (const auto& n : tensors) views.push_back({n.spec, n.values});
    const auto bytes = quant::write_safetensors(views, {});
    EXPECT_TRUE(bytes);
    spill(t.folder / "w", text_of(*bytes));
    Gpt m(s.model);
    const Status status = import_weights(t.folder / "w", m);
    if (status) return "";
    EXPECT_EQ(status.error().code, Errc::kData);
    EXPECT_TRUE(values(m) == values(Gpt(s.model))) << "a refused file changed the model";
    return status.error().message().substr((t.folder / "w").size());
  }
};

TEST_F(Import, AWrongShapeAMissingAndAnExtraTensorAreNamed) {
  EXPECT_EQ(error_after([](auto&) {}), "");
  EXPECT_EQ(error_after([](auto& w) { w[3].spec.shape = {2, 64}; }), " tensor " + model.parameters()[3]->name() + ": shape [2,64] instead of [128]");
  EXPECT_EQ(error_after([](auto& w) { w.erase(w.begin() + 4); }), ": the tensor " + model.parameters()[4]->name() + " is missing");
  EXPECT_EQ(error_after([](auto& w) { w.push_back({{"lm_head.weight", {1}, quant::FloatFormat::kF32}, {1.0f}}); }),
            " tensor lm_head.weight: the model has no parameter of this name");
}

TEST_F(Import, BadFilesAreErrorsOfTheirKind) {
  Gpt m(s.model);
  EXPECT_EQ(import_weights(t.folder / "none", m).error().code, Errc::kNoInput);
  spill(t.folder / "w", "not safetensors");
  EXPECT_EQ(import_weights(t.folder / "w", m).error().code, Errc::kData);
}

}  // namespace
}  // namespace fairway::replay
