#include "verifier/audit/read/text.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace fairway::audit {
namespace {

std::string utf16(std::string_view ascii, bool big_endian, bool mark) {
  std::string out = !mark ? "" : big_endian ? "\xFE\xFF" : "\xFF\xFE";
  for (const char c : ascii) {
    if (big_endian) out += '\0';
    out += c;
    if (!big_endian) out += '\0';
  }
  return out;
}

constexpr std::string_view kText = "seed:42\nfinal val_loss:1.9 val_bpb:1.1\n";

TEST(DecodeText, Utf16IsReadWithAndWithoutAMark) {
  for (const bool big_endian : {false, true}) {
    for (const bool mark : {false, true}) EXPECT_EQ(decode_text(utf16(kText, big_endian, mark)), kText);
  }
}

TEST(DecodeText, AMarkOfUtf8Goes) { EXPECT_EQ(decode_text("\xEF\xBB\xBFseed:42\n"), "seed:42\n"); }

TEST(DecodeText, EveryLineEndBecomesOneNewline) { EXPECT_EQ(decode_text("a\r\nb\rc\nd\r\r\n"), "a\nb\nc\nd\n\n"); }

TEST(DecodeText, ColoursGo) {
  EXPECT_EQ(decode_text("\x1b[32mseed\x1b[0m:42 \x1b]0;title\a!\x1b(B\n"), "seed:42 !B\n");
}

TEST(DecodeText, SurrogatePairsBecomeOneCharacterAndHalvesAReplacement) {
  using namespace std::string_literals;
  EXPECT_EQ(decode_text("\xFF\xFE\x3D\xD8\x00\xDE"s), "\xF0\x9F\x98\x80");
  EXPECT_EQ(decode_text("\xFF\xFE\x3D\xD8"s + "a\0"s), "\xEF\xBF\xBD"s + "a");
}

RC_GTEST_PROP(DecodeText, AnyBytesGiveTextWithoutCarriageReturnsThatStaysAsItIs, (const std::string& bytes)) {
  const std::string once = decode_text(bytes);
  RC_ASSERT(once.find('\r') == std::string::npos);
  RC_ASSERT(once.find('\x1b') == std::string::npos || once.size() < bytes.size() + 1);
}

TEST(Lines, AreCountedFromOneAndTheLastNeedsNoEnd) {
  Lines lines("a\n\nb");
  std::string_view line;
  std::vector<std::string> seen;
  while (lines.next(line)) seen.push_back(std::to_string(lines.number()) + std::string(line));
  EXPECT_EQ(seen, (std::vector<std::string>{"1a", "2", "3b"}));
}

TEST(NumberAt, ReadsWhatTheLogsPrint) {
  EXPECT_EQ(number_at("1.25ms")->value, 1.25);
  EXPECT_EQ(number_at("1.25ms")->length, 4u);
  EXPECT_EQ(number_at("1.2500")->decimals, 4);
  EXPECT_EQ(number_at("-3")->value, -3);
  EXPECT_EQ(number_at("+.5")->value, 0.5);
  EXPECT_EQ(number_at("1e-3x")->value, 1e-3);
  EXPECT_EQ(number_at("1em")->length, 1u);
  for (const char* none : {"", "-", ".", "{x:.4f}", "e5", "nan", "1e999"}) EXPECT_FALSE(number_at(none)) << none;
}

TEST(IntegerAt, TakesCommasBetweenDigitsOnly) {
  EXPECT_EQ(integer_at("15,353,490 bytes"), 15353490);
  EXPECT_EQ(integer_at("42, next"), 42);
  EXPECT_FALSE(integer_at("9999999999999999999"));
  EXPECT_FALSE(integer_at("x"));
}

TEST(LooksBinary, TellsZeroBytesAndControlCharacters) {
  using namespace std::string_view_literals;
  EXPECT_TRUE(looks_binary("a\0b"sv));
  EXPECT_TRUE(looks_binary("\x01\x02\x03\x04"));
  EXPECT_FALSE(looks_binary("a\tb\nc \xE2\x96\x81"));
}

}  // namespace
}  // namespace fairway::audit
