#include "engine/data/document_reader.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/engine/data/fixtures.h"

namespace fairway::data {
namespace {

using test::spill;
using test::TemporaryDirectory;

Result<std::vector<std::string>> documents(const std::string& content, const DocumentFormat& format) {
  const TemporaryDirectory directory;
  spill(directory / "in", content);
  FAIRWAY_ASSIGN(DocumentReader reader, DocumentReader::open(directory / "in", format));
  std::vector<std::string> all;
  std::string text;
  for (;;) {
    FAIRWAY_ASSIGN(const bool found, reader.next(text));
    if (!found) break;
    all.push_back(text);
  }
  EXPECT_EQ(reader.bytes_used(), content.size());
  return all;
}

std::string error_of(const std::string& content, const DocumentFormat& format) {
  const auto all = documents(content, format);
  if (all) return "";
  return all.error().message().substr(all.error().message().rfind("/in") + 1);
}

using Texts = std::vector<std::string>;

TEST(DocumentReader, AWholeFileIsOneDocumentByteForByte) {
  const std::string content("a\r\n\0b\n\n", 7);
  EXPECT_EQ(*documents(content, DocumentFormat::whole_file()), Texts{content});
  EXPECT_EQ(*documents("", DocumentFormat::whole_file()), Texts{});
}

TEST(DocumentReader, JsonlTakesTheFieldTextOfEachLine) {
  EXPECT_EQ(*documents("{\"text\": \"one\\ntwo\", \"id\": 3}\n\n{\"text\":\"\"}\n{\"text\":\"\\u00e9\"}",
                       DocumentFormat::jsonl()),
            (Texts{"one\ntwo", "", "\xc3\xa9"}));
}

TEST(DocumentReader, ABadJsonLineIsNamedByItsNumber) {
  const auto jsonl = DocumentFormat::jsonl();
  EXPECT_EQ(error_of("{\"text\":\"a\"}\n{\"text\":", jsonl), "in:2: is not valid JSON; each line must be one object");
  const std::string no_text = "is not a JSON object with a string field \"text\"";
  EXPECT_EQ(error_of("\n[1]\n", jsonl), "in:2: " + no_text);
  EXPECT_EQ(error_of("{\"txt\":\"a\"}", jsonl), "in:1: " + no_text);
  EXPECT_EQ(error_of("{\"text\":7}", jsonl), "in:1: " + no_text);
  EXPECT_EQ(error_of("{\"text\":\"\xff\"}", jsonl), "in:1: is not valid JSON; each line must be one object");
}

TEST(DocumentReader, DeepNestingIsReadWithoutExhaustingTheStack) {
  EXPECT_EQ(error_of(std::string(1'000'000, '['), DocumentFormat::jsonl()),
            "in:1: is not valid JSON; each line must be one object");
  EXPECT_NE(error_of(std::string(1'000'000, '[') + std::string(1'000'000, ']'), DocumentFormat::jsonl()), "");
}

TEST(DocumentReader, SeparatorIsAWholeLineAndEmptyDocumentsVanish) {
  const auto format = DocumentFormat::separated_by("<|end|>");
  EXPECT_EQ(*documents("<|end|>\na\nb\n<|end|>\n<|end|>\nc <|end|>\n<|end|> \n<|end|>", format),
            (Texts{"a\nb\n", "c <|end|>\n<|end|> \n"}));
  EXPECT_EQ(*documents("a", format), Texts{"a"});
  EXPECT_EQ(*documents("", format), Texts{});
}

RC_GTEST_PROP(DocumentReader, LinesJoinedByNewlinesAreTheFile, ()) {
  // Long runs cross the reader's buffer of 1 MiB.
  const auto lengths = *rc::gen::container<std::vector<int>>(
      rc::gen::oneOf(rc::gen::inRange(0, 4), rc::gen::inRange((1 << 20) - 3, (1 << 20) + 3)));
  Texts lines;
  std::string content;
  for (size_t i = 0; i < lengths.size() && i < 8; ++i) {
    lines.push_back(std::string(static_cast<size_t>(lengths[i]), static_cast<char>('a' + i)));
    content += lines.back() + "\n";
  }
  RC_ASSERT(*documents(content, DocumentFormat::lines()) == lines);
}

TEST(DocumentReader, MissingFileIsNoInput) {
  EXPECT_EQ(DocumentReader::open("/nonexistent/in", DocumentFormat::lines()).error().code, Errc::kNoInput);
}

}  // namespace
}  // namespace fairway::data
