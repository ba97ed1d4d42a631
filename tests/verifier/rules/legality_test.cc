#include <gtest/gtest.h>

#include <algorithm>

#include "tests/verifier/rules/support.h"

namespace fairway::audit::testing {
namespace {

using verifier::Check;
using verifier::Verdict;

struct Case {
  const char* fixture;
  std::map<std::string, std::string> settings;
  const char* tag;  ///< of the claimed score; empty: the claim matches nothing
  const char* id;
  Verdict expected;
  const char* evidence;  ///< words on a line that must be named; empty: none
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.fixture << " " << c.id; }

class Rules : public ::testing::TestWithParam<Case> {};

TEST_P(Rules, JudgesTheFixture) {
  const Case& c = GetParam();
  const std::string text = read_fixture(c.fixture);
  ASSERT_FALSE(text.empty());
  const Check check = check_of(record(text, c.settings, c.tag), c.id);
  EXPECT_EQ(verifier::verdict_name(check.status), std::string(verifier::verdict_name(c.expected))) << check.message;
  if (*c.evidence) {
    const int64_t line = line_of(text, c.evidence);
    ASSERT_GT(line, 0);
    EXPECT_TRUE(names_line(check, "train_gpt.py", line)) << "line " << line << ": " << c.evidence;
  }
}

const Case kCases[] = {
    {"score_first/legal_chunked.py", {}, "legal_ttt_exact", "legality.score_first", Verdict::kPass, ""},
    {"score_first/legal_chunked.py", {}, "legal_ttt_exact", "legality.single_pass", Verdict::kPass, ""},
    {"score_first/before_scoring.py", {}, "final_exact", "legality.score_first", Verdict::kFail, "loss.backward()"},
    {"score_first/before_scoring.py", {}, "", "legality.score_first", Verdict::kFail, "polish(args, model, stream)"},
    {"score_first/before_scoring.py", {{"adapt", "False"}}, "final_exact", "legality.score_first", Verdict::kPass, ""},
    {"score_first/before_scoring.py",
     {{"adapt_epochs", "0"}},
     "final_exact",
     "legality.score_first",
     Verdict::kPass,
     ""},
    {"score_first/unlogged_branch.py", {}, "final_exact", "legality.score_first", Verdict::kPass, ""},
    {"score_first/unlogged_branch.py", {}, "polished_exact", "legality.score_first", Verdict::kFail, "backward()"},
    {"score_first/copied_out.py", {}, "final_exact", "legality.score_first", Verdict::kFail, "backward()"},
    {"score_first/copied_out.py", {{"polish", "0"}}, "final_exact", "legality.score_first", Verdict::kPass, ""},
    {"score_first/two_scores_of_a_branch.py", {}, "final_exact", "legality.score_first", Verdict::kPass, ""},
    {"score_first/two_scores_of_a_branch.py",
     {{"polish", "1"}},
     "final_exact",
     "legality.score_first",
     Verdict::kFail,
     "backward()"},
    {"score_first/restored_by_hand.py", {}, "final_exact", "legality.score_first", Verdict::kPass, ""},
    {"score_first/second_model.py", {}, "final_exact", "legality.score_first", Verdict::kPass, ""},
    {"score_first/restored_by_hand.py", {{"measure", "0"}}, "final_exact", "legality.score_first", Verdict::kPass, ""},
    {"single_pass/rank_prefill.py", {}, "final_exact", "legality.single_pass", Verdict::kReview, "np.add.at("},
    {"normalized/count_cache.py", {}, "final_exact", "legality.normalized", Verdict::kPass, ""},
    {"single_pass/last_epoch_counts.py",
     {},
     "final_exact",
     "legality.single_pass",
     Verdict::kFail,
     "for epoch in range(epochs)"},
    {"single_pass/last_epoch_counts.py", {{"epochs", "1"}}, "final_exact", "legality.single_pass", Verdict::kPass, ""},
    {"single_pass/added_up.py", {}, "final_exact", "legality.single_pass", Verdict::kPass, ""},
    {"single_pass/scored_again.py",
     {},
     "second_pass",
     "legality.single_pass",
     Verdict::kFail,
     "model(piece[:-1], piece[1:]).backward()"},
    {"single_pass/scored_again.py", {}, "first_pass", "legality.single_pass", Verdict::kPass, ""},
    {"single_pass/scored_again.py", {}, "first_pass", "legality.score_first", Verdict::kPass, ""},
    {"single_pass/whole_stream_cache.py", {}, "final_exact", "legality.single_pass", Verdict::kFail, "np.add.at("},
    {"normalized/target_key.py",
     {},
     "final_ngram_exact",
     "legality.normalized",
     Verdict::kFail,
     "np.minimum(self.pairs[full]"},
    {"normalized/target_key.py", {{"ngram_mix", "0"}}, "final_ngram_exact", "legality.normalized", Verdict::kPass, ""},
    {"normalized/target_key.py", {}, "final_ngram_exact", "legality.single_pass", Verdict::kPass, ""},
    {"normalized/bigram_embedding.py", {}, "final_exact", "legality.normalized", Verdict::kPass, ""},
    {"normalized/hindsight.py", {}, "final_exact", "legality.normalized", Verdict::kFail, "torch.where("},
    {"normalized/byte_mixture.py", {}, "ppm_mix_exact", "legality.normalized", Verdict::kFail, "math.log(0.9"},
    {"slot/delta_on_scored.py", {}, "final_exact", "legality.slot", Verdict::kFail, "loss.backward()"},
    {"slot/delta_on_scored.py", {{"delta_steps", "0"}}, "final_exact", "legality.slot", Verdict::kPass, ""},
    {"slot/delta_on_scored.py", {}, "final_exact", "legality.score_first", Verdict::kPass, ""},
    {"causal/open_attention.py", {}, "final_exact", "legality.causal", Verdict::kFail, "is_causal=False"},
    {"causal/open_attention.py", {{"attend", "0"}}, "final_exact", "legality.causal", Verdict::kPass, ""},
    {"causal/key_value_cache.py", {}, "final_exact", "legality.causal", Verdict::kPass, ""},
    {"causal/document_edges.py",
     {{"smear_enabled", "True"}},
     "final_exact",
     "legality.causal",
     Verdict::kReview,
     "g * x[:, :-1]"},
    {"causal/document_edges.py", {{"smear_enabled", "False"}}, "final_exact", "legality.causal", Verdict::kPass, ""},
    {"data_split/stored_targets.py", {}, "final_exact", "data.split", Verdict::kFail, "same = held["},
    {"data_split/stored_targets.py", {{"use_blob", "0"}}, "final_exact", "data.split", Verdict::kSkip, ""},
    {"data_split/model_hint.py", {}, "final_exact", "data.split", Verdict::kSkip, ""},
    {"calibration/on_validation.py",
     {},
     "final_exact",
     "legality.calibration",
     Verdict::kFail,
     "hessians = collect_hessians("},
    {"calibration/on_validation.py",
     {{"calibrate_on", "train"}},
     "final_exact",
     "legality.calibration",
     Verdict::kPass,
     ""},
};

INSTANTIATE_TEST_SUITE_P(Fixtures, Rules, ::testing::ValuesIn(kCases));

TEST(StoredTargets, DefaultOffButLoggedOnFails) {
  const std::string off =
      replaced(read_fixture("data_split/stored_targets.py"), R"("USE_BLOB", "1")", R"("USE_BLOB", "0")");
  EXPECT_EQ(check_of(record(off, {}, "final_exact"), "data.split").status, Verdict::kSkip);
  EXPECT_EQ(check_of(record(off, {{"use_blob", "1"}}, "final_exact"), "data.split").status, Verdict::kFail);
}

/// A record of the 10-minute track whose run trained for so long and then calibrated.
Facts calibrated_after(const std::string& script, double train_time_ms,
                       std::map<std::string, std::string> settings = {}) {
  Facts facts = record(script, settings, "final_exact");
  facts.claims.track = "track_10min_16mb";
  LoggedRun& run = facts.runs[0];
  run.stop_reason = {"wallclock_cap", {"train.log", 5}};
  run.train_time_ms = {train_time_ms, {"train.log", 5}};
  run.markers.push_back({"gptq:calibrating", {"train.log", 6}});
  return facts;
}

TEST(RestoredByHand, WeightsThatWereKeptTooLateOrNotPutBackFail) {
  const std::string legal = read_fixture("score_first/restored_by_hand.py");
  const std::string keep = "        kept = {name: p.data.clone() for name, p in model.named_parameters()}\n";
  const std::string train = "        train_on(model, tokens)\n";
  const std::string late = replaced(legal, keep + train, train + keep);
  ASSERT_NE(late, legal);
  EXPECT_EQ(check_of(record(late, {}, "final_exact"), "legality.score_first").status, Verdict::kFail);
  const std::string changed = replaced(legal, "p.data.copy_(kept[name])", "p.data.add_(kept[name])");
  EXPECT_EQ(check_of(record(changed, {}, "final_exact"), "legality.score_first").status, Verdict::kFail);
  const std::string off = replaced(changed, R"("MEASURE", "1")", R"("MEASURE", "0")");
  EXPECT_EQ(check_of(record(off, {}, "final_exact"), "legality.score_first").status, Verdict::kPass);
  EXPECT_EQ(check_of(record(off, {{"measure", "1"}}, "final_exact"), "legality.score_first").status, Verdict::kFail);
}

TEST(SecondModel, WhatTheTrainedOneGaveItFails) {
  const std::string legal = read_fixture("score_first/second_model.py");
  for (const char* made :
       {"model = trial", "model = copy.deepcopy(trial)", "model = GPT(trial)",
        "model = GPT()\n    model.load_state_dict(trial.state_dict())",
        "model = GPT()\n    for p, q in zip(model.parameters(), trial.parameters()):\n        p.data.copy_(q.data)"}) {
    const std::string text = replaced(legal, "model = GPT()", made);
    ASSERT_NE(text, legal);
    EXPECT_EQ(check_of(record(text, {}, "final_exact"), "legality.score_first").status, Verdict::kFail) << made;
    EXPECT_EQ(check_of(record(text, {{"try", "0"}}, "final_exact"), "legality.score_first").status, Verdict::kPass)
        << made;
    const std::string off = replaced(text, R"("TRY", "1")", R"("TRY", "0")");
    EXPECT_EQ(check_of(record(off, {{"try", "1"}}, "final_exact"), "legality.score_first").status, Verdict::kFail)
        << made;
  }
  const std::string wrapped = replaced(replaced(legal, "model = GPT()", "model = kept"), "trial = GPT()",
                                       "kept = GPT()\n    trial = GPT(kept)");
  EXPECT_EQ(check_of(record(wrapped, {}, "final_exact"), "legality.score_first").status, Verdict::kFail);
}

TEST(LateTrainingData, FailsOnlyIfTheTimeIsUp) {
  const std::string late = read_fixture("calibration/after_training.py");
  const Check fails = check_of(calibrated_after(late, 600'050), "legality.calibration");
  EXPECT_EQ(fails.status, Verdict::kFail);
  EXPECT_TRUE(names_line(fails, "train_gpt.py", line_of(late, "collect_hessians(model, [train")));
  EXPECT_TRUE(names_line(fails, "train.log", 6));
  EXPECT_EQ(check_of(calibrated_after(late, 588'000), "legality.calibration").status, Verdict::kPass);
  EXPECT_EQ(check_of(calibrated_after(late, 600'050, {{"gptq_reserve_seconds", "12"}}), "legality.calibration").status,
            Verdict::kPass);
  EXPECT_EQ(check_of(calibrated_after(late, 600'050, {{"calibrate", "0"}}), "legality.calibration").status,
            Verdict::kPass);
  const std::string off = replaced(late, R"("CALIBRATE", "1")", R"("CALIBRATE", "0")");
  EXPECT_EQ(check_of(calibrated_after(off, 600'050, {{"calibrate", "1"}}), "legality.calibration").status,
            Verdict::kFail);
  Facts other = calibrated_after(late, 600'050);
  other.claims.track = "non-record";
  EXPECT_EQ(check_of(other, "legality.calibration").status, Verdict::kPass);
}

TEST(Slot, IsJudgedByTheSpansOfMaskAndScore) {
  const std::string same = read_fixture("slot/masked_window.py");
  EXPECT_EQ(check_of(record(same, {}, "final_exact"), "legality.slot").status, Verdict::kFail);
  const std::string before = replaced(same, "mask[0, start:end]", "mask[0, :start]");
  EXPECT_EQ(check_of(record(before, {}, "final_exact"), "legality.slot").status, Verdict::kPass);
  const std::string whole = replaced(same, "(losses * mask)", "losses");
  EXPECT_EQ(check_of(record(whole, {}, "final_exact"), "legality.slot").status, Verdict::kReview);
}

TEST(OpenMasks, ACausalFlagOrMaskPasses) {
  const std::string open = read_fixture("causal/open_attention.py");
  for (const char* arguments :
       {"q, k, v, is_causal=True", "q, k, v, attn_mask=torch.ones(T, T).tril()", "q, k, v, attn_mask=self.mask[:T, :T]",
        "q, k, v, None, 0.0, True", "q, k, v, scale=1.0, mask=\"causal\"", "q, k, v, is_causal=self.causal"}) {
    const std::string text = replaced(open, "q, k, v, is_causal=False", arguments);
    ASSERT_NE(text, open);
    EXPECT_EQ(check_of(record(text, {}, "final_exact"), "legality.causal").status, Verdict::kPass) << arguments;
  }
  const std::string masked = replaced(open, "        y = F.scaled_dot_product_attention(q, k, v, is_causal=False)",
                                      "        mask = torch.ones(T, T)\n        mask = mask.tril()\n"
                                      "        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)");
  EXPECT_EQ(check_of(record(masked, {}, "final_exact"), "legality.causal").status, Verdict::kPass);
}

TEST(OpenMasks, NoFlagOrAMaskOfOnesFails) {
  const std::string open = read_fixture("causal/open_attention.py");
  const std::string silent = replaced(open, ", is_causal=False", "");
  EXPECT_EQ(check_of(record(silent, {}, "final_exact"), "legality.causal").status, Verdict::kFail);
  const std::string ones = replaced(open, "        y = F.scaled_dot_product_attention(q, k, v, is_causal=False)",
                                    "        mask = torch.ones(T, T, dtype=torch.bool)\n"
                                    "        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)");
  EXPECT_EQ(check_of(record(ones, {}, "final_exact"), "legality.causal").status, Verdict::kFail);
  const std::string off = replaced(silent, R"("ATTEND", "1")", R"("ATTEND", "0")");
  EXPECT_EQ(check_of(record(off, {}, "final_exact"), "legality.causal").status, Verdict::kPass);
  EXPECT_EQ(check_of(record(off, {{"attend", "1"}}, "final_exact"), "legality.causal").status, Verdict::kFail);
}

TEST(OpenMasks, WhatMayBeHiddenOrMaskedElsewhereIsAQuestion) {
  const std::string open = read_fixture("causal/open_attention.py");
  const std::string decoder =
      replaced(open, "        return x + self.attn(x, cos, sin)",
               "        return F.scaled_dot_product_attention(x, x, x, is_causal=True) + self.attn(x, cos, sin)");
  const std::string conditional =
      replaced(open, "        y = F.scaled", "        if self.open:\n            y = F.scaled");
  const std::string hidden =
      replaced(open, "total = torch.zeros(())", "total = torch.zeros(())\n    mask_token = 1023");
  for (const std::string& text : {decoder, conditional, hidden}) {
    ASSERT_NE(text, open);
    const Check check = check_of(record(text, {}, "final_exact"), "legality.causal");
    EXPECT_EQ(check.status, Verdict::kReview);
    EXPECT_EQ(check.message.back(), '?') << check.message;
  }
}

TEST(OpenMasks, AModelThatIsNeverMadePasses) {
  const std::string text =
      replaced(read_fixture("causal/open_attention.py"), "Block(width, heads) for", "nn.Linear(1, 1) for");
  EXPECT_EQ(check_of(record(text, {}, "final_exact"), "legality.causal").status, Verdict::kPass);
}

TEST(DocumentEdges, AMaskAtTheStartsOrNoPackingPasses) {
  const std::string text = read_fixture("causal/document_edges.py");
  const std::string masked =
      replaced(text, "            x = torch.cat([",
               "            g = g * (input_ids[:, 1:] != 1).unsqueeze(-1)\n            x = torch.cat([");
  const std::string unpacked = replaced(text, "cu_seqlens", "lengths");
  for (const std::string& legal : {masked, unpacked}) {
    ASSERT_NE(legal, text);
    EXPECT_EQ(check_of(record(legal, {{"smear_enabled", "True"}}, "final_exact"), "legality.causal").status,
              Verdict::kPass);
  }
  // Off by default and in no log: not shown to have run.
  EXPECT_EQ(check_of(record(text, {}, "final_exact"), "legality.causal").status, Verdict::kPass);
}

TEST(Names, DecideNothing) {
  std::string text = read_fixture("score_first/before_scoring.py");
  int number = 0;
  for (const char* name : {"polish", "score", "stream", "tokens", "total", "piece", "optimizer", "model"}) {
    text = replaced(text, name, "q" + std::to_string(number++) + "z");
  }
  // `model` and its kin are gone; only data flow is left.
  EXPECT_EQ(check_of(record(text, {}, "final_exact"), "legality.score_first").status, Verdict::kFail);
}

TEST(SinglePass, ScoringAgainWithTheFilledCountsFails) {
  const std::string again =
      replaced(read_fixture("single_pass/added_up.py"), "    print(f\"final_exact",
               "    total = 0.0\n"
               "    for start in range(0, tokens.numel() - 1, 2048):\n"
               "        piece = tokens[start : start + 2049]\n"
               "        with torch.no_grad():\n"
               "            nll = F.cross_entropy(model(piece[:-1]), piece[1:], reduction=\"none\")\n"
               "        total += (nll - 0.1 * counts[piece[0], piece[1]]).sum()\n"
               "    print(f\"final_exact");
  EXPECT_EQ(check_of(record(again, {}, "final_exact"), "legality.single_pass").status, Verdict::kFail);
}

TEST(Sources, AFolderWithoutPythonIsSkipped) {
  Facts facts;
  for (const Check& check : audit_source(facts)) EXPECT_EQ(check.status, Verdict::kSkip) << check.id;
}

TEST(Sources, WithoutAScoreNothingPassesAndOneQuestionIsAsked) {
  const Facts facts = record("x = 1\n", {}, "final_exact");
  EXPECT_EQ(check_of(facts, "legality.score_first").status, Verdict::kReview);
  for (const char* id :
       {"legality.single_pass", "legality.normalized", "legality.causal", "legality.slot", "legality.calibration"}) {
    EXPECT_EQ(check_of(facts, id).status, Verdict::kSkip) << id;
  }
}

TEST(Sources, ASourceThatDoesNotParseIsAQuestionWithItsLine) {
  const Check check = check_of(record("x = 1\ny = = 2\n", {}, "final_exact"), "legality.score_first");
  EXPECT_EQ(check.status, Verdict::kReview);
  EXPECT_TRUE(names_line(check, "train_gpt.py", 2));
}

TEST(Sources, APackedScriptIsJudgedByWhatItUnpacksTo) {
  Facts facts = record("exec(decompress(b'...'))\n", {}, "final_exact");
  facts.sources.push_back({"train_gpt.py", "train_gpt.py!unpacked", Language::kPython, true,
                           read_fixture("score_first/before_scoring.py")});
  const Check check = check_of(facts, "legality.score_first");
  EXPECT_EQ(check.status, Verdict::kFail);
  ASSERT_FALSE(check.evidence.empty());
  EXPECT_EQ(check.evidence[0].file, "train_gpt.py!unpacked");
}

}  // namespace
}  // namespace fairway::audit::testing
