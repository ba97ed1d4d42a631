#include "verifier/report/escape.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

namespace fairway::verifier {
namespace {

/// A strict UTF-8 check written from the table of well-formed sequences (Unicode, table 3-7), not from the decoder
/// under test.
bool is_utf8(std::string_view s) {
  auto in = [&](size_t i, int low, int high) {
    return i < s.size() && static_cast<uint8_t>(s[i]) >= low && static_cast<uint8_t>(s[i]) <= high;
  };
  for (size_t i = 0; i < s.size();) {
    if (in(i, 0x00, 0x7f))
      i += 1;
    else if (in(i, 0xc2, 0xdf) && in(i + 1, 0x80, 0xbf))
      i += 2;
    else if (in(i, 0xe0, 0xe0) && in(i + 1, 0xa0, 0xbf) && in(i + 2, 0x80, 0xbf))
      i += 3;
    else if (in(i, 0xe1, 0xec) && in(i + 1, 0x80, 0xbf) && in(i + 2, 0x80, 0xbf))
      i += 3;
    else if (in(i, 0xed, 0xed) && in(i + 1, 0x80, 0x9f) && in(i + 2, 0x80, 0xbf))
      i += 3;
    else if (in(i, 0xee, 0xef) && in(i + 1, 0x80, 0xbf) && in(i + 2, 0x80, 0xbf))
      i += 3;
    else if (in(i, 0xf0, 0xf0) && in(i + 1, 0x90, 0xbf) && in(i + 2, 0x80, 0xbf) && in(i + 3, 0x80, 0xbf))
      i += 4;
    else if (in(i, 0xf1, 0xf3) && in(i + 1, 0x80, 0xbf) && in(i + 2, 0x80, 0xbf) && in(i + 3, 0x80, 0xbf))
      i += 4;
    else if (in(i, 0xf4, 0xf4) && in(i + 1, 0x80, 0x8f) && in(i + 2, 0x80, 0xbf) && in(i + 3, 0x80, 0xbf))
      i += 4;
    else
      return false;
  }
  return true;
}

bool has_c0_or_del(std::string_view s) {
  return std::any_of(s.begin(), s.end(), [](char c) { return static_cast<uint8_t>(c) < 0x20 || c == 0x7f; });
}

/// Bytes in which every interesting one is likely.
rc::Gen<std::string> nasty() {
  return rc::gen::container<std::string>(rc::gen::oneOf(
      rc::gen::arbitrary<char>(), rc::gen::elementOf(std::string("`|<>&\"'*_[]()!@#:/\\ \n\r\t\x1b\xe2\x80\xae")),
      rc::gen::elementOf(std::string("abc019"))));
}

TEST(Visible, KeepsPlainTextAndLetters) {
  EXPECT_EQ(visible("val_bpb 1.1194 — naïve Ångström 日本 😀"), "val_bpb 1.1194 — naïve Ångström 日本 😀");
}

TEST(Visible, ShowsWhatWouldActInsteadOfPassingItOn) {
  EXPECT_EQ(visible("\x1b[31mred\x07\x7f"), "\\x1b[31mred\\x07\\x7f");
  EXPECT_EQ(visible("a\nb\rc\td"), "a\\nb\\rc\\td");
  EXPECT_EQ(visible(std::string_view("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(visible("x\xc2\x9bm"), "x\\u{9b}m");                          // CSI as one character
  EXPECT_EQ(visible("evil\xe2\x80\xaegpj.exe"), "evil\\u{202e}gpj.exe");  // right-to-left override
  EXPECT_EQ(visible("\xef\xbb\xbfx\xe2\x80\x8b"), "\\u{feff}x\\u{200b}");
  EXPECT_EQ(visible("\xef\xbf\xbf"), "\\u{ffff}");
}

TEST(Visible, ShowsBytesThatAreNoUtf8) {
  EXPECT_EQ(visible("a\xff\xfe"
                    "b"),
            "a\\xff\\xfeb");
  EXPECT_EQ(visible("\xc0\xaf"), "\\xc0\\xaf");           // a longer form of '/'
  EXPECT_EQ(visible("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(visible("\xe2\x80"), "\\xe2\\x80");           // cut short
  EXPECT_EQ(visible("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
}

TEST(Visible, SaysHowMuchItLeavesOut) {
  EXPECT_EQ(visible("abcdef", 4), "abcd ... (2 more bytes)");
  EXPECT_EQ(visible("abcé", 4), "abc ... (2 more bytes)");  // not within a character
}

RC_GTEST_PROP(Visible, AnyBytesGiveInertUtf8, ()) {
  const std::string shown = visible(*nasty());
  RC_ASSERT(is_utf8(shown));
  RC_ASSERT(!has_c0_or_del(shown));
}

RC_GTEST_PROP(MarkupEscape, LeavesNoMarkup, ()) {
  const std::string shown = markup_escape(*nasty());
  RC_ASSERT(shown.find_first_of("<>\"'") == std::string::npos);
  for (size_t at = shown.find('&'); at != std::string::npos; at = shown.find('&', at + 1)) {
    const std::string_view rest = std::string_view(shown).substr(at);
    RC_ASSERT(rest.starts_with("&amp;") || rest.starts_with("&lt;") || rest.starts_with("&gt;") ||
              rest.starts_with("&quot;") || rest.starts_with("&#39;"));
  }
}

/// Removes code spans as CommonMark finds them: a run of backticks up to the next run of the same length. Unmatched
/// backticks stay.
std::string without_code(const std::string& s) {
  std::string out;
  for (size_t i = 0; i < s.size();) {
    if (s[i] != '`') {
      out += s[i++];
      continue;
    }
    size_t run = 0;
    while (i + run < s.size() && s[i + run] == '`') ++run;
    size_t close = i + run;
    for (; close < s.size();) {
      size_t n = 0;
      while (close + n < s.size() && s[close + n] == '`') ++n;
      if (n == run) break;
      close += n > 0 ? n : 1;
    }
    if (close >= s.size()) {
      out += s.substr(i, run);
      i += run;
    } else {
      i = close + run;
    }
  }
  return out;
}

TEST(MarkdownProse, WordsStandAndTheRestIsCode) {
  EXPECT_EQ(markdown_prose("trained before scoring, see train_gpt.py line 3."),
            "trained before scoring, see `train_gpt.py` line 3.");
  EXPECT_EQ(markdown_prose("by @everyone at https://evil.example/x, <img src=x>"),
            "by `@everyone` at `https://evil.example/x`, `<img src=x>`");
  EXPECT_EQ(markdown_prose("fixes #12 and GH-12 and www.evil.example"),
            "fixes `#12` and `GH-12` and `www.evil.example`");
  EXPECT_EQ(markdown_prose("a`b"), "``a`b``");
  EXPECT_EQ(markdown_prose("`"), "`` ` ``");
  EXPECT_EQ(markdown_prose("::"), "`::`");
}

RC_GTEST_PROP(MarkdownProse, OutsideCodeThereIsNothingThatActs, ()) {
  const std::string prose = without_code(markdown_prose(*nasty()));
  RC_ASSERT(prose.find("://") == std::string::npos);
  RC_ASSERT(prose.find_first_of("`<>&*_[]@#\\|~\n") == std::string::npos);
}

RC_GTEST_PROP(MarkdownCode, IsOneCodeSpan, ()) {
  const std::string text = *nasty();
  RC_ASSERT(without_code(markdown_code(text)).empty());
}

TEST(UriPath, EncodesWhatIsNotAPath) {
  EXPECT_EQ(uri_path("records/a b/2026-03-19_x+=.py"), "records/a%20b/2026-03-19_x%2B%3D.py");
  EXPECT_EQ(uri_path("\xff#?:"), "%FF%23%3F%3A");
}

RC_GTEST_PROP(Wrap, LosesNoWordAndNoLineIsTooWide, ()) {
  const int width = *rc::gen::inRange(20, 60);
  const std::string text = visible(*nasty());
  std::string packed, rejoined;
  for (char c : text) packed += c == ' ' ? "" : std::string(1, c);
  for (const std::string& line : wrap(text, width)) {
    RC_ASSERT(width_columns(line) <= static_cast<size_t>(width));
    RC_ASSERT(is_utf8(line));
    for (char c : line) rejoined += c == ' ' ? "" : std::string(1, c);
  }
  RC_ASSERT(rejoined == packed);
}

}  // namespace
}  // namespace fairway::verifier
