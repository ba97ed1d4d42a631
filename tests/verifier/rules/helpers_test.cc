/// Helpers in C and C++, in files of their own or in the text of a script.
#include <gtest/gtest.h>

#include "tests/verifier/audit/memory_folder.h"
#include "tests/verifier/rules/support.h"
#include "verifier/audit/audit.h"
#include "verifier/audit/limits.h"

namespace fairway::audit::testing {
namespace {

using verifier::Check;
using verifier::Verdict;

struct Helper {
  const char *name, *illegal, *legal;
  Language language;
};

const Helper kHintHelpers[] = {
    {"hints.c", "causal/gated_hint.c", "causal/hint_of_the_past.c", Language::kC},
    {"hints.cpp", "causal/gated_hint.cpp", "causal/hint_of_the_past.cpp", Language::kCpp},
};

TEST(Helpers, AHintGatedByItsTokenFailsIfTheLogsCountIt) {
  for (const Helper& helper : kHintHelpers) {
    Facts facts = record(read_fixture("normalized/bigram_embedding.py"), {}, "final_exact");
    const std::string text = read_fixture(helper.illegal);
    facts.sources.push_back({helper.name, helper.name, helper.language, false, text});
    EXPECT_EQ(check_of(facts, "legality.causal").status, Verdict::kReview) << helper.name;
    facts.runs[0].markers.push_back({"ngram_tilt:hints total=9 token_gate=5 within_gate=3", {"train.log", 3}});
    const Check fails = check_of(facts, "legality.causal");
    EXPECT_EQ(fails.status, Verdict::kFail) << helper.name;
    EXPECT_TRUE(names_line(fails, helper.name, line_of(text, "if (!is_new"))) << helper.name;
    facts.runs[0].markers[0].text = "ngram_tilt:hints total=9 token_gate=5 within_gate=0";
    EXPECT_EQ(check_of(facts, "legality.causal").status, Verdict::kPass) << helper.name;
  }
}

TEST(Helpers, AHintOfThePastPasses) {
  for (const Helper& helper : kHintHelpers) {
    Facts facts = record(read_fixture("normalized/bigram_embedding.py"), {}, "final_exact");
    facts.sources.push_back({helper.name, helper.name, helper.language, false, read_fixture(helper.legal)});
    facts.runs[0].markers.push_back({"ngram_tilt:hints total=9 within_gate=3", {"train.log", 3}});
    EXPECT_EQ(check_of(facts, "legality.causal").status, Verdict::kPass) << helper.name;
  }
}

/// A record whose script compiles the text in C that it holds; `quote` is what surrounds it.
std::string script_with(const std::string& helper, const std::string& quote) {
  std::string script = "SOURCE = r";
  for (const std::string& part : {quote, helper, quote, std::string(1, '\n')}) script += part;
  return script += read_fixture("normalized/bigram_embedding.py");
}

TEST(Helpers, AMixtureOfBytesInCIsAQuestion) {
  Facts facts = record(read_fixture("normalized/bigram_embedding.py"), {}, "final_exact");
  const std::string text = read_fixture("normalized/byte_mixture.c");
  facts.sources.push_back({"ppm.c", "ppm.c", Language::kC, false, text});
  const Check check = check_of(facts, "legality.normalized");
  EXPECT_EQ(check.status, Verdict::kReview);
  EXPECT_TRUE(names_line(check, "ppm.c", line_of(text, "token_loss[i] / byte_count[i]")));
  facts.sources.back() = {"ppm.cpp", "ppm.cpp", Language::kCpp, false, read_fixture("normalized/byte_mixture.cpp")};
  EXPECT_EQ(check_of(facts, "legality.normalized").status, Verdict::kReview);
  facts.sources.back() = {"ppm.c", "ppm.c", Language::kC, false, read_fixture("normalized/bits_of_tokens.c")};
  EXPECT_EQ(check_of(facts, "legality.normalized").status, Verdict::kPass);
}

TEST(Helpers, TextInCInsideAScriptIsReadAtItsLines) {
  for (const char* quote : {"\"\"\"", "'''"}) {
    const std::string script = script_with(read_fixture("causal/gated_hint.c"), quote);
    Facts facts = record(script, {}, "final_exact");
    facts.sources = read_facts(MemoryFolder("records/x", {{"train_gpt.py", script}})).sources;
    ASSERT_EQ(facts.sources.size(), 2u) << quote;
    EXPECT_EQ(facts.sources[1].language, Language::kC);
    facts.runs[0].markers.push_back({"ngram_tilt:hints total=9 within_gate=3", {"train.log", 3}});
    const Check fails = check_of(facts, "legality.causal");
    EXPECT_EQ(fails.status, Verdict::kFail);
    EXPECT_TRUE(names_line(fails, "train_gpt.py", line_of(script, "if (!is_new")));
    facts.sources =
        read_facts(MemoryFolder("records/x",
                                {{"train_gpt.py", script_with(read_fixture("causal/hint_of_the_past.c"), quote)}}))
            .sources;
    EXPECT_EQ(check_of(facts, "legality.causal").status, Verdict::kPass);
  }
}

TEST(Helpers, TextsInsideScriptsAreBoundedInNumber) {
  std::string script;
  for (int i = 0; i < limits::kEmbeddedTexts + 3; ++i) script += "S = '''#include <a.h>\nint a;'''\n";
  const Facts facts = read_facts(MemoryFolder("records/x", {{"train_gpt.py", script}}));
  EXPECT_EQ(facts.sources.size(), 1u + limits::kEmbeddedTexts);
  ASSERT_EQ(facts.problems.size(), 1u);
  EXPECT_NE(facts.problems[0].find("train_gpt.py: more than 32 texts in C"), std::string::npos) << facts.problems[0];
}

}  // namespace
}  // namespace fairway::audit::testing
