/// Present, reachable, affects the score: what logs, commands, titles and defaults say of a construct.
#include <gtest/gtest.h>

#include "tests/verifier/rules/support.h"

namespace fairway::audit::testing {
namespace {

using verifier::Check;
using verifier::Verdict;

TEST(Reachability, DefaultOffButLoggedOnFails) {
  const std::string off = replaced(read_fixture("score_first/before_scoring.py"), R"("ADAPT", "1")", R"("ADAPT", "0")");
  EXPECT_EQ(check_of(record(off, {}, "final_exact"), "legality.score_first").status, Verdict::kPass);
  EXPECT_EQ(check_of(record(off, {{"adapt", "True"}}, "final_exact"), "legality.score_first").status, Verdict::kFail);
}

TEST(Reachability, DefaultOffButAskedForByTheRunCommandFails) {
  const std::string off = replaced(read_fixture("score_first/before_scoring.py"), R"("ADAPT", "1")", R"("ADAPT", "0")");
  Facts facts = record(off, {}, "final_exact");
  facts.readme_file = "README.md";
  facts.readme = "# Run\n```bash\nADAPT=1 torchrun --nproc_per_node=8 train_gpt.py\n```\n";
  EXPECT_EQ(check_of(facts, "legality.score_first").status, Verdict::kFail);
  facts.readme = "# Run\nIllegal would be ADAPT=1.\n```bash\ntorchrun --nproc_per_node=8 train_gpt.py\n```\n";
  EXPECT_EQ(check_of(facts, "legality.score_first").status, Verdict::kPass);
}

TEST(Reachability, RunsThatDisagreeAreAQuestion) {
  Facts facts = record(read_fixture("score_first/before_scoring.py"), {{"adapt", "True"}}, "final_exact");
  facts.runs.push_back(facts.runs[0]);
  facts.runs[1].hyperparameters["adapt"].value = "False";
  EXPECT_EQ(check_of(facts, "legality.score_first").status, Verdict::kReview);
}

TEST(Reachability, ASwitchThatIsOffInARecordWithoutLogsIsAQuestion) {
  const std::string off = replaced(read_fixture("score_first/before_scoring.py"), R"("ADAPT", "1")", R"("ADAPT", "0")");
  Facts facts = record(off);
  facts.runs.clear();
  EXPECT_EQ(check_of(facts, "legality.score_first").status, Verdict::kReview);
}

TEST(Reachability, RunsWhoseFilesLieElsewhereDoNotDisagree) {
  const std::string text =
      replaced(read_fixture("score_first/before_scoring.py"), R"(os.path.join("data", "fineweb_val_*.bin"))",
               R"(os.environ.get("VAL_FILES", "data/fineweb_val_*.bin"))");
  ASSERT_NE(text.find("VAL_FILES"), std::string::npos);
  Facts facts = record(text, {{"val_files", "/a/fineweb_val_*.bin"}}, "final_exact");
  facts.runs.push_back(facts.runs[0]);
  facts.runs[1].hyperparameters["val_files"].value = "/b/fineweb_val_*.bin";
  EXPECT_EQ(check_of(facts, "legality.score_first").status, Verdict::kFail);
}

/// A record without logs whose switch ADAPT_ENABLED is off by default.
Facts unlogged(const std::string& title) {
  const std::string off =
      replaced(read_fixture("score_first/before_scoring.py"), R"("ADAPT", "1")", R"("ADAPT_ENABLED", "0")");
  Facts facts = record(off);
  facts.runs.clear();
  facts.readme_file = "README.md";
  facts.readme = title + "\nadapt\n";
  return facts;
}

TEST(Reachability, WithoutLogsASwitchThatTheTitleNamesIsOn) {
  EXPECT_EQ(check_of(unlogged("# Record: pre-quant ADAPT, 10 layers"), "legality.score_first").status, Verdict::kFail);
  Facts named = unlogged("# Record");
  named.claims.name = "10L a-dapt";
  EXPECT_EQ(check_of(named, "legality.score_first").status, Verdict::kFail);
  for (const char* title :
       {"# Record: no adapt", "# Record without ADAPT", "# Adaptive record", "Adapt", "# adapt vs. none"})
    EXPECT_EQ(check_of(unlogged(title), "legality.score_first").status, Verdict::kReview) << title;
}

TEST(Reachability, WithoutLogsAMentionOfAnotherValueIsAQuestion) {
  Facts facts = unlogged("# Record: adapt");
  facts.readme = "# Record: adapt\nThe ablation has `ADAPT_ENABLED=0`.\n";
  EXPECT_EQ(check_of(facts, "legality.score_first").status, Verdict::kReview);
  for (const char* mention : {"ADAPT_ENABLED=0", "`ADAPT_ENABLED=1`", "`ADAPT_ENABLED = 0"}) {
    facts.readme = std::string("# Record: adapt\n") + mention + "\n";
    EXPECT_EQ(check_of(facts, "legality.score_first").status, Verdict::kFail) << mention;
  }
}

TEST(Reachability, LogsDecideOverTheTitle) {
  Facts facts = unlogged("# Record: adapt");
  facts.runs = record("", {{"adapt_enabled", "0"}}, "final_exact").runs;
  facts.reported_tag = "final_exact";
  EXPECT_EQ(check_of(facts, "legality.score_first").status, Verdict::kPass);
}

TEST(Reachability, AnIntermediateValueThatIsClaimedIsJudged) {
  const std::string text = replaced(read_fixture("normalized/byte_mixture.py"), "    print(f\"ppm_mix_exact",
                                    "    plain = torch.cat(per_token).mean()\n"
                                    "    print(f\"final_exact val_loss:{plain:.8f} val_bpb:{plain:.8f}\")\n"
                                    "    print(f\"diagnostic mixed");
  Facts facts = record(text, {}, "final_exact");
  EXPECT_EQ(check_of(facts, "legality.normalized").status, Verdict::kPass);
  facts.runs[0].scores.push_back(facts.runs[0].scores[0]);
  facts.runs[0].scores[1].tag = facts.reported_tag = "diagnostic mixed";
  facts.runs[0].scores[1].diagnostic = true;
  EXPECT_EQ(check_of(facts, "legality.normalized").status, Verdict::kFail);
}

TEST(Reachability, WhatTheLogsPrintedHasRun) {
  std::string off = replaced(read_fixture("score_first/before_scoring.py"), R"("ADAPT", "1")", R"("ADAPT", "0")");
  off = replaced(off, "        polish(args, model, stream)",
                 "        print(f\"ttt_adapt:start {1}\")\n        polish(args, model, stream)");
  Facts facts = record(off, {}, "final_exact");
  facts.runs[0].markers.push_back({"ttt_adapt:start 1", {"train.log", 7}});
  EXPECT_EQ(check_of(facts, "legality.score_first").status, Verdict::kFail);
}

TEST(Reachability, ABranchThatIsOnByDefaultAndWhoseLineNoLogHasIsAQuestion) {
  const std::string text =
      replaced(read_fixture("score_first/before_scoring.py"), "        polish(args, model, stream)",
               "        print(f\"ttt_adapt:start {1}\")\n        polish(args, model, stream)");
  Facts facts = record(text, {}, "final_exact");
  EXPECT_EQ(check_of(facts, "legality.score_first").status, Verdict::kReview);
  facts.runs[0].markers.push_back({"ttt_adapt:start 1", {"train.log", 7}});
  EXPECT_EQ(check_of(facts, "legality.score_first").status, Verdict::kFail);
  facts.runs[0].markers[0].text = "ttt_other";
  EXPECT_EQ(check_of(record(text, {{"adapt", "1"}}, "final_exact"), "legality.score_first").status, Verdict::kFail)
      << "logged to be on";
}

TEST(Reachability, TheTagThatTellsMostIsTheClaimedOne) {
  const std::string text = replaced(read_fixture("score_first/unlogged_branch.py"), "print(f\"polished_exact",
                                    "label = open(\"x\").read()\n        print(f\"{label}_exact");
  EXPECT_EQ(check_of(record(text, {{"polish", "1"}}, "final_exact"), "legality.score_first").status, Verdict::kPass);
  EXPECT_EQ(check_of(record(text, {{"polish", "1"}}, "other_exact"), "legality.score_first").status, Verdict::kFail);
}

TEST(Reachability, CodeThatNobodyCallsPasses) {
  const std::string unused =
      replaced(read_fixture("score_first/before_scoring.py"), "        polish(args, model, stream)", "        pass");
  EXPECT_EQ(check_of(record(unused, {}, "final_exact"), "legality.score_first").status, Verdict::kPass);
}

TEST(Reachability, TheEnvironmentMayBeReadThroughAVariable) {
  const std::string kept = replaced(read_fixture("score_first/before_scoring.py"),
                                    R"(bool(int(os.environ.get("ADAPT", "1"))))", R"(bool(int(e("ADAPT", "0"))))");
  const std::string text = replaced(kept, "class Hyperparameters:", "e = os.environ.get\n\n\nclass Hyperparameters:");
  EXPECT_EQ(check_of(record(text, {}, "final_exact"), "legality.score_first").status, Verdict::kPass);
  EXPECT_EQ(check_of(record(text, {{"adapt", "1"}}, "final_exact"), "legality.score_first").status, Verdict::kFail);
}

TEST(Reachability, ABranchWhoseScoreIsInNoLogIsAQuestionIfTheClaimIsToo) {
  Facts facts = record(read_fixture("score_first/unlogged_branch.py"), {}, "final_exact");
  facts.reported_tag.clear();
  EXPECT_EQ(check_of(facts, "legality.score_first").status, Verdict::kReview);
  // Nor do logs of another version of the script show that it ran, unless they have other lines of it.
  EXPECT_EQ(check_of(record(read_fixture("score_first/unlogged_branch.py"), {}, "other_exact"), "legality.score_first")
                .status,
            Verdict::kReview);
  const std::string told =
      replaced(read_fixture("score_first/unlogged_branch.py"),
               "        optimizer = ", "        print(f\"polish: {1} steps\")\n        optimizer = ");
  Facts other = record(told, {}, "other_exact");
  EXPECT_EQ(check_of(other, "legality.score_first").status, Verdict::kReview);
  other.runs[0].markers.push_back({"polish: 3 steps", {"train.log", 3}});
  EXPECT_EQ(check_of(other, "legality.score_first").status, Verdict::kFail);
}

}  // namespace
}  // namespace fairway::audit::testing
