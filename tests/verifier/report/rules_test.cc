#include "verifier/rules/rules.h"

#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>

#include "verifier/report/report.h"

namespace fairway::verifier {
namespace {

/// The ids of the first column of every table in RULES.md.
std::multiset<std::string> documented() {
  std::ifstream file(FAIRWAY_SOURCE_DIR "/verifier/RULES.md");
  std::multiset<std::string> ids;
  static const std::regex row(R"(^\| `([a-z_]+\.[a-z_0-9]+)` \|.*)");
  std::smatch match;
  for (std::string line; std::getline(file, line);) {
    if (std::regex_match(line, match, row)) ids.insert(match[1]);
  }
  return ids;
}

TEST(Rules, AreThoseOfRulesMd) {
  std::set<std::string> registered, listed;
  for (const Rule& r : rules()) registered.insert(r.id);
  for (const std::string& id : documented()) listed.insert(id);
  EXPECT_EQ(registered, listed);
  EXPECT_EQ(registered.size(), rules().size()) << "an id is registered twice";
}

TEST(Rules, AreComplete) {
  for (const Rule& r : rules()) {
    SCOPED_TRACE(r.id);
    for (const char* text : {r.title, r.rule, r.why, r.source}) EXPECT_STRNE(text, "");
    EXPECT_TRUE(std::regex_match(r.id, std::regex("[a-z]+\\.[a-z0-9_]+")));
    const std::string url = r.url;
    EXPECT_TRUE(url.empty() || url.starts_with("https://")) << url;
    EXPECT_EQ(find_rule(r.id), &r);
  }
  EXPECT_EQ(find_rule("legality"), nullptr);
}

TEST(Rules, AMisspeltIdFindsItsNeighbours) {
  EXPECT_EQ(nearest_rules("legality.score_frist", 1), std::vector<std::string>{"legality.score_first"});
  EXPECT_EQ(nearest_rules("single-pass", 1), std::vector<std::string>{"legality.single_pass"});
  EXPECT_EQ(nearest_rules("artefact.bytes", 1), std::vector<std::string>{"artifact.bytes"});
  EXPECT_EQ(nearest_rules(std::string(1 << 20, 'x'), 3).size(), 3u);
}

TEST(Explain, PrintsRuleReasonLegalFormAndSource) {
  auto page = explain_rule("legality.score_first", 80);
  ASSERT_TRUE(page);
  for (const char* head :
       {"legality.score_first: ", "\nRule\n", "\nWhy\n", "\nWhat is legal\n", "\nSettled by\n", "https://"}) {
    EXPECT_NE(page->find(head), std::string::npos) << head;
  }
}

TEST(Explain, AnUnknownRuleIsAUsageErrorWithTheNearest) {
  auto page = explain_rule("score_first\x1b[2J", 80);
  ASSERT_FALSE(page);
  EXPECT_EQ(page.error().exit_code(), 64);
  EXPECT_NE(page.error().message().find("legality.score_first"), std::string::npos);
  EXPECT_EQ(page.error().message().find('\x1b'), std::string::npos);
}

TEST(RulesDeathTest, AReportRefusesAnIdThatIsNotRegistered) {
  Report report;
  EXPECT_DEATH(report.add("made.up", Verdict::kPass, ""), "find_rule");
}

}  // namespace
}  // namespace fairway::verifier
