#include "verifier/audit/read/tokenizer_model.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/data/tokenizer.h"
#include "tests/verifier/audit/sentencepiece_file.h"
#include "verifier/audit/limits.h"

namespace fairway::audit {
namespace {

using namespace test_models;

TEST(TokenizerModel, CountsTheBytesOfEachPiece) {
  const auto model = read_tokenizer_model("a.model", model_file(small_vocabulary()));
  ASSERT_TRUE(model) << model.error().message();
  const std::vector<PieceBytes> expected = {{0, false, true}, {0, false, true}, {1}, {1}, {1},
                                            {0, true},        {3, true},        {1}, {2}};
  EXPECT_EQ(model->pieces, expected);
  EXPECT_TRUE(model->byte_fallback);
  EXPECT_TRUE(model->bare_space);
  const auto without = read_tokenizer_model("a.model", model_file(small_vocabulary(false)));
  ASSERT_TRUE(without);
  EXPECT_FALSE(without->bare_space);
}

TEST(TokenizerModel, UserDefinedPiecesAreTextAndUnusedOnesAreNot) {
  const auto model = read_tokenizer_model("a.model", model_file({{"\xEE\x80\x81", kUserDefined}, {"x", kUnused}}));
  ASSERT_TRUE(model);
  EXPECT_EQ(model->pieces, (std::vector<PieceBytes>{{3}, {0, false, true}}));
}

void expect_bad(const std::string& bytes, const std::string& what) {
  const auto model = read_tokenizer_model("a.model", bytes);
  ASSERT_FALSE(model) << what;
  EXPECT_EQ(model.error().code, Errc::kData);
  EXPECT_NE(model.error().message().find("a.model @ 0x"), std::string::npos) << model.error().message();
  EXPECT_NE(model.error().message().find(what), std::string::npos) << model.error().message();
}

TEST(TokenizerModel, WhatIsNoModelIsNamedWithItsOffset) {
  expect_bad("", "it has no pieces");
  expect_bad("not a model at all", "it ends inside a field");
  expect_bad(model_file({{"x", 7}}), "a piece has the type 7");
  expect_bad(model_file({{std::string(limits::kPieceBytes + 1, 'x')}}), "more than 1024 bytes");
  expect_bad(std::string("\x0A\x03\x0A\x05x", 5), "a piece ends inside a field");
  expect_bad(std::string("\x08\x01", 2), "not a message");
  expect_bad(model_file({{"x"}}) + "\x0A\x7F", "it ends inside a field");
  expect_bad(std::string(static_cast<size_t>(limits::kTokenizerBytes) + 1, '\0'), "more than 4194304");
}

TEST(TokenizerModel, MorePiecesThanAllowedAreNotKept) {
  std::string one = model_file({{""}}), all;
  for (int64_t i = 0; i <= limits::kTableTokens; ++i) all += one;
  expect_bad(all, "has more than 262144 pieces");
}

RC_GTEST_PROP(TokenizerModel, DamageIsAnErrorOrAnotherModelAndNeverMore, ()) {
  std::string bytes = model_file(small_vocabulary());
  const auto at = *rc::gen::inRange<size_t>(0, bytes.size());
  if (*rc::gen::arbitrary<bool>()) {
    bytes.resize(at);
  } else {
    bytes[at] = *rc::gen::arbitrary<char>();
  }
  const auto model = read_tokenizer_model("a.model", bytes);
  if (model) RC_ASSERT(model->pieces.size() <= bytes.size());
}

/// The counts of the library, as the challenge's baseline makes its table.
void expect_as_the_library(const std::string& path) {
  const auto library = data::Tokenizer::load(path);
  ASSERT_TRUE(library) << library.error().message();
  std::ifstream in(path, std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  const auto model = read_tokenizer_model(path, bytes.str());
  ASSERT_TRUE(model) << model.error().message();
  ASSERT_EQ(model->pieces.size(), static_cast<size_t>(library->vocab_size()));
  EXPECT_TRUE(model->byte_fallback);
  EXPECT_TRUE(model->bare_space);
  for (int32_t id = 0; id < library->vocab_size(); ++id) {
    const auto type = library->piece_type(id);
    std::string_view piece = library->piece(id);
    PieceBytes expected;
    expected.boundary = type == data::Tokenizer::PieceType::kBoundary;
    if (type == data::Tokenizer::PieceType::kByte) expected.bytes = 1;
    if (type == data::Tokenizer::PieceType::kNormal) {
      expected.leading_space = piece.starts_with("\xE2\x96\x81");
      expected.bytes = static_cast<int64_t>(piece.size()) - (expected.leading_space ? 3 : 0);
    }
    ASSERT_EQ(model->pieces[static_cast<size_t>(id)], expected) << path << " token " << id;
  }
}

TEST(TokenizerModel, AgreesWithSentencePieceOnTheShippedModel) {
  expect_as_the_library(std::string(FAIRWAY_SOURCE_DIR) + "/submissions/corpus/fairway_1024_bpe.model");
}

TEST(TokenizerModel, AgreesWithSentencePieceOnPublishedModels) {
  const std::filesystem::path folder = std::filesystem::path(FAIRWAY_SOURCE_DIR) / ".." / "shared" / "tokenizers";
  if (!std::filesystem::is_directory(folder)) GTEST_SKIP() << folder << " is not there";
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".model") continue;
    expect_as_the_library(entry.path());
    ++models;
  }
  EXPECT_GT(models, 0);
}

}  // namespace
}  // namespace fairway::audit
