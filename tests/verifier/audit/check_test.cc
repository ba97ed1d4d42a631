/// Each check on a record that breaks nothing, and on that record with one thing changed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/verifier/audit/memory_folder.h"
#include "tests/verifier/audit/sentencepiece_file.h"
#include "verifier/audit/audit.h"

namespace fairway::audit {
namespace {

using verifier::Check;
using verifier::Verdict;

Check find(const Record& record, const std::string& id) {
  const verifier::Report report = audit(record.folder(), {.legality = false});
  for (const Check& c : report.checks) {
    if (c.id == id) return c;
  }
  ADD_FAILURE() << "no check " << id;
  return {};
}

void expect(const Record& record, const std::string& id, Verdict status, const std::string& word = "") {
  const Check c = find(record, id);
  EXPECT_EQ(verdict_name(c.status), std::string(verdict_name(status))) << id << ": " << c.message;
  EXPECT_NE(c.message.find(word), std::string::npos) << c.message;
  if (status == Verdict::kFail) {
    EXPECT_FALSE(c.evidence.empty()) << id << " fails without evidence";
  }
}

/// The record that breaks nothing, with every run changed.
template <class Change>
Record each_seed(Change change) {
  Record r;
  std::for_each(r.seeds.begin(), r.seeds.end(), change);
  return r;
}

TEST(Checks, ARecordThatBreaksNothingPassesEveryOne) {
  const verifier::Report report = audit(Record().folder(), {.legality = false});
  for (const Check& c : report.checks) {
    if (c.id == "stats.significance") continue;  // nothing is known here of the record that this one would have to beat
    EXPECT_EQ(c.status, Verdict::kPass) << c.id << ": " << c.message;
  }
  EXPECT_EQ(report.exit_code(), 0);
}

TEST(StructureFiles, NamesWhatIsMissing) {
  Record r;
  r.with_final = true;
  MemoryFolder folder(r.path, {{"train_gpt.py", "import torch\n"}});
  const Check c = audit(folder, {.legality = false}).checks[0];
  EXPECT_EQ(c.id, "structure.files");
  EXPECT_EQ(c.status, Verdict::kReview);
  for (const char* word : {"README.md", "submission.json", "a train log"})
    EXPECT_NE(c.message.find(word), std::string::npos) << word;
}

TEST(StructureFiles, AnAbsentBlobIsNamedAndNotAFault) {
  MemoryFolder folder = Record().folder();
  folder.add("final_model.int6.ptz", FileState::kAbsent);
  const Check c = audit(folder, {.legality = false}).checks[0];
  EXPECT_EQ(c.status, Verdict::kPass);
  EXPECT_NE(c.message.find("without content"), std::string::npos);
}

TEST(StructureJson, ADamagedFileFailsWithItsLine) {
  Record r;
  r.json = "{\n\"val_bpb\": 1.1,\n}";
  expect(r, "structure.json", Verdict::kFail);
  EXPECT_EQ(find(r, "structure.json").evidence[0].line, 3);
}

TEST(StructureJson, APlaceholderIsAQuestion) {
  Record r;
  r.json = "{\"name\": \"x\", \"author\": \"y\", \"val_bpb\": \"pending\"}";
  expect(r, "structure.json", Verdict::kReview, "pending");
}

TEST(ArtifactBytes, OverTheLimitInLogAndJsonFails) {
  Record r = each_seed([](Record::Seed& s) { s.model_bytes = 15'960'000; });
  expect(r, "artifact.bytes", Verdict::kFail, "over the limit");
}

TEST(ArtifactBytes, AnotherTotalThatFitsMakesItAQuestion) {
  Record r = each_seed([](Record::Seed& s) { s.model_bytes = 42'870'125; });
  r.json = "{\"name\": \"x\", \"author\": \"y\", \"val_bpb\": 1.125269, \"bytes_int1_plus_code\": 12270709}";
  expect(r, "artifact.bytes", Verdict::kReview, "12270709 under /bytes_int1_plus_code");
  r.json = "{\"name\": \"x\", \"author\": \"y\", \"val_bpb\": 1.125269, \"bytes_int1_plus_code\": 17270709}";
  expect(r, "artifact.bytes", Verdict::kFail);
}

TEST(ArtifactBytes, OneSeedOverTheLimitFails) {
  Record r;
  r.seeds[2].model_bytes = 15'999'000;
  expect(r, "artifact.bytes", Verdict::kFail);
}

TEST(ArtifactBytes, ExactlyTheLimitPasses) {
  Record r = each_seed([](Record::Seed& s) { s.model_bytes = 15'950'000; });
  expect(r, "artifact.bytes", Verdict::kPass);
}

TEST(ArtifactBytes, MebibytesReadAsMegabytesAreNamed) {
  Record r;
  r.with_final = false;
  r.seeds.clear();
  r.json = "{\"name\": \"x\", \"author\": \"y\", \"val_bpb\": 1.1, \"bytes_total\": 16076737}";
  expect(r, "artifact.bytes", Verdict::kFail, "not 16 MiB");
}

TEST(ArtifactBytes, ATotalFarFromEveryLogIsAQuestion) {
  Record r;
  r.json = r.default_json();
  r.json.replace(r.json.find("15050000"), 8, "12050000");
  expect(r, "artifact.bytes", Verdict::kReview, "of which run");
}

TEST(ArtifactBytes, ALogThatCountsMoreCodeThanIsShippedIsAQuestion) {
  Record r;
  r.json = r.default_json();
  for (auto& s : r.seeds) {
    s.model_bytes = 15'940'000;
    s.code_bytes = 70'000;  // 16,010,000 in the log; the shipped script has 50,000
  }
  expect(r, "artifact.bytes", Verdict::kReview, "which code counts");
}

TEST(TimeTrain, OneStepBeyondTheCapIsTolerated) {
  Record r;
  r.seeds[0].train_ms = 600'180;
  expect(r, "time.train", Verdict::kPass, "tolerated");
}

TEST(TimeTrain, ASlowLastStepIsAQuestionAndMinutesAreAFault) {
  Record r;
  r.seeds[1].train_ms = 603'000;
  expect(r, "time.train", Verdict::kReview, "slow step");
  r.seeds[1].train_ms = 900'000;
  expect(r, "time.train", Verdict::kFail, "beyond the limit");
}

TEST(TimeTrain, FewerGpusAreNotTheRecordSetting) {
  Record r = each_seed([](Record::Seed& s) { s.world_size = 1; });
  expect(r, "time.train", Verdict::kReview, "record setting");
}

TEST(TimeTrain, AnotherGpuIsNotTheRecordSetting) {
  Record r;
  r.seeds[0].more = "|   0  NVIDIA H100 80GB HBM3          On  |   00000000:19:00.0 Off |                    0 |\n";
  expect(r, "time.train", Verdict::kPass);
  r.seeds[0].more = "|   0  NVIDIA GeForce RTX 5090         On  |   00000000:19:00.0 Off |                    0 |\n";
  expect(r, "time.train", Verdict::kReview, "RTX 5090");
}

TEST(TimeTrain, TheNonRecordTrackHasNoLimit) {
  Record r;
  r.path = "records/track_non_record_16mb/2026-04-01_Example";
  for (auto& s : r.seeds) s.train_ms = 7'200'000;
  expect(r, "time.train", Verdict::kSkip);
}

TEST(TimeTrain, CalibrationAfterTheLimitIsAQuestionUnlessOnGeneratedText) {
  Record r = each_seed([](Record::Seed& s) { s.more = "gptq:calibrating with 256 batches...\n"; });
  expect(r, "time.train", Verdict::kReview, "calibration");
  for (auto& s : r.seeds)
    s.more = "gptq:generating autoregressive calibration text\ngptq:calibrating with 64 sequences\n";
  expect(r, "time.train", Verdict::kPass);
}

TEST(TimeEval, TheReportedStageBeyondTheLimitFails) {
  Record r = each_seed([](Record::Seed& s) { s.eval_ms = 660'000; });
  expect(r, "time.eval", Verdict::kFail, "beyond the limit");
}

TEST(TimeEval, StagesAreAdded) {
  Record r = each_seed([](Record::Seed& s) {
    s.eval_ms = 405'000;
    s.more = "final_other val_loss:1.9500 val_bpb:1.1549 eval_time:395000ms\n";
  });
  expect(r, "time.eval", Verdict::kReview, "together");
}

TEST(ScoreClaim, NamesTheTagWhoseMeanItIs) {
  expect(Record(), "score.claim", Verdict::kPass, "final_sliding_window_exact");
  EXPECT_EQ(find(Record(), "score.claim").evidence.size(), 4u);
}

TEST(ScoreClaim, TheBestSeedIsAQuestion) {
  Record r;
  r.seeds[1].val_bpb = 1.13;
  r.json = fmt::format("{{\"name\": \"x\", \"author\": \"y\", \"val_bpb\": {:.8f}}}", 1.12515055);
  expect(r, "score.claim", Verdict::kReview, "best of 3");
}

TEST(ScoreClaim, AScoreBetterThanEveryLogFails) {
  Record r;
  r.json = "{\"name\": \"x\", \"author\": \"y\", \"val_bpb\": 1.0435}";
  expect(r, "score.claim", Verdict::kFail, "no value and no mean");
}

TEST(ScoreClaim, AScoreBetterThanTheLogsOfSomeSeedsIsAQuestion) {
  Record r;
  r.json = "{\"name\": \"x\", \"author\": \"y\", \"val_bpb\": 1.0435, \"seeds\": [42, 1337, 2024, 7, 8]}";
  expect(r, "score.claim", Verdict::kReview);
}

TEST(ScoreClaim, AValueBeforeQuantisationIsAQuestion) {
  Record r;
  r.seeds.resize(1);
  r.seeds[0].more = "DIAGNOSTIC post_ema val_loss:1.8000 val_bpb:1.0660 eval_time:2000ms\n";
  r.json = "{\"name\": \"x\", \"author\": \"y\", \"val_bpb\": 1.0660}";
  expect(r, "score.claim", Verdict::kReview, "intermediate");
}

TEST(ByteAccounting, ABytesTableThatCountsTooMuchFails) {
  Record r = each_seed([](Record::Seed& s) { s.val_bpb *= 0.85; });
  expect(r, "score.byte_accounting", Verdict::kFail, "more bytes");
}

TEST(ByteAccounting, AnotherTokenizerOfTheSameTextPasses) {
  Record r = each_seed([](Record::Seed& s) {
    s.val_tokens = 40'540'160;
    s.val_loss = s.val_bpb * 0.69314718055994531 / (40'540'160 / 151'080'363.0);
  });
  expect(r, "score.byte_accounting", Verdict::kPass);
}

TEST(ByteAccounting, AMixtureWhoseLossIsNotPrintedIsAQuestion) {
  Record r = each_seed(
      [](Record::Seed& s) { s.more = fmt::format("final_ppm_mix val_loss:{:.8f} val_bpb:0.99000000\n", s.val_loss); });
  r.json = "{\"name\": \"x\", \"author\": \"y\", \"val_bpb\": 0.99}";
  expect(r, "score.byte_accounting", Verdict::kReview, "do not belong together");
}

/// A member of numpy.savez: int16 values, stored.
std::string npz_member(const std::string& name, const std::vector<int>& values) {
  std::string npy = "\x93NUMPY";
  npy += '\x01';
  npy += '\0';
  std::string header = fmt::format("{{'descr': '<i2', 'fortran_order': False, 'shape': ({},), }}", values.size());
  header.resize(118, ' ');
  npy += static_cast<char>(header.size());
  npy += '\0';
  npy += header;
  for (const int v : values) {
    npy += static_cast<char>(v & 255);
    npy += static_cast<char>(v >> 8);
  }
  std::string zip("PK\x03\x04", 4);
  auto number = [&](size_t v, int width) {
    for (int i = 0; i < width; ++i) zip += static_cast<char>(v >> (8 * i) & 255);
  };
  number(20, 2), number(0, 2), number(0, 2), number(0, 8), number(npy.size(), 4), number(npy.size(), 4),
      number(name.size() + 4, 2), number(0, 2);
  return zip + name + ".npy" + npy;
}

std::string npz(const std::vector<int>& base_bytes, const std::vector<int>& has_leading_space = {}) {
  std::string zip = npz_member("base_bytes", base_bytes);
  if (!has_leading_space.empty()) zip += npz_member("has_leading_space", has_leading_space);
  return zip;
}

TEST(ByteAccounting, ATableThatCountsSingleBytesAsThreeIsFound) {
  Record r;
  std::vector<int> table(998, 2);
  for (size_t i = 0; i < 100; ++i) table[i] = 1;
  r.files["candidate.meta.npz"] = npz(table);
  expect(r, "score.byte_accounting", Verdict::kPass);
  for (size_t i = 60; i < 90; ++i) table[i] = 3;
  r.files["candidate.meta.npz"] = npz(table);
  expect(r, "score.byte_accounting", Verdict::kReview, "tokens 60 to 89");
  for (auto& s : r.seeds) s.val_bpb *= 0.95;
  expect(r, "score.byte_accounting", Verdict::kFail);
}

/// Bytes and flags of test_models::small_vocabulary(): <unk> <s> 0x41 0xC3 0xFF " " " the" "s" "é".
const std::vector<int> kPieceBytes = {0, 0, 1, 1, 1, 0, 3, 1, 2}, kSpaces = {0, 0, 0, 0, 0, 1, 1, 0, 0};

/// A record with that table, a tokenizer, and a script that names the table (or not).
Record with_table(const std::string& table, bool named = true) {
  Record r;
  r.files["x.meta.npz"] = table;
  r.files["tokenizers/x.model"] = test_models::model_file(test_models::small_vocabulary());
  if (named) r.files["train_gpt.py"] = "TABLE = 'x.meta.npz'\n";
  return r;
}

std::vector<int> changed(std::vector<int> values, size_t at, int value) {
  values[at] = value;
  return values;
}

TEST(ByteTables, ATableOfItsTokenizerPassesAndSaysSo) {
  expect(with_table(npz(kPieceBytes, kSpaces)), "score.byte_accounting", Verdict::kPass, "in tokenizers/x.model");
  std::vector<int> padded = kPieceBytes;
  padded.resize(64, 0);
  expect(with_table(npz(padded, kSpaces)), "score.byte_accounting", Verdict::kPass, "in tokenizers/x.model");
  expect(with_table(npz(kPieceBytes)), "score.byte_accounting", Verdict::kPass, "in tokenizers/x.model");
  std::vector<int> with_spaces = kPieceBytes;
  for (size_t i = 0; i < kSpaces.size(); ++i) with_spaces[i] += kSpaces[i];
  expect(with_table(npz(with_spaces)), "score.byte_accounting", Verdict::kPass, "in tokenizers/x.model");
}

TEST(ByteTables, TheLeadingSpaceInTheTableAndAmongTheFlagsFails) {
  std::vector<int> with_spaces = kPieceBytes;
  for (size_t i = 0; i < kSpaces.size(); ++i) with_spaces[i] += kSpaces[i];
  expect(with_table(npz(with_spaces, kSpaces)), "score.byte_accounting", Verdict::kFail,
         "of 2 tokens, from token 5 on");
  expect(with_table(npz(with_spaces, kSpaces), false), "score.byte_accounting", Verdict::kReview,
         "Is this table used?");
}

TEST(ByteTables, ASingleByteThatCountsAsThreeFails) {
  const std::string table = npz(changed(kPieceBytes, 4, 3), kSpaces);
  expect(with_table(table), "score.byte_accounting", Verdict::kFail, "token 4 counts 3 and its piece has 1");
  expect(with_table(table, false), "score.byte_accounting", Verdict::kReview, "Is this table used?");
  Record confirmed = with_table(table, false);
  for (auto& s : confirmed.seeds) s.val_bpb *= 0.95;
  expect(confirmed, "score.byte_accounting", Verdict::kFail);
}

TEST(ByteTables, FewerBytesThanThePiecesHaveAreAQuestion) {
  expect(with_table(npz(changed(kPieceBytes, 6, 2), kSpaces)), "score.byte_accounting", Verdict::kReview,
         "Whose bytes");
}

TEST(ByteTables, ATableOfAnotherTokenizerIsAQuestionOrNotCompared) {
  expect(with_table(npz({9, 9, 9, 9, 9, 9, 9, 9, 9})), "score.byte_accounting", Verdict::kReview, "another tokenizer");
  expect(with_table(npz({1, 1})), "score.byte_accounting", Verdict::kPass, "imply the bytes of the validation text");
}

TEST(ByteTables, ATokenizerMayBeGiven) {
  Record r = with_table(npz(changed(kPieceBytes, 4, 3), kSpaces));
  r.files.erase("tokenizers/x.model");
  expect(r, "score.byte_accounting", Verdict::kPass);
  AuditOptions options;
  options.tokenizer = *read_tokenizer_model("given.model", test_models::model_file(test_models::small_vocabulary()));
  const verifier::Report report = audit(r.folder(), options);
  const auto check = std::find_if(report.checks.begin(), report.checks.end(),
                                  [](const verifier::Check& c) { return c.id == "score.byte_accounting"; });
  ASSERT_NE(check, report.checks.end());
  EXPECT_EQ(check->status, Verdict::kFail) << check->message;
  EXPECT_NE(check->message.find("given.model"), std::string::npos) << check->message;
}

TEST(ByteTables, AVocabularyWithoutABareSpaceIsAQuestionUnlessTheLogsFit) {
  Record r;
  r.files["x.model"] = test_models::model_file(test_models::small_vocabulary(false));
  expect(r, "score.byte_accounting", Verdict::kPass);
  r.seeds.clear();
  r.json = "{\"name\": \"x\"}";
  expect(r, "score.byte_accounting", Verdict::kReview, "no piece for a space alone");
  r.files["x.model"] = test_models::model_file(test_models::small_vocabulary());
  expect(r, "score.byte_accounting", Verdict::kSkip);
}

TEST(ByteTables, ADamagedTokenizerIsNamed) {
  Record r;
  r.files["x.model"] = "no model";
  expect(r, "structure.files", Verdict::kReview, "x.model @ 0x0: is no SentencePiece model");
}

TEST(ByteAccounting, TheLeadingSpaceCountedTwiceInSourceFails) {
  Record r = each_seed([](Record::Seed& s) { s.val_tokens = 0; });
  r.files["train_gpt.py"] =
      "def luts(sp):\n    if piece.startswith('\\u2581'):\n        base_bytes[i] = len(piece[1:].encode('utf-8')) + 1\n"
      "def ev():\n    tb += (has_leading_space_lut[tgt] & ~is_boundary_token_lut[prev])\n";
  for (auto& s : r.seeds)
    r.files[fmt::format("train_seed{}.log", s.seed)] =
        fmt::format("seed:{}\nfinal val_bpb:{:.8f}\n", s.seed, s.val_bpb);
  expect(r, "score.byte_accounting", Verdict::kFail, "adds it again");
  r.files["train_gpt.py"] =
      "def luts(sp):\n    if piece.startswith('\\u2581'):\n        piece = piece[1:]\n    base_bytes[i] = "
      "len(piece.encode('utf-8'))\n"
      "def ev():\n    tb += (has_leading_space_lut[tgt] & ~is_boundary_token_lut[prev])\n";
  expect(r, "score.byte_accounting", Verdict::kSkip);
}

TEST(DataSplit, TheRebuiltDataSetIsAQuestion) {
  Record r = each_seed([](Record::Seed& s) { s.more = "train_shards: 1499\n"; });
  for (auto& s : r.seeds) {
    std::string log = Record::log(s);
    log.replace(log.find("train_shards:80"), 15, "train_shards:1499");
    r.files[fmt::format("train_seed{}.log", s.seed)] = log;
  }
  expect(r, "data.split", Verdict::kReview, "1499");
}

TEST(DataSplit, APartOfTheSplitIsAQuestion) {
  Record r = each_seed([](Record::Seed& s) { s.val_tokens = 1'048'576; });
  expect(r, "data.split", Verdict::kReview, "part of the split");
}

TEST(DataSplit, TrainingOnValidationDataBySwitchFails) {
  Record r = each_seed([](Record::Seed& s) { s.more = "train_on_val:True lr:0.1\n"; });
  expect(r, "data.split", Verdict::kFail, "validation data");
  for (auto& s : r.seeds) s.more = "train_on_val:False lr:0.1\n";
  expect(r, "data.split", Verdict::kPass);
}

TEST(DataSplit, ValidationShardsInTheTrainGlobAreAQuestion) {
  Record r;
  r.files["train_gpt.py"] = "import os\ntrain_files = os.path.join(data_path, 'fineweb_val_*.bin')\n";
  expect(r, "data.split", Verdict::kReview, "validation shards");
}

TEST(DataSplit, AValidationShardUnderTheNameOfATrainingShardFails) {
  Record r;
  r.files["README.md"] = "# Example\n```bash\nln -s data/fineweb_val_000000.bin only/fineweb_train_000000.bin\n```\n";
  expect(r, "data.split", Verdict::kFail, "name of a training shard");
  r.files["README.md"] = "# Example\nNever `ln -s data/fineweb_val_000000.bin only/fineweb_train_000000.bin`.\n";
  expect(r, "data.split", Verdict::kPass);
}

TEST(EvidenceSeeds, FewerThanThreeAreAQuestion) {
  Record r;
  r.seeds.resize(2);
  expect(r, "evidence.seeds", Verdict::kReview, "2 of 3 seeds");
}

TEST(EvidenceSeeds, SeedsOfDifferentConfigurationsAreAQuestion) {
  Record r;
  r.seeds[2].more = "matrix_lr:0.05 x:1\n";
  r.seeds[0].more = r.seeds[1].more = "matrix_lr:0.04 x:1\n";
  expect(r, "evidence.seeds", Verdict::kReview, "matrix_lr");
}

TEST(EvidenceLogs, ASeedWithoutALogIsAQuestion) {
  Record r;
  r.json = r.default_json();
  r.json.replace(r.json.find("\"seeds\": [42"), 12, "\"seeds\": [5, 42");
  expect(r, "evidence.logs", Verdict::kReview, "seed 5");
}

TEST(EvidenceLogs, TruncatedLogsAreAQuestion) {
  Record r;
  r.with_final = false;
  expect(r, "evidence.logs", Verdict::kReview, "none with a final score");
}

TEST(EvidenceClaims, AScorePerSeedThatItsLogDoesNotPrintIsAQuestion) {
  Record r;
  r.json = r.default_json();
  r.json.replace(r.json.find("1.12526900}"), 11, "1.10000000}");
  expect(r, "evidence.claims", Verdict::kReview);
}

}  // namespace
}  // namespace fairway::audit
