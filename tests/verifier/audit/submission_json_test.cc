#include "verifier/audit/read/submission_json.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "verifier/audit/limits.h"
#include "verifier/audit/read/flat_json.h"

namespace fairway::audit {
namespace {

Claims read(std::string_view text) { return read_submission_json("submission.json", text); }

TEST(SubmissionJson, EveryFactKeepsItsLine) {
  const Claims c = read(
      "{\n  \"name\": \"X\",\n  \"val_bpb\": 1.1630,\n  \"bytes_total\":\n    15353490,\n  \"train_time_seconds\": "
      "\"599.5\"\n}\n");
  EXPECT_TRUE(c.parsed) << c.problem;
  EXPECT_EQ(c.val_bpb->value, 1.1630);
  EXPECT_EQ(c.val_bpb->place.line, 3);
  EXPECT_EQ(c.bytes_total->value, 15353490);
  EXPECT_EQ(c.bytes_total->place.line, 4) << "the line of the key";
  EXPECT_EQ(c.train_time_seconds->value, 599.5) << "numbers as strings count";
  EXPECT_EQ(c.scalars.at("/val_bpb").value, "1.1630") << "as written, for its decimals";
}

TEST(SubmissionJson, AliasesOfTheScoreAreTaken) {
  for (const char* key : {"val_bpb", "mean_val_bpb", "val_bpb_mean", "mean_bpb"}) {
    EXPECT_EQ(read(std::string("{\"") + key + "\": 1.5}").val_bpb->value, 1.5) << key;
  }
  EXPECT_EQ(read("{\"val_bpb\": {\"mean\": 1.25, \"std\": 0.1}}").val_bpb->value, 1.25);
  EXPECT_EQ(read("{\"val_bpb\": 1.17, \"mean_val_bpb\": 1.18}").val_bpb->value, 1.17) << "val_bpb comes first";
}

TEST(SubmissionJson, AMeanUnderAnotherNameIsTakenIfItsWordsSayNothingElse) {
  for (const char* key : {"val_bpb_3seed_mean", "val_bpb_mean_3_seeds", "three_seed_mean_val_bpb", "final_bpb_avg"}) {
    const Claims c = read(std::string("{\"diagnostic_bpb_mean\": 1.6, \"") + key + "\": 1.5}");
    ASSERT_TRUE(c.val_bpb) << key;
    EXPECT_EQ(c.val_bpb->value, 1.5) << key;
  }
  for (const char* key : {"val_bpb_3seed_std", "pre_quant_val_bpb_mean", "neural_bpb_mean", "val_bpb__mean", "mean"}) {
    EXPECT_FALSE(read(std::string("{\"") + key + "\": 1.5}").val_bpb) << key;
  }
  EXPECT_FALSE(read("{\"val_bpb\": null, \"val_bpb_3seed_mean\": 1.5}").val_bpb) << "retracted";
}

TEST(SubmissionJson, PlaceholdersAreNoScore) {
  for (const char* value : {"null", "\"pending\"", "\"TBD\""}) {
    const Claims c = read(std::string("{\"val_bpb\": ") + value + ", \"val_bpb_retracted\": 1.1}");
    EXPECT_TRUE(c.parsed);
    EXPECT_FALSE(c.val_bpb) << value;
    EXPECT_FALSE(c.val_bpb_text.empty()) << value;
  }
  EXPECT_FALSE(read("{\"bytes_total\": 8.0}").bytes_total) << "megabytes are no byte count";
}

using Seeds = std::map<std::string, double>;

TEST(SubmissionJson, SeedsAreFoundInEveryForm) {
  const Seeds expected = {{"42", 1.5}, {"1337", 1.75}};
  EXPECT_EQ(read(R"({"seed_results": {"42": 1.5, "1337": 1.75}})").seed_bpb, expected);
  EXPECT_EQ(read(R"({"seed_results": {"42": {"val_bpb": 1.5, "steps": 9}, "1337": {"val_bpb": 1.75}}})").seed_bpb,
            expected);
  EXPECT_EQ(read(R"({"seed_results": [{"seed": 42, "val_bpb": 1.5}, {"seed": 1337, "bpb": 1.75}]})").seed_bpb,
            expected);
  EXPECT_EQ(read(R"({"seeds": {"42": {"ttt_bpb": 1.5}, "1337": {"ttt_bpb": 1.75}}})").seed_bpb, expected);
  EXPECT_EQ(read(R"({"val_bpb_seeds": {"seed_42": 1.5, "seed_1337": 1.75}})").seed_bpb, expected);
  EXPECT_EQ(read(R"({"results": {"seed_42": {"val_bpb": 1.5}, "seed_1337": {"val_bpb": 1.75}}})").seed_bpb, expected);
  EXPECT_EQ(read(R"({"seed_42": {"val_bpb": 1.5}, "seed_1337": {"val_bpb": 1.75}})").seed_bpb, expected);
  EXPECT_EQ(read(R"({"seed_results": [1.5, 1.75]})").seed_bpb, (Seeds{{"#0", 1.5}, {"#1", 1.75}}));
  EXPECT_EQ(read(R"({"seeds": [42, 1337]})").seeds, (std::vector<std::string>{"42", "1337"}));
  EXPECT_TRUE(read(R"({"seeds": [42, 1337]})").seed_bpb.empty());
}

TEST(SubmissionJson, NumbersBeforeAFixAreNotTaken) {
  EXPECT_TRUE(read(R"({"seed_results_pre_fix": {"42": 1.5, "1337": 1.75}})").seed_bpb.empty());
}

TEST(SubmissionJson, ArtifactBytesPerSeedAreKept) {
  EXPECT_EQ(read(R"({"artifact_bytes": {"42": 15900000, "7": 15950000}})").seed_bytes.at("7").value, 15950000);
  EXPECT_EQ(read(R"({"seed_results": {"42": {"val_bpb": 1.5, "artifact_bytes": 15900000}}})").seed_bytes.at("42").value,
            15900000);
}

struct Damage {
  const char* name;
  const char* text;
  int64_t line;
  bool has_score;
};

TEST(SubmissionJson, ADamagedFileIsReportedWithItsLineAndReadUpToTheDamage) {
  const Damage cases[] = {
      {"two documents", "{\"val_bpb\": 1.5}\n{\"val_bpb\": 1.6}\n", 2, true},
      {"missing brace", "{\n\"val_bpb\": 1.5\n", 2, true},
      {"trailing comma", "{\n\"val_bpb\": 1.5,\n}\n", 3, true},
      {"truncated string", "{\n\"val_bpb\": 1.5,\n\"name\": \"abc", 3, true},
      {"prefix", "json{\"val_bpb\": 1.5}", 1, true},
      {"missing comma", "{\n\"val_bpb\": 1.5\n\"name\": \"x\"\n}", 3, true},
      {"heredoc", "cat > submission.json <<'EOF'\n{\n\"val_bpb\": 1.5\n}\nEOF\n", 1, true},
      {"empty", "", 1, false},
      {"no json", "hello\n", 1, false},
      {"list", "[1, 2]", 1, false},
  };
  for (const Damage& d : cases) {
    const Claims c = read(d.text);
    EXPECT_TRUE(c.present) << d.name;
    EXPECT_FALSE(c.parsed) << d.name;
    EXPECT_FALSE(c.problem.empty()) << d.name;
    EXPECT_EQ(c.problem_line, d.line) << d.name << ": " << c.problem;
    EXPECT_EQ(c.val_bpb.has_value(), d.has_score) << d.name;
  }
}

TEST(FlatJson, NestingAndNumberOfValuesAreBounded) {
  const FlatJson deep = read_flat_json(std::string(100'000, '['));
  EXPECT_NE(deep.problem.find("nested"), std::string::npos) << deep.problem;
  std::string many = "[";
  for (int64_t i = 0; i <= limits::kJsonValues; ++i) many += "1,";
  EXPECT_NE(read_flat_json(many + "1]").problem.find("values"), std::string::npos);
}

TEST(FlatJson, PointersEscapeTheirParts) {
  const FlatJson j = read_flat_json(R"({"a/b": {"c~d": [true, null]}})");
  ASSERT_EQ(j.scalars.size(), 2u);
  EXPECT_EQ(j.scalars[0].pointer, "/a~1b/c~0d/0");
  EXPECT_EQ(j.scalars[1].pointer, "/a~1b/c~0d/1");
}

RC_GTEST_PROP(SubmissionJson, AnyTextIsReadWithoutHarm, (const std::string& text)) {
  const Claims c = read("{\"val_bpb\": " + text);
  RC_ASSERT(c.present);
}

}  // namespace
}  // namespace fairway::audit
