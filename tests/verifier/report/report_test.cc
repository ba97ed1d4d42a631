#include "verifier/report/report.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "verifier/rules/rules.h"

namespace fairway::verifier {
namespace {

Report example() {
  Report r;
  r.subject_path = "records/track/2026-03-19_Name";
  r.subject_ref = "refs/pull/212/head";
  r.subject_sha256 = std::string(64, 'a');
  r.add({"legality.score_first",
         Verdict::kFail,
         "trained before it is scored",
         "",
         "",
         {{"train_gpt.py", 1470, 1496, "backward"}, {"a!unpacked", 3, 0, ""}}});
  r.add("artifact.bytes", Verdict::kPass, "fits", "15863489", "15863490");
  r.add("legality.slot", Verdict::kReview, "is the span disjoint?");
  r.add("legality.causal", Verdict::kSkip, "no source");
  return r;
}

Report with(std::vector<Verdict> statuses) {
  Report r;
  for (Verdict v : statuses) r.add("artifact.bytes", v, "");
  return r;
}

TEST(Verdicts, FailBeatsReviewBeatsPass) {
  EXPECT_EQ(with({Verdict::kPass, Verdict::kSkip}).exit_code(), 0);
  EXPECT_EQ(with({Verdict::kPass, Verdict::kReview}).exit_code(), 2);
  EXPECT_EQ(with({Verdict::kReview, Verdict::kFail, Verdict::kPass}).exit_code(), 1);
}

TEST(Verdicts, NothingCheckedIsNotAPass) {
  EXPECT_EQ(with({}).exit_code(), 2);
  EXPECT_EQ(with({Verdict::kSkip}).exit_code(), 2);
  EXPECT_EQ(exit_code({}), 2);
  const Report both[] = {with({Verdict::kReview}), with({Verdict::kFail})};
  EXPECT_EQ(exit_code(both), 1);
}

TEST(Text, NamesPlaceClaimAndVerdict) {
  const std::string text = to_text(example(), false);
  for (const char* part :
       {"records/track/2026-03-19_Name at refs/pull/212/head\n", "train_gpt.py:1470-1496 backward", "a!unpacked:3\n",
        "claimed 15863489, measured 15863490", "\n4 checks: 1 fail, 1 review, 1 pass, 1 skip\nverdict: fail\n"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_NE(to_text(example(), true).find("\x1b[1;31mfail\x1b[0m"), std::string::npos);
}

TEST(Text, ChecksOfOneGroupStandTogether) {
  const std::string text = to_text(example(), false);
  EXPECT_LT(text.find("legality.causal"), text.find("artifact.bytes"));
}

TEST(Json, NumbersAreNumbersAndDigestsAreText) {
  Report r = example();
  r.add("replay.scores", Verdict::kPass, "", std::string(64, '1'), "1.16301431");
  const auto j = nlohmann::json::parse(to_json(r));
  EXPECT_EQ(j["checks"][1]["claimed"], 15863489);
  EXPECT_TRUE(j["checks"][4]["claimed"].is_string());
  EXPECT_EQ(j["checks"][4]["measured"], 1.16301431);
  for (const char* text : {"007", "1e5", "-", ".5", "5.", "1.2.3", "0x10", "nan", "-0.5-"}) {
    Report one;
    one.add("artifact.bytes", Verdict::kPass, "", text);
    EXPECT_EQ(nlohmann::json::parse(to_json(one))["checks"][0]["claimed"], text);
  }
}

TEST(Json, ComesOutForBytesThatAreNoUtf8AndIsAscii) {
  Report r;
  r.subject_path = "a\xff\x1b\xc2\x9b";
  r.add("artifact.bytes", Verdict::kPass, "\xed\xa0\x80 \xe2\x80\xae");
  const std::string text = to_json(r);
  EXPECT_TRUE(nlohmann::json::accept(text));
  EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char c) { return (c >= 0x20 && c < 0x7f) || c == '\n'; }));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
}

/// Any valid UTF-8 without the numbers that change their spelling.
rc::Gen<std::string> words() {
  return rc::gen::container<std::string>(rc::gen::elementOf(std::string("az <>&`|\"\\\n\x01_")));
}

RC_GTEST_PROP(Json, ReadingWhatWasWrittenGivesTheSameReport, ()) {
  Report r;
  r.subject_path = *words();
  r.subject_ref = *words();
  r.subject_sha256 = *words();
  const auto all = rules();
  const int count = *rc::gen::inRange(0, 5);
  for (int i = 0; i < count; ++i) {
    Check c{all[*rc::gen::inRange<size_t>(0, all.size())].id,
            static_cast<Verdict>(*rc::gen::inRange(0, 4)),
            *words(),
            *words(),
            *words(),
            {}};
    const int64_t line = *rc::gen::inRange<int64_t>(0, 1000);
    if (*rc::gen::arbitrary<bool>())
      c.evidence.push_back({*words(), line, line == 0 ? 0 : line + *rc::gen::inRange(0, 3), *words()});
    r.add(std::move(c));
  }
  auto back = from_json(to_json(r), "x.json");
  RC_ASSERT(static_cast<bool>(back));
  RC_ASSERT(to_json(*back) == to_json(r));
}

TEST(ReadingJson, NamesWhatIsWrong) {
  auto says = [](const std::string& text, const std::string& part) {
    auto r = from_json(text, "r.json");
    ASSERT_FALSE(r) << text;
    EXPECT_EQ(r.error().exit_code(), 65);
    EXPECT_NE(r.error().message().find(part), std::string::npos) << r.error().message();
  };
  says("", "is not JSON");
  says("[]", "must be an object");
  says("{}", "/subject is missing");
  says(R"({"subject":{"path":1},"verdict":"pass","checks":[]})", "/subject/path must be a string");
  says(R"({"subject":{"path":"x"},"verdict":"pass","checks":{}})", "/checks must be an array");
  says(R"({"subject":{"path":"x"},"verdict":"pass","checks":[{"id":"a.b","status":"ok","message":"","evidence":[]}]})",
       "/checks/0/status");
  says(
      R"({"subject":{"path":"x"},"verdict":"pass","checks":[{"id":"a.b","status":"pass","message":"","evidence":[{"file":"f","line":-1}]}]})",
      "/checks/0/evidence/0/line");
  says(
      R"({"subject":{"path":"x"},"verdict":"pass","checks":[{"id":"a.b","status":"fail","message":"","evidence":[]}]})",
      "/verdict is not");
  says(std::string(1 << 20, '['), "is not JSON");
}

TEST(Markdown, FitsACommentAndCountsWhatDidNot) {
  Report r = example();
  for (int i = 0; i < 5000; ++i) r.checks[0].evidence.push_back({"file", i + 1, 0, "a place among many"});
  const std::string text = to_markdown({&r, 1});
  EXPECT_LE(text.size(), kMarkdownMaxBytes);
  const size_t shown = [&] {
    size_t n = 0;
    for (size_t at = text.find("\n* "); at != std::string::npos; at = text.find("\n* ", at + 1)) ++n;
    return n;
  }();
  EXPECT_NE(text.find("**Left out, as a comment holds no more:** " + std::to_string(5002 - shown) + " places."),
            std::string::npos);
  std::vector<Report> many(3000, example());
  EXPECT_LE(to_markdown(many).size(), kMarkdownMaxBytes);
  EXPECT_NE(to_markdown(many).find(" reports"), std::string::npos);
}

TEST(Markdown, EveryRowOfTheTableHasThreeCells) {
  Report r;
  r.add("artifact.bytes", Verdict::kFail, "a | b || c `|` d", "x|y", "|");
  const std::string text = to_markdown({&r, 1});
  const size_t row = text.find("| ❌");
  const std::string line = text.substr(row, text.find('\n', row) - row);
  int bars = 0;
  for (size_t i = 0; i < line.size(); ++i) bars += line[i] == '|' && (i == 0 || line[i - 1] != '\\') ? 1 : 0;
  EXPECT_EQ(bars, 4) << line;
}

TEST(Render, JsonHoldsOneReport) {
  const Report two[] = {example(), example()};
  EXPECT_FALSE(render(Format::kJson, two));
  EXPECT_EQ(*render(Format::kJson, {two, 1}), to_json(two[0]));
  EXPECT_EQ(*render(Format::kJsonl, two), to_json(two[0]) + to_json(two[1]));
}

TEST(Render, StreamableFormatsAreConcatenations) {
  const Report two[] = {example(), with({Verdict::kPass})};
  for (Format f : {Format::kText, Format::kJsonl}) {
    ASSERT_TRUE(is_streamable(f));
    EXPECT_EQ(*render(f, two), *render(f, {two, 1}) + *render(f, {two + 1, 1}));
  }
}

}  // namespace
}  // namespace fairway::verifier
