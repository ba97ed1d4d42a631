#include "engine/quant/export_rules.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "engine/quant/artifact_size.h"
#include "tests/engine/quant/state_dicts.h"

namespace fairway::quant {
namespace {

std::map<std::string, ContainerEntry> plan_of(const ModelShape& shape, const ExportScheme& scheme) {
  auto plan = plan_export(state_dict(shape), scheme);
  EXPECT_TRUE(plan) << plan.error().message();
  std::map<std::string, ContainerEntry> by_name;
  for (const ContainerEntry& entry : *plan) by_name[entry.spec.name] = entry;
  return by_name;
}

TEST(ExportRules, PublishedPayloadCountsAreReproduced) {
  std::vector<TensorSpec> baseline = state_dict(baseline_shape());
  EXPECT_EQ(baseline.size(), 92u);
  auto plan = plan_export(baseline, scheme_int8());
  ASSERT_TRUE(plan);
  EXPECT_EQ(payload_size_bytes(*plan), 17'178'912u);

  std::vector<TensorSpec> pr65 = state_dict(pr65_shape());
  plan = plan_export(pr65, scheme_mixed_int6());
  ASSERT_TRUE(plan);
  EXPECT_EQ(payload_size_bytes(*plan), 21'906'720u);
}

uint64_t payload(const ModelShape& shape, const ExportScheme& scheme) {
  auto plan = plan_export(state_dict(shape), scheme);
  EXPECT_TRUE(plan) << plan.error().message();
  return payload_size_bytes(*plan);
}

TEST(ExportRules, PublishedPayloadsOfThePerRowFamilyAreReproduced) {
  ExportScheme embed_fp16 = scheme_int6();
  embed_fp16.fp16_patterns = {"tok_emb.weight"};
  EXPECT_EQ(payload(pr65_shape(), embed_fp16), 22'428'960u);  // 212a

  ModelShape pr65b = pr65_shape();
  pr65b.bigram_buckets = 4096;
  pr65b.bigram = "bigram_hash";
  pr65b.bigram_table = "table";
  pr65b.bigram_scale = false;
  pr65b.smear = {{"smeargate.gate", {512}, FloatFormat::kF32}};
  ExportScheme substrings = scheme_int6();
  substrings.fp16_patterns = {"tok_emb", "bigram_hash"};
  EXPECT_EQ(state_dict(pr65b).size(), 95u);
  EXPECT_EQ(payload(pr65b, substrings), 23'609'632u);

  ModelShape pr212b = eleven_layers(2048);
  pr212b.bigram = "bigram_hash";
  pr212b.bigram_scale = false;
  pr212b.smear = {{"smear_gate.gate.weight", {1, 12}, FloatFormat::kBf16},
                  {"smear_gate.gate.bias", {1}, FloatFormat::kF32}};
  ExportScheme late_keys = scheme_int6();
  late_keys.fp16_patterns = {"tok_emb.weight", "blocks.9.attn.c_k.weight", "blocks.10.attn.c_k.weight"};
  EXPECT_EQ(state_dict(pr212b).size(), 116u);
  EXPECT_EQ(payload(pr212b, late_keys), 27'838'842u);

  ModelShape pr212c = eleven_layers(2048);
  pr212c.bigram = "bigram_hash";
  pr212c.smear = {{"smear_gate.gate", {512}, FloatFormat::kF32}};
  EXPECT_EQ(payload(pr212c, scheme_int6()), 27'056'482u);

  ModelShape pr635 = eleven_layers(1536);
  pr635.value_residual_and_gate = true;
  ExportScheme pr635_scheme = scheme_int6();
  pr635_scheme.fp16_patterns = {"tok_emb.weight"};
  for (const char* pattern : {"smear", "vr_lambda", "attn_gate", "bigram_scale"}) {
    pr635_scheme.control_patterns.push_back(pattern);
  }
  EXPECT_EQ(state_dict(pr635).size(), 149u);
  EXPECT_EQ(payload(pr635, pr635_scheme), 27'693'850u);
}

TEST(ExportRules, PublishedPayloadsOfTheCategoryFamilyAreReproduced) {
  const ExportScheme scheme = scheme_int6_by_category();
  EXPECT_EQ(payload(eleven_layers(2048), scheme), 27'006'130u);  // 287
  ModelShape pr414 = eleven_layers(2048);
  pr414.value_embedding = true;
  EXPECT_EQ(payload(pr414, scheme), 27'204'792u);  // 374, 414
  ModelShape pr549 = eleven_layers(1536);
  pr549.value_embedding = true;
  EXPECT_EQ(state_dict(pr549).size(), 121u);
  EXPECT_EQ(payload(pr549, scheme), 27'138'232u);
}

TEST(ExportRules, CategoriesAreDecidedInTheirOrder) {
  const ExportScheme scheme = scheme_int6_by_category();
  auto entry_of = [&](const std::string& name, std::vector<int64_t> shape) {
    auto entry = plan_tensor({name, std::move(shape), FloatFormat::kF32}, scheme);
    EXPECT_TRUE(entry) << entry.error().message();
    return *entry;
  };
  EXPECT_EQ(entry_of("blocks.3.attn.c_q.weight", {512, 512}).limit, 31);
  EXPECT_EQ(entry_of("bigram.proj.weight", {512, 129}).limit, 31);
  EXPECT_EQ(entry_of("bigram.embed.weight", {2048, 128}).limit, 127);
  EXPECT_EQ(entry_of("lm_head.weight", {1024, 512}).limit, 127);
  EXPECT_EQ(entry_of("skip_weights", {5, 512}).storage, Storage::kFloat16);       // small: before the control test
  EXPECT_EQ(entry_of("skip_weights", {200, 512}).storage, Storage::kFloat32);     // large
  EXPECT_EQ(entry_of("blocks.0.attn_scale", {512}).storage, Storage::kFloat16);
}

TEST(ExportRules, HeadsThatServeTrainingAloneAreNotExported) {
  EXPECT_FALSE(is_exported("mtp_heads.0.weight"));
  EXPECT_TRUE(is_exported("lm_head.weight"));
}

TEST(ExportRules, ParameterCountsOfTheTestModelsAreThePublishedOnes) {
  auto count = [](const ModelShape& shape) {
    uint64_t total = 0;
    for (const TensorSpec& spec : state_dict(shape)) total += *element_count(spec.shape);
    return total;
  };
  EXPECT_EQ(count(baseline_shape()), 17'059'912u);
  EXPECT_EQ(count(pr65_shape()), 21'778'504u);
  EXPECT_EQ(count(eleven_layers(2048)), 26'829'913u);  // 287
}

TEST(ExportRules, OurContainerCostsFewerBytesThanThePublishedOnes) {
  auto plan = plan_export(state_dict(baseline_shape()), scheme_int8());
  ASSERT_TRUE(plan);
  EXPECT_LT(container_size_bytes(*plan), 17'224'025u);
  plan = plan_export(state_dict(pr65_shape()), scheme_mixed_int6());
  ASSERT_TRUE(plan);
  EXPECT_LT(container_size_bytes(*plan), 21'951'833u);
}

TEST(ExportRules, TheBaselineUsesOneLimitForAllMatrices) {
  auto plan = plan_of(baseline_shape(), scheme_int8());
  for (const auto& [name, entry] : plan) {
    if (name.ends_with(".weight")) {
      EXPECT_EQ(entry.storage, Storage::kInt8Rows) << name;
      EXPECT_EQ(entry.limit, 127) << name;
    } else {
      EXPECT_EQ(entry.storage, Storage::kFloat32) << name;
      EXPECT_EQ(entry.limit, 0) << name;
    }
  }
}

TEST(ExportRules, MixedInt6KeepsTheEmbeddingAtInt8) {
  auto plan = plan_of(pr65_shape(), scheme_mixed_int6());
  EXPECT_EQ(plan.at("tok_emb.weight").limit, 127);
  EXPECT_EQ(plan.at("blocks.0.mlp.proj.weight").limit, 31);
  EXPECT_EQ(plan.at("blocks.8.attn.c_k.weight").limit, 31);
  EXPECT_EQ(plan.at("blocks.8.attn.q_gain").storage, Storage::kFloat32);
  EXPECT_EQ(plan.at("skip_weights").storage, Storage::kFloat32);
}

TEST(ExportRules, SizeDecidesBeforeTheNameAndTheBorderBelongsToTheSmall) {
  ExportScheme scheme = scheme_mixed_int6();
  auto storage = [&](const std::string& name, std::vector<int64_t> shape) {
    auto entry = plan_tensor({name, std::move(shape), FloatFormat::kF32}, scheme);
    EXPECT_TRUE(entry) << entry.error().message();
    return entry->storage;
  };
  EXPECT_EQ(storage("bigram.proj.weight", {512, 128}), Storage::kFloat16);  // exactly 65,536
  EXPECT_EQ(storage("bigram.proj.weight", {512, 129}), Storage::kInt8Rows);
  EXPECT_EQ(storage("x.resid_mix", {256, 256}), Storage::kFloat32);
  EXPECT_EQ(storage("x.resid_mix", {256, 257}), Storage::kInt8Rows);  // a large tensor is quantised whatever its name
  EXPECT_EQ(storage("bigram.scale", {}), Storage::kFloat16);          // matches no control pattern
  EXPECT_EQ(storage("skip_weights", {0, 512}), Storage::kFloat32);
  EXPECT_EQ(storage("blocks.0.attn.c_q.weight", {64, 64}), Storage::kFloat16);  // a reduced model
}

TEST(ExportRules, LargeTensorsThatAreNotMatricesAreRefusedByName) {
  auto entry = plan_tensor({"qo_bank", {22, 512, 512}, FloatFormat::kF32}, scheme_int8());
  ASSERT_FALSE(entry);
  EXPECT_EQ(entry.error().where, "qo_bank");
  EXPECT_FALSE(plan_tensor({"row", {70000}, FloatFormat::kF32}, scheme_int8()));
  EXPECT_FALSE(plan_tensor({"overflow", {int64_t{1} << 40, int64_t{1} << 40}, FloatFormat::kF32}, scheme_int8()));
  EXPECT_FALSE(plan_tensor({"negative", {-1, 5}, FloatFormat::kF32}, scheme_int8()));
}

TEST(ExportRules, SchemesAreFoundByNameAndOthersAreListed) {
  ASSERT_TRUE(scheme_by_name("int8"));
  EXPECT_EQ(scheme_by_name("mixed_int6")->block_rule().limit, 31);
  auto unknown = scheme_by_name("int4");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Errc::kUsage);
  EXPECT_NE(unknown.error().what.find("mixed_int6"), std::string::npos);
}

TEST(PackTensor, SmallTensorsTakeTheirRoundTripThroughBinary16) {
  ContainerEntry entry{{"g", {3}, FloatFormat::kBf16}, Storage::kFloat16, 0};
  auto packed = pack_tensor(entry, std::vector<float>{0.1f, -2.0f, 3e-9f}, kExportQuantile);
  ASSERT_TRUE(packed);
  EXPECT_EQ(packed->half_bits, (std::vector<uint16_t>{0x2e66, 0xc000, 0x0000}));
  NamedTensor restored = restore_tensor(*packed);
  EXPECT_EQ(restored.values[0], num::round_to_bf16(num::from_fp16_bits(0x2e66)));
}

TEST(PackTensor, ValuesThatCannotBeStoredAreErrorsThatNameTheTensor) {
  float infinity = std::numeric_limits<float>::infinity();
  for (Storage storage : {Storage::kFloat32, Storage::kFloat16}) {
    auto packed = pack_tensor({{"gate", {2}, FloatFormat::kF32}, storage, 0}, std::vector<float>{1.0f, infinity}, 1.0f);
    ASSERT_FALSE(packed);
    EXPECT_EQ(packed.error().where, "gate");
  }
  ContainerEntry half{{"gate", {2}, FloatFormat::kF32}, Storage::kFloat16, 0};
  EXPECT_TRUE(pack_tensor(half, std::vector<float>{65519.0f, -65519.0f}, 1.0f));
  EXPECT_FALSE(pack_tensor(half, std::vector<float>{1.0f, 65520.0f}, 1.0f));
}

TEST(ArtifactSize, PublishedTotalsAddUpAndTheLimitIsInclusive) {
  EXPECT_EQ((ArtifactSize{47'642, 15'815'847}.total_bytes()), 15'863'489u);
  EXPECT_EQ((ArtifactSize{56'770, 15'296'720}.total_bytes()), 15'353'490u);
  EXPECT_EQ((ArtifactSize{89'458, 15'887'928}.total_bytes()), 15'977'386u);
  EXPECT_TRUE((ArtifactSize{1'000, 15'999'000}.within_limit()));
  EXPECT_FALSE((ArtifactSize{1'001, 15'999'000}.within_limit()));
  EXPECT_FALSE((ArtifactSize{UINT64_MAX, 2}.within_limit()));
}

}  // namespace
}  // namespace fairway::quant
