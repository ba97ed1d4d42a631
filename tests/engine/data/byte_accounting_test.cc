#include "engine/data/byte_accounting.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <map>

#include "tests/engine/data/fixtures.h"

namespace fairway::data {
namespace {

using test::slurp;

Tokenizer load(const std::string& path) {
  auto tokenizer = Tokenizer::load(path);
  EXPECT_TRUE(tokenizer) << tokenizer.error().message();
  return std::move(*tokenizer);
}

std::vector<uint16_t> document(const Tokenizer& tokenizer, std::string_view text) {
  const auto ids = tokenizer.encode(text);
  EXPECT_TRUE(ids) << ids.error().message();
  std::vector<uint16_t> tokens = {tokenizer.bos_id()};
  tokens.insert(tokens.end(), ids->begin(), ids->end());
  return tokens;
}

uint64_t all_bytes(const ByteAccounting& accounting, const std::vector<uint16_t>& tokens) {
  return accounting.total_bytes(tokens, 0, tokens.size() - 1);
}

TEST(ByteAccounting, TablesOfThePublished1024Model) {
  FAIRWAY_SHARED_OR_SKIP(path, "tokenizers/fineweb_1024_bpe.model");
  const Tokenizer tokenizer = load(path);
  const ByteAccounting accounting(tokenizer, 1024);
  ASSERT_EQ(accounting.size(), 1024u);
  int boundaries = 0, leads = 0;
  uint32_t sum = 0;
  std::map<uint32_t, int> histogram;
  for (int id = 0; id < 1024; ++id) {
    const auto i = static_cast<uint16_t>(id);
    leads += accounting.lead(i);
    sum += accounting.base(i);
    if (accounting.boundary(i)) {
      ++boundaries;
      EXPECT_LT(id, 4);
      EXPECT_EQ(accounting.base(i), 0u);
      EXPECT_FALSE(accounting.lead(i));
    } else {
      ++histogram[accounting.base(i)];
    }
  }
  EXPECT_EQ(boundaries, 4);
  EXPECT_EQ(leads, 325);
  EXPECT_EQ(sum, 2330u);
  const std::map<uint32_t, int> expected = {{0, 1}, {1, 385}, {2, 210}, {3, 248}, {4, 123}, {5, 42},
                                            {6, 5}, {7, 3},   {8, 1},   {9, 1},   {11, 1}};
  EXPECT_EQ(histogram, expected);
  EXPECT_EQ(accounting.base(939), 0u);
  EXPECT_TRUE(accounting.lead(939));
}

TEST(ByteAccounting, IdsBeyondTheTokenizerAreBoundariesAndASmallerVocabularyCutsNothing) {
  FAIRWAY_SHARED_OR_SKIP(path, "tokenizers/fineweb_1024_bpe.model");
  const Tokenizer tokenizer = load(path);
  const ByteAccounting wide(tokenizer, 1100);
  ASSERT_EQ(wide.size(), 1100u);
  EXPECT_TRUE(wide.boundary(1024));
  EXPECT_TRUE(wide.boundary(1099));
  EXPECT_EQ(wide.bytes(500, 1099), 0u);
  EXPECT_EQ(ByteAccounting(tokenizer, 10).size(), 1024u);
}

TEST(ByteAccounting, SpaceIsChargedToItsTokenExceptAfterABoundary) {
  FAIRWAY_SHARED_OR_SKIP(path, "tokenizers/fineweb_1024_bpe.model");
  const Tokenizer tokenizer = load(path);
  const ByteAccounting accounting(tokenizer, 1024);
  const uint16_t bos = tokenizer.bos_id();
  EXPECT_EQ(accounting.bytes(bos, 939), 0u);
  EXPECT_EQ(accounting.bytes(939, 939), 1u);
  EXPECT_EQ(accounting.bytes(4 + 'x', bos), 0u) << "a BOS target has no bytes";
  EXPECT_EQ(accounting.bytes(bos, 4 + 'x'), 1u);
}

TEST(ByteAccounting, ShortTextOfTheSpecification) {
  FAIRWAY_SHARED_OR_SKIP(path, "tokenizers/fineweb_1024_bpe.model");
  const Tokenizer tokenizer = load(path);
  const ByteAccounting accounting(tokenizer, 1024);
  EXPECT_EQ(all_bytes(accounting, document(tokenizer, "Hello  world\n\nfoo\tbar  ")), 19u);
}

TEST(ByteAccounting, TinyShakespeareAsOneDocument) {
  FAIRWAY_SHARED_OR_SKIP(path, "tokenizers/fineweb_1024_bpe.model");
  FAIRWAY_SHARED_OR_SKIP(text_path, "text/tinyshakespeare.txt");
  const std::string text = slurp(text_path);
  ASSERT_EQ(text.size(), 1'115'394u);
  const Tokenizer tokenizer = load(path);
  const auto tokens = document(tokenizer, text);
  EXPECT_EQ(tokens.size() - 1, 488'897u);
  const ByteAccounting accounting(tokenizer, 1024);
  EXPECT_EQ(all_bytes(accounting, tokens), 1'108'152u);
  // A sum over parts is the sum of the parts, wherever a window starts.
  EXPECT_EQ(accounting.total_bytes(tokens, 0, 1000) + accounting.total_bytes(tokens, 1000, 487'897), 1'108'152u);
}

// For any document, the bytes are the UTF-8 length of the normalised text; with both published vocabularies.
TEST(ByteAccounting, BytesOfADocumentAreTheLengthOfItsDecodedText) {
  int models = 0;
  for (const char* name : {"tokenizers/fineweb_1024_bpe.model", "tokenizers/fineweb_8192_bpe.model"}) {
    const auto path = test::shared_file(name);
    if (!path) continue;
    ++models;
    const Tokenizer tokenizer = load(*path);
    const ByteAccounting accounting(tokenizer, tokenizer.vocab_size());
    EXPECT_TRUE(rc::check(name, [&] {
      const auto words = *rc::gen::container<std::vector<std::string>>(rc::gen::element<std::string>(
          " ", "  ", "\n", "\t", "the", " and", "q", "Zx", "7", "2024", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
          "\xe6\xbc\xa2", ".", ",\n\n", "\xc2\xa0", "ing"));
      std::string text;
      for (const std::string& word : words) text += word;
      const auto tokens = document(tokenizer, text);
      const auto decoded = tokenizer.decode(std::span(tokens).subspan(1));
      RC_ASSERT(static_cast<bool>(decoded));
      RC_ASSERT(all_bytes(accounting, tokens) == decoded->size());
    }));
  }
  if (models == 0) GTEST_SKIP() << "../shared/tokenizers is absent";
}

TEST(ByteAccountingDeathTest, ARangeBeyondTheTokensIsOurOwnError) {
  FAIRWAY_SHARED_OR_SKIP(path, "tokenizers/fineweb_1024_bpe.model");
  const Tokenizer tokenizer = load(path);
  const ByteAccounting accounting(tokenizer, 1024);
  const std::vector<uint16_t> tokens = {1, 5, 6};
  EXPECT_EQ(accounting.total_bytes(tokens, 0, 2), 2u);
  EXPECT_EQ(accounting.total_bytes(tokens, 3, 0), 0u);
  EXPECT_DEATH(static_cast<void>(accounting.total_bytes(tokens, 0, 3)), "does not hold");
  EXPECT_DEATH(static_cast<void>(accounting.total_bytes(tokens, 2, SIZE_MAX)), "does not hold");
  EXPECT_DEATH(static_cast<void>(accounting.total_bytes(std::vector<uint16_t>{1, 1024}, 0, 1)), "does not hold");
}

// Published counts of the current export: standard evaluation, and sliding with the duplicated tail.
constexpr ScoredCounts kStandard = {62'021'632, 151'080'363};
constexpr ScoredCounts kSliding = {62'023'616, 151'084'796};

double bpb_of_mean(double nats_per_token, const ScoredCounts& counts) {
  return bits_per_byte(nats_per_token * static_cast<double>(counts.tokens), counts.bytes);
}

TEST(BitsPerByte, WorkedExamplesToTheirLastPrintedDigit) {
  EXPECT_NEAR(bpb_of_mean(2.02025601, kStandard), 1.19650941, 0.6e-8);
  EXPECT_NEAR(bpb_of_mean(1.89385556, kSliding), 1.12165091, 0.6e-8);
  // Of the older export only the ratio is known, to eight digits.
  EXPECT_NEAR(bpb_of_mean(2.07269931, {40'944'947, 100'000'000}), 1.22436570, 2e-8);
}

// Ten bits per token. The counts give ...803; a ratio rounded to 0.410520805 beforehand would give ...805.
TEST(BitsPerByte, UniformDistributionOver1024Tokens) {
  EXPECT_NEAR(bpb_of_mean(std::log(1024.0), kStandard), 4.10520803, 0.5e-8);
}

TEST(BitsPerByte, OneNatPerByteIsOneOverLn2WithOneRoundingPerOperation) {
  EXPECT_EQ(bits_per_byte(kLn2, 1), 1.0);
  EXPECT_EQ(bits_per_byte(3.0 * kLn2, 3), 1.0);
  EXPECT_EQ(bits_per_byte(0.0, 5), 0.0);
  // Dividing by ln 2 first gives other bits here, so the stated order is what this compares.
  const double total = 125300006.0;
  const double denominator = 0x1.62e42fefa39efp-1 * 151080363.0;
  EXPECT_EQ(bits_per_byte(total, 151'080'363), total / denominator);
  EXPECT_NE(total / kLn2 / 151080363.0, total / denominator);
}

TEST(BitsPerByteDeathTest, NoBytesIsOurOwnError) {
  EXPECT_DEATH(static_cast<void>(bits_per_byte(1.0, 0)), "does not hold");
}

TEST(UnitConversions, FactorsOfTheCurrentExport) {
  EXPECT_NEAR(nats_per_token_from_bpb(1.0, kStandard), 1.688458, 0.5e-6);
  EXPECT_NEAR(bpb_from_nats_per_token(0.005, kStandard), 0.00296128, 0.5e-8);
  EXPECT_NEAR(nats_per_byte_from_bpb(1.0), 0.693147, 0.5e-6);
  EXPECT_NEAR(bpb_from_nats_per_byte(0.005), 0.00721348, 0.5e-8);
  EXPECT_NEAR(nats_per_token_from_bpb(1.0, kStandard) / nats_per_byte_from_bpb(1.0), 2.43593014, 0.5e-8);
}

RC_GTEST_PROP(UnitConversions, ThereAndBackIsTheSameNumberToAFewUlp, ()) {
  const double bpb = *rc::gen::inRange(1, 8'000'000) / 1e6;
  const ScoredCounts counts = {*rc::gen::inRange<uint64_t>(1, 1u << 30), *rc::gen::inRange<uint64_t>(1, 1u << 30)};
  RC_ASSERT(std::fabs(bpb_from_nats_per_byte(nats_per_byte_from_bpb(bpb)) - bpb) <= 1e-15 * bpb);
  RC_ASSERT(std::fabs(bpb_from_nats_per_token(nats_per_token_from_bpb(bpb, counts), counts) - bpb) <= 1e-15 * bpb);
}

}  // namespace
}  // namespace fairway::data
