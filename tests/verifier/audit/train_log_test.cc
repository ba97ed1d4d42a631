#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/verifier/audit/memory_folder.h"
#include "verifier/audit/limits.h"
#include "verifier/audit/read/log.h"
#include "verifier/audit/read/log_lines.h"
#include "verifier/audit/read/text.h"

namespace fairway::audit {
namespace {

std::vector<LoggedRun> read(std::string text) {
  std::vector<std::string> problems;
  return read_log("train.log", decode_text(std::move(text)), problems);
}

LoggedRun one(std::string text) {
  auto runs = read(std::move(text));
  EXPECT_EQ(runs.size(), 1u);
  return runs.empty() ? LoggedRun{} : runs[0];
}

TEST(Log, FamilyAIsRead) {
  const LoggedRun run = one(Record::log({42}));
  EXPECT_EQ(run.seed->value, 42);
  EXPECT_EQ(run.seed->place.line, 5);
  EXPECT_EQ(run.world_size->value, 8);
  EXPECT_EQ(run.train_shards->value, 80);
  EXPECT_EQ(run.val_tokens->value, 62'021'632);
  EXPECT_EQ(run.train_time_ms->value, 600'050);
  EXPECT_EQ(run.step_avg_ms->value, 48.41);
  EXPECT_EQ(run.steps->value, 12395);
  EXPECT_EQ(run.stop_reason->value, "wallclock_cap");
  EXPECT_EQ(run.model_bytes->value, 15'000'000);
  EXPECT_EQ(run.code_bytes->value, 50'000);
  EXPECT_EQ(run.total_bytes->value, 15'050'000);
  ASSERT_EQ(run.scores.size(), 4u);
  EXPECT_TRUE(run.scores[0].diagnostic);
  EXPECT_EQ(run.scores[3].tag, "final_sliding_window_exact");
  EXPECT_EQ(run.scores[3].val_bpb, 1.12526900);
  EXPECT_EQ(run.scores[3].bpb_decimals, 8);
  EXPECT_FALSE(run.scores[3].diagnostic);
  ASSERT_EQ(run.eval_times_ms.size(), 1u);
  EXPECT_EQ(run.eval_times_ms[0].value, 90'000);
  EXPECT_EQ(run.hyperparameters.at("max_wallclock_seconds").value, "600.000");
}

TEST(Log, ABlockWithTimeStampsEndsWhereItsIndentationDoes) {
  const std::string stamp = "2026-04-29 18:14:44+08:00 ";
  const LoggedRun run = one(stamp + "Hyperparameters:\n" + stamp + "  seed: 42\n" + stamp + "train_shards: 80\n" +
                            stamp + "stopping_early: wallclock_cap train_time: 588060ms step: 4787/20000\n" + stamp +
                            "quantized_ttt val_loss:2.78289460 val_bpb:1.07734522 eval_time:776046ms\n");
  EXPECT_EQ(run.seed->value, 42);
  EXPECT_EQ(run.train_time_ms->value, 588'060);
  ASSERT_EQ(run.scores.size(), 1u);
  EXPECT_EQ(run.scores[0].tag, "quantized_ttt");
}

TEST(Log, EveryScoreOfALineIsKeptAndDifferencesAreNot) {
  const LoggedRun run =
      one("seed:1\nfinal_sliding_window_exact sliding_bpb:1.14775606 val_bpb:0.39220592 delta_bpb:0.75555014\n");
  ASSERT_EQ(run.scores.size(), 2u);
  EXPECT_EQ(run.scores[0].val_bpb, 1.14775606);
  EXPECT_EQ(run.scores[1].val_bpb, 0.39220592);
}

constexpr const char* kFamilyB =
    "====================================================================================================\n"
    "Hyperparameters:\n"
    "  seed: 314\n"
    "  world_size: 8\n"
    "  prequant_ttt_enabled: True\n"
    "  val_files: ./data/fineweb_val_*.bin and more\n"
    "====================================================================================================\n"
    "train_shards: 128\n"
    "val_tokens: 40540160\n"
    "4000/20000 train_loss: 2.9123 train_time: 8.5m tok/s: 6469565\n"
    "4000/20000 val_loss: 2.9001 val_bpb: 1.1228\n"
    "stopping_early: wallclock_cap train_time: 588119ms step: 4557/20000\n"
    "pre-quantization post-ema val_loss:2.79000000 val_bpb:1.08010000 eval_time:8015ms\n"
    "Serialized model: 135431033 bytes\n"
    "Code size (uncompressed): 131072 bytes\n"
    "Code size (compressed): 33000 bytes\n"
    "Serialized model quantized+brotli: 15900000 bytes\n"
    "Total submission size quantized+brotli: 15933000 bytes\n"
    "quantized val_loss:2.80000000 val_bpb:1.08397000 eval_time:9871ms\n"
    "quantized_ttt_phased val_loss:2.77000000 val_bpb:1.07235000 eval_time:399120ms\n"
    "total_eval_time:421.6s\n";

TEST(Log, FamilyBIsReadWithMinutesAndItsBlock) {
  const LoggedRun run = one(kFamilyB);
  EXPECT_EQ(run.seed->value, 314);
  EXPECT_EQ(run.world_size->value, 8);
  EXPECT_EQ(run.hyperparameters.at("prequant_ttt_enabled").value, "True");
  EXPECT_EQ(run.hyperparameters.at("val_files").value, "./data/fineweb_val_*.bin and more");
  EXPECT_EQ(run.train_shards->value, 128);
  EXPECT_EQ(run.val_tokens->value, 40'540'160);
  EXPECT_EQ(run.train_time_ms->value, 588'119);
  EXPECT_EQ(run.code_bytes->value, 33'000) << "the code size that was added to the total";
  EXPECT_EQ(run.total_bytes->value, 15'933'000);
  EXPECT_EQ(run.total_eval_time_ms->value, 421'600);
  EXPECT_EQ(run.eval_times_ms.size(), 2u) << "pre-quantization is no stage of the evaluation";
  const auto steps =
      std::count_if(run.scores.begin(), run.scores.end(), [](const ScoreLine& s) { return s.diagnostic; });
  EXPECT_EQ(steps, 2);
}

TEST(Log, MinutesOfStepLinesBecomeMilliseconds) {
  EXPECT_EQ(one("world_size: 8\n4000/20000 train_loss: 2.9 train_time: 4.2m\n").train_time_ms->value, 252'000);
}

TEST(Log, EveryEncodingGivesTheSameFacts) {
  const std::string text = Record::log({42});
  std::string utf16 = "\xFF\xFE", crlf, cr;
  for (const char c : text) {
    utf16 += c;
    utf16 += '\0';
    crlf += c == '\n' ? "\r\n" : std::string(1, c);
    cr += c == '\n' ? '\r' : c;
  }
  for (const std::string& variant : {utf16, crlf, cr, "\xEF\xBB\xBF" + text, "\x1b[1m" + text + "\x1b[0m"}) {
    const LoggedRun run = one(variant);
    EXPECT_EQ(run.scores.back().val_bpb, 1.12526900);
    EXPECT_EQ(run.seed->value, 42);
    EXPECT_EQ(run.scores.back().place.line, 16);
  }
}

TEST(Log, PrefixesOfLaunchersAndClocksAreNoPartOfATag) {
  for (const char* prefix : {"[rank0]: ", "2026-03-24 10:11:12,345 - INFO - ", "2026-03-24T10:11:12Z INFO: ",
                             "[2026-03-24 10:11:12] ", "[2026-03-23 04:01:43] INFO: ", "2026-04-29 18:14:44+08:00 "}) {
    const LoggedRun run = one(std::string(prefix) + "final_int6_sliding_window val_loss:1.9000 val_bpb:1.1253\n");
    ASSERT_EQ(run.scores.size(), 1u) << prefix;
    EXPECT_EQ(run.scores[0].tag, "final_int6_sliding_window") << prefix;
  }
}

const std::string kRule(100, '=');
constexpr const char* kSource =
    "import os\nfrom pathlib import Path\nclass Args:\n    seed: int = 9\ndef log(x):\n    pass\n"
    "def main():\n    log(f\"final_int8_zlib_roundtrip val_loss:{v:.4f} val_bpb:{b:.4f}\")\n"
    "    # seed:7 gave final val_loss:1.0000 val_bpb:0.5000\nif __name__ == \"__main__\":\n    main()\n";

TEST(Log, ThePrintedSourceIsNoOutput) {
  const LoggedRun run = one(kSource + ("\n" + kRule + "\n") + Record::log({42}));
  EXPECT_EQ(run.seed->value, 42);
  EXPECT_EQ(run.scores.size(), 4u);
}

TEST(Log, OutputAfterTheSourceInOneSectionIsRead) {
  const LoggedRun run = one(kSource + std::string("\n") + Record::log({42}));
  EXPECT_EQ(run.seed->value, 42);
  EXPECT_EQ(run.scores.size(), 4u);
}

TEST(Log, APackedSourceOfOneLongLineIsSkipped) {
  std::string packed = "exec(lzma.decompress(base64.b85decode(\"";
  for (int i = 0; i < 340'000; ++i) packed += static_cast<char>('0' + i % 10);
  packed += "seed:9 val_loss:1.0 val_bpb:0.5\")))\n";
  const LoggedRun run = one(packed + kRule + "\n" + Record::log({42}));
  EXPECT_EQ(run.seed->value, 42);
  EXPECT_EQ(run.scores.size(), 4u);
}

TEST(Log, OnlyTheBeginningOfALongLineIsLookedAt) {
  const std::string far(static_cast<size_t>(limits::kLogLineBytes), '.');
  EXPECT_TRUE(read("seed:42 " + far + " val_loss:1.9 val_bpb:1.1\n")[0].scores.empty());
}

TEST(Log, EverySeedIsARunWithItsOwnHeader) {
  const auto runs = read(Record::log({42, 1.9, 1.12, 15'000'000, 50'000, 600'050, 90'000, 8}) +
                         Record::log({7, 1.8, 1.06, 15'000'000, 50'000, 600'050, 90'000, 4}));
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].seed->value, 42);
  EXPECT_EQ(runs[1].seed->value, 7);
  EXPECT_EQ(runs[0].world_size->value, 8);
  EXPECT_EQ(runs[1].world_size->value, 4) << "the header before the seed belongs to its run";
  EXPECT_EQ(runs[1].scores.back().val_bpb, 1.06);
}

TEST(Log, ASeedPrintedTwiceIsOneRun) { EXPECT_EQ(read("Seed: 42\n" + Record::log({42})).size(), 1u); }

TEST(Log, ScoresWithoutALossAreFound) {
  const LoggedRun run = one("seed:1\nngram_bpb=0.9123 time=3s\n");
  ASSERT_EQ(run.scores.size(), 1u);
  EXPECT_EQ(run.scores[0].val_bpb, 0.9123);
  EXPECT_FALSE(run.scores[0].val_loss);
}

TEST(Log, RunningValuesOfAnEvaluationAreDiagnostic) {
  const LoggedRun run =
      one("seed:1\n  ttt_chunk [1821/1893] bpb=1.129289 time=430.6s\nttt_sliding:done val_loss=1.899941 "
          "val_bpb=1.125255 elapsed=447.4s\n");
  ASSERT_EQ(run.scores.size(), 2u);
  EXPECT_TRUE(run.scores[0].diagnostic);
  EXPECT_FALSE(run.scores[1].diagnostic);
  EXPECT_EQ(run.scores[1].tag, "ttt_sliding:done");
  EXPECT_EQ(run.eval_times_ms.at(0).value, 447'400);
}

TEST(Log, AStageReportedTwiceCountsOnce) {
  const LoggedRun run =
      one("seed:1\nttt_sliding:done val_loss=1.899941 val_bpb=1.125255 elapsed=447.4s\n"
          "legal_ttt val_loss:1.8999 val_bpb:1.1253 eval_time:447956ms\n"
          "final_int6_roundtrip val_loss:1.9100 val_bpb:1.1312 eval_time:2000ms\n");
  ASSERT_EQ(run.eval_times_ms.size(), 2u);
  EXPECT_EQ(run.eval_times_ms[0].value, 447'956);
}

TEST(Log, ATotalWithoutACodecIsTheArtifactsOnlyWhereItAddsUp) {
  EXPECT_EQ(one("seed:1\nSerialized model: 106449565 bytes Code: 87629 bytes\nSerialized model int6+lzma: 15262616 "
                "bytes\nTotal submission size: 15350245 bytes\n")
                .total_bytes->value,
            15'350'245);
  EXPECT_FALSE(one("seed:1\nSerialized model: 30000000 bytes\nSerialized model int6+lzma: 15262616 bytes\nTotal "
                   "submission size: 30050000 bytes\n")
                   .total_bytes);
}

TEST(Log, SizesInMegabytesKeepTheirUnit) {
  const LoggedRun run = one("seed:1\nartifact: 15.33 MiB\n");
  ASSERT_EQ(run.sizes.size(), 1u);
  EXPECT_TRUE(run.sizes[0].mebi);
  EXPECT_FALSE(run.sizes[0].exact);
  EXPECT_EQ(run.sizes[0].bytes, 16'074'670);
}

TEST(Log, ALimitOrATargetIsNoSize) {
  EXPECT_TRUE(
      one("seed:1\ngptq:pre_prune artifact=15262616 target=15907371\nsize limit: 16000000 bytes\n").sizes.empty());
}

TEST(Log, ThousandsOfProgressLinesLeaveAFewMarkers) {
  std::string text = "seed:1\n";
  for (int i = 0; i < 5000; ++i) text += "ttt_chunk [" + std::to_string(i) + "/5000] bpb=1.1\n";
  const LoggedRun run = one(text);
  ASSERT_EQ(run.markers.size(), 4u);
  EXPECT_EQ(run.markers.back().text, "ttt_chunk [4999/5000] bpb=1.1");
}

TEST(TagKey, NumbersThatStandAloneAreReplaced) {
  EXPECT_EQ(tag_key("step:12395/20000"), "step:#/#");
  EXPECT_EQ(tag_key("final_int6_sliding_window stride:64"), "final_int6_sliding_window stride:#");
}

RC_GTEST_PROP(Log, AnyTextIsReadWithoutHarm, (const std::vector<std::string>& lines)) {
  std::string text;
  for (const std::string& l : lines) text += "seed:1 val_loss:" + l + " val_bpb: 1.1 eval_time:" + l + "\n" + l;
  for (const LoggedRun& r : read(text)) RC_ASSERT(r.first_line >= 1);
}

TEST(Log, MembersOfAPrintedObjectAreParameters) {
  const auto runs = read(
      "seed:1\n{\n  \"Two_Pass\": false,\n  \"order\": 12,\n  \"name\": \"a b\",\n  \"list\": [\n  \"none\": null\n}\n"
      "final val_loss:1.9 val_bpb:1.1\n");
  ASSERT_EQ(runs.size(), 1u);
  const auto& parameters = runs[0].hyperparameters;
  EXPECT_EQ(parameters.at("two_pass").value, "False");
  EXPECT_EQ(parameters.at("order").value, "12");
  EXPECT_EQ(parameters.at("name").value, "a b");
  EXPECT_EQ(parameters.at("none").value, "None");
  EXPECT_EQ(parameters.count("list"), 0u);
}

TEST(Log, AKeyBehindAKeyIsTheOneThatHasTheValue) {
  const auto runs = read("seed:1\nsgd_ttt:param_set:control path:http://x\nfinal val_loss:1.9 val_bpb:1.1\n");
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].hyperparameters.count("sgd_ttt"), 0u);
  EXPECT_EQ(runs[0].hyperparameters.at("param_set").value, "control");
  EXPECT_EQ(runs[0].hyperparameters.at("path").value, "http://x");
}

}  // namespace
}  // namespace fairway::audit
