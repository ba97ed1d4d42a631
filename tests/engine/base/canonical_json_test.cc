#include "engine/base/canonical_json.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <nlohmann/json.hpp>

namespace fairway {
namespace {

using nlohmann::json;

TEST(CanonicalJson, SortsLikeTheExampleOfRfc8785) {
  // RFC 8785, 3.2.3: keys sorted by UTF-16 code units, so the emoji (a surrogate pair) comes before U+FB33.
  const json value = json::parse(
      "{\"\\u20ac\":\"Euro Sign\",\"\\r\":\"Carriage Return\",\"\\ufb33\":\"Hebrew Letter Dalet With "
      "Dagesh\",\"1\":\"One\","
      "\"\\ud83d\\ude00\":\"Emoji: Grinning Face\",\"\\u0080\":\"Control\",\"\\u00f6\":\"Latin Small Letter O With "
      "Diaeresis\"}");
  EXPECT_EQ(*canonical_json(value, "x"),
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"\u00f6\":\"Latin Small Letter O With "
            "Diaeresis\","
            "\"\u20ac\":\"Euro Sign\",\"\U0001f600\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With "
            "Dagesh\"}");
}

TEST(CanonicalJson, EscapesLikeTheExampleOfRfc8785) {
  // RFC 8785, 3.2.2.2 and its example: the string and the literals; the numbers of that example are floats.
  const json value =
      json::parse(R"({"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]})");
  EXPECT_EQ(*canonical_json(value, "x"),
            "{\"literals\":[null,true,false],\"string\":\"\u20ac$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}");
  EXPECT_EQ(*canonical_json(json::parse(R"("\b\t\n\f\r\u001f\u007f")"), "x"), "\"\\b\\t\\n\\f\\r\\u001f\x7f\"");
}

TEST(CanonicalJson, RefusesWhatIsNotExactEverywhere) {
  const auto refused = [](const json& value, const std::string& where) {
    const auto text = canonical_json(value, "f");
    ASSERT_FALSE(text);
    EXPECT_EQ(text.error().code, Errc::kData);
    EXPECT_EQ(text.error().where, where);
  };
  refused({{"a", {1, 2.5}}}, "f: a[1]");
  refused({{"a", {{"b", 1.0}}}}, "f: a.b");
  refused((uint64_t{1} << 53) + 1, "f");
  refused(-(int64_t{1} << 53) - 1, "f");
  refused({{"a", "\xff"}}, "f: a");
  EXPECT_EQ(*canonical_json(uint64_t{1} << 53, "f"), "9007199254740992");
  EXPECT_EQ(*canonical_json(-(int64_t{1} << 53), "f"), "-9007199254740992");
}

TEST(CanonicalJson, TextMustBeItsOwnCanonicalForm) {
  EXPECT_TRUE(parse_canonical_json(R"({"a":[1,-2,"x",null,true,{}],"b":{}})", "f"));
  for (const char* bad : {R"({"b":1,"a":2})",
                          R"({"a": 1})",
                          R"({"a":1} )",
                          R"(["\u0041"])",
                          R"(["\/"])",
                          "[1.0]",
                          "[1e2]",
                          "[-0]",
                          "[01]",
                          "[+1]",
                          R"({"a":1,"a":1})",
                          R"(["\u000A"])",
                          "",
                          "[",
                          "{",
                          "nul",
                          "[1,]",
                          "\xef\xbb\xbf[]",
                          "[9007199254740993]",
                          "[18446744073709551616]"}) {
    const auto value = parse_canonical_json(bad, "f");
    ASSERT_FALSE(value) << bad;
    EXPECT_EQ(value.error().code, Errc::kData);
  }
  EXPECT_EQ(parse_canonical_json(R"({"a": 1})", "f").error().where, "f @ 0x5");
  EXPECT_NE(parse_json(R"({"a":{"b":1,"b":2}})", "f").error().what.find("\"b\" occurs twice"), std::string::npos);
}

TEST(CanonicalJson, ErrorsCarryNoBytesOfTheInput) {
  for (const char* bad : {"[\"\x1b[31m", "[\"\xff\"]", "{\"a\x1b\":1,,}", "\x1b[2J"}) {
    const auto value = parse_json(bad, "f");
    ASSERT_FALSE(value);
    for (const char c : value.error().message()) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << value.error().message();
    EXPECT_NE(value.error().what.find("line 1, column"), std::string::npos) << value.error().message();
  }
}

TEST(CanonicalJson, DeepNestingIsRefusedNotFollowed) {
  for (const char* open : {"[", "{\"a\":"}) {
    std::string text;
    for (int i = 0; i < 1000000; ++i) text += open;
    const auto value = parse_json(text, "f");
    ASSERT_FALSE(value);
    EXPECT_NE(value.error().what.find("nested"), std::string::npos);
  }
}

json any_json(int depth) {
  switch (*rc::gen::inRange(0, depth == 0 ? 4 : 6)) {
    case 0:
      return *rc::gen::inRange<int64_t>(-(int64_t{1} << 53), (int64_t{1} << 53) + 1);
    case 1:
      return *rc::gen::arbitrary<bool>();
    case 2:
      return nullptr;
    case 3:
      return *rc::gen::container<std::string>(rc::gen::inRange<char>(0, 127));
    case 4: {
      json list = json::array();
      for (int i = *rc::gen::inRange(0, 4); i > 0; --i) list.push_back(any_json(depth - 1));
      return list;
    }
    default: {
      json object = json::object();
      for (int i = *rc::gen::inRange(0, 4); i > 0; --i)
        object[*rc::gen::container<std::string>(rc::gen::inRange<char>(0, 127))] = any_json(depth - 1);
      return object;
    }
  }
}

RC_GTEST_PROP(CanonicalJson, WritingReadingAndWritingAgainChangesNothing, ()) {
  const json value = any_json(4);
  const auto text = canonical_json(value, "f");
  RC_ASSERT(static_cast<bool>(text));
  const auto read = parse_canonical_json(*text, "f");
  RC_ASSERT(static_cast<bool>(read));
  RC_ASSERT(*read == value);
}

}  // namespace
}  // namespace fairway
