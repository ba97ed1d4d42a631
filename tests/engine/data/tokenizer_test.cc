#include "engine/data/tokenizer.h"

#include <gtest/gtest.h>

#include "engine/base/file.h"
#include "tests/engine/data/fixtures.h"

namespace fairway::data {
namespace {

using test::slurp;
using test::spill;
using test::TemporaryDirectory;

TEST(Tokenizer, PublishedModelHasItsDigestAndItsLayout) {
  FAIRWAY_SHARED_OR_SKIP(path, "tokenizers/fineweb_1024_bpe.model");
  const auto tokenizer = Tokenizer::load(path);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  EXPECT_EQ(hex(tokenizer->digest()), "4f5e8adb109c66b4886963bc75a7befd73bda36d27fd7102df8e9e66503b0e2a");
  EXPECT_EQ(tokenizer->vocab_size(), 1024);
  EXPECT_EQ(tokenizer->bos_id(), 1);
  const char* const names[] = {"<pad>", "<s>", "</s>", "<unk>"};
  for (int id = 0; id < 4; ++id) {
    EXPECT_EQ(tokenizer->piece(id), names[id]);
    EXPECT_EQ(tokenizer->piece_type(id), Tokenizer::PieceType::kBoundary);
  }
  for (int id = 4; id < 260; ++id) EXPECT_EQ(tokenizer->piece_type(id), Tokenizer::PieceType::kByte) << id;
  for (int id = 260; id < 1024; ++id) EXPECT_EQ(tokenizer->piece_type(id), Tokenizer::PieceType::kNormal) << id;
  EXPECT_EQ(tokenizer->piece(939), "\xe2\x96\x81");
}

TEST(Tokenizer, NormalisesWhiteSpaceAndFallsBackToBytes) {
  FAIRWAY_SHARED_OR_SKIP(path, "tokenizers/fineweb_1024_bpe.model");
  const auto tokenizer = Tokenizer::load(path);
  ASSERT_TRUE(tokenizer);
  const auto ids = tokenizer->encode("Hello  world\n\nfoo\tbar  ");
  ASSERT_TRUE(ids);
  EXPECT_EQ(*tokenizer->decode(*ids), "Hello world foo bar");
  const auto emoji = tokenizer->encode("\xf0\x9f\x98\x80");
  ASSERT_TRUE(emoji);
  EXPECT_EQ(*emoji, (std::vector<uint16_t>{4 + 0xf0, 4 + 0x9f, 4 + 0x98, 4 + 0x80}));
  EXPECT_TRUE(tokenizer->encode("")->empty());
  EXPECT_TRUE(tokenizer->encode(std::string("\xff\x00\xfe", 3)));
}

TEST(Tokenizer, WhatIsNoModelIsAnErrorThatNamesTheFile) {
  const TemporaryDirectory directory;
  EXPECT_EQ(Tokenizer::load(directory / "no.model").error().code, Errc::kNoInput);
  for (const std::string& content : {std::string(), std::string("not a model"), std::string(1000, '\0')}) {
    spill(directory / "bad.model", content);
    const auto tokenizer = Tokenizer::load(directory / "bad.model");
    ASSERT_FALSE(tokenizer) << content.size();
    EXPECT_EQ(tokenizer.error().code, Errc::kData);
    EXPECT_EQ(tokenizer.error().where, directory / "bad.model");
  }
}

TEST(Tokenizer, EveryTruncationOfAModelIsRefusedOrStillUsable) {
  FAIRWAY_SHARED_OR_SKIP(path, "tokenizers/fineweb_1024_bpe.model");
  const std::string model = slurp(path);
  const TemporaryDirectory directory;
  for (size_t size = 0; size < model.size(); size += 1 + model.size() / 150) {
    spill(directory / "cut.model", model.substr(0, size));
    const auto tokenizer = Tokenizer::load(directory / "cut.model");
    EXPECT_TRUE(!tokenizer || tokenizer->encode("some text")) << size;
  }
}

// Text with enough different words for a vocabulary a little above the 260 fixed ids.
std::string training_text() {
  std::string text;
  const char* const words[] = {"the", "harbour", "pilot", "reads", "a",     "fairway", "chart", "between", "buoys",
                               "and", "light",   "ships", "while", "tides", "turn",    "2024",  "knots",   "north"};
  for (int i = 0; i < 400; ++i) {
    for (int j = 0; j < 8; ++j) text += std::string(words[(i * 7 + j * j * 3 + i * j) % 18]) + " ";
    text += "\n";
  }
  return text;
}

TEST(TrainTokenizer, GivesTheFixedLayoutAndTheSameBytesTwice) {
  const TemporaryDirectory directory;
  spill(directory / "text", training_text());
  const std::vector<std::string> files = {directory / "text"};
  const Status first = train_tokenizer(files, DocumentFormat::lines(), 320, directory / "one");
  ASSERT_TRUE(first) << first.error().message();
  ASSERT_TRUE(train_tokenizer(files, DocumentFormat::lines(), 320, directory / "two"));
  EXPECT_EQ(slurp(directory / "one.model"), slurp(directory / "two.model"));
  EXPECT_EQ(directory.files(), (std::vector<std::string>{"one.model", "text", "two.model"}));

  const auto tokenizer = Tokenizer::load(directory / "one.model");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  EXPECT_EQ(tokenizer->vocab_size(), 320);
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->piece(0), "<pad>");
  EXPECT_EQ(tokenizer->piece(3), "<unk>");
  EXPECT_EQ(tokenizer->piece_type(4), Tokenizer::PieceType::kByte);
  EXPECT_EQ(tokenizer->piece(4), "<0x00>");
  const auto ids = tokenizer->encode("the fairway 2024");
  ASSERT_TRUE(ids);
  EXPECT_EQ(*tokenizer->decode(*ids), "the fairway 2024");
  for (const uint16_t id : *ids) {
    const std::string_view piece = tokenizer->piece(id);
    const bool has_digit = piece.find_first_of("0123456789") != std::string_view::npos;
    EXPECT_TRUE(!has_digit || piece.size() == 1) << piece << ": digits are split";
  }
  EXPECT_FALSE(tokenizer->piece(ids->front()).starts_with("\xe2\x96\x81")) << "no dummy prefix";
}

TEST(TrainTokenizer, WhatCannotBeTrainedIsAnErrorAndWritesNothing) {
  const TemporaryDirectory directory;
  spill(directory / "text", training_text());
  spill(directory / "blank", std::string(" \n\0\n\t\n", 6));
  spill(directory / "bad", "{\"text\": \"" + training_text().substr(0, 40) + "\"}\nbroken\n");
  const auto train = [&](const char* file, const DocumentFormat& format, int32_t vocab_size) {
    const std::vector<std::string> files = {directory / file};
    return train_tokenizer(files, format, vocab_size, directory / "out");
  };
  const auto lines = DocumentFormat::lines();
  EXPECT_EQ(train("blank", lines, 320).error().code, Errc::kData);
  EXPECT_EQ(train("absent", lines, 320).error().code, Errc::kNoInput);
  EXPECT_EQ(train("text", lines, 100).error().code, Errc::kUsage) << "fewer pieces than fixed ids";
  EXPECT_EQ(train("text", lines, 0).error().code, Errc::kUsage);
  EXPECT_EQ(train("text", lines, 65'537).error().code, Errc::kUsage);
  const Status bad = train("bad", DocumentFormat::jsonl(), 320);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().where, (directory / "bad") + ":2") << bad.error().message();
  EXPECT_FALSE(std::filesystem::exists(directory / "out.model"));
}

}  // namespace
}  // namespace fairway::data
