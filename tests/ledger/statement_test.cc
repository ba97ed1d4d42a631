#include "ledger/statement.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/base/canonical_json.h"
#include "ledger/entry.h"
#include "tests/ledger/support.h"

namespace fairway::ledger {
namespace {

using nlohmann::json;
using test::message;
using test::test_key;

Statement example() {
  Statement s;
  s.subjects = {{"seed_1337/container", sha256(std::string_view("container"))},
                {"seed_1337/artifact", sha256(std::string_view("artifact"))}};
  s.tool = "fairway";
  s.tool_version = "0.1.0";
  s.submission = "demo";
  s.level = "full";
  s.verdict = "pass";
  s.checks = {{"replay.scores", "pass", "every score has the same bits"}};
  s.runs = {{1337,
             sha256(std::string_view("config")),
             sha256(std::string_view("identity")),
             sha256(std::string_view("scores")),
             sha256(std::string_view("state")),
             "0x1.790b54p+1",
             "0x1.01b5fp+1",
             {{sha256(std::string_view("shard"))}, sha256(std::string_view("tokenizer")), 999, 2111},
             {"zlib-9", "1.2.13", sha256(std::string_view("answer"))}}};
  s.evidence = {{"report.json", sha256(std::string_view("report"))}};
  return s;
}

TEST(Statement, IsReadBackAsItWasWritten) {
  const json value = to_json(example());
  const auto read = statement_from_json(value, "s");
  ASSERT_TRUE(read) << message(read);
  EXPECT_EQ(to_json(*read), value);
  Statement bare = example();
  bare.runs.clear();
  bare.evidence.clear();
  EXPECT_TRUE(statement_from_json(to_json(bare), "s"));
  bare = example();
  bare.runs[0].state_root.reset();
  EXPECT_TRUE(statement_from_json(to_json(bare), "s"));
}

/// Every place inside a JSON value.
void places(const json& value, const json::json_pointer& at, std::vector<json::json_pointer>& out) {
  out.push_back(at);
  if (value.is_object()) {
    for (const auto& [key, inner] : value.items()) places(inner, at / key, out);
  } else if (value.is_array()) {
    for (size_t i = 0; i < value.size(); ++i) places(value[i], at / i, out);
  }
}

TEST(Statement, AnyMissingAddedOrMistypedKeyIsRefused) {
  const json good = to_json(example());
  std::vector<json::json_pointer> all;
  places(good, json::json_pointer(), all);
  ASSERT_EQ(all.size(), 47u);
  for (const auto& at : all) {
    json changed = good;
    changed[at] = 7;
    EXPECT_FALSE(statement_from_json(changed, "s")) << at;
    changed[at] = json::object();
    EXPECT_FALSE(statement_from_json(changed, "s")) << at;
    changed = good;
    if (changed[at].is_object()) {
      changed[at]["unknown"] = "x";
      EXPECT_FALSE(statement_from_json(changed, "s")) << at;
    }
    if (!at.empty() && good[at.parent_pointer()].is_object() && at.back() != "state_root") {
      changed = good;
      changed[at.parent_pointer()].erase(at.back());
      const auto read = statement_from_json(changed, "s");
      ASSERT_FALSE(read) << at;
      EXPECT_NE(read.error().where.find(at.back()), std::string::npos) << message(read);
    }
  }
}

TEST(Statement, ValuesOutsideTheSchemaAreRefusedWithTheirKey) {
  const std::vector<std::tuple<std::string, json, std::string>> cases = {
      {"/_type", "https://in-toto.io/Statement/v0.1", "_type"},
      {"/predicateType", "urn:other", "predicateType"},
      {"/predicate/verdict", "passed", "predicate.verdict"},
      {"/predicate/level", "none", "predicate.level"},
      {"/predicate/checks/0/status", "ok", "predicate.checks[0].status"},
      {"/predicate/checks", json::array(), "predicate.checks"},
      {"/predicate/runs/0/val_bpb", "2.0133", "predicate.runs[0].val_bpb"},
      {"/predicate/runs/0/val_bpb", "0x1.80p+0", "predicate.runs[0].val_bpb"},
      {"/predicate/runs/0/val_bpb", "0x1.8p+9999", "predicate.runs[0].val_bpb"},
      {"/predicate/runs/0/val_bpb", "inf", "predicate.runs[0].val_bpb"},
      {"/predicate/runs/0/val_bpb", "0xnan", "predicate.runs[0].val_bpb"},
      {"/predicate/runs/0/val_bpb", "x", "predicate.runs[0].val_bpb"},
      {"/predicate/runs/0/seed", "01", "predicate.runs[0].seed"},
      {"/predicate/runs/0/seed", "18446744073709551616", "predicate.runs[0].seed"},
      {"/predicate/runs/0/identity_sha256", std::string(64, 'A'), "predicate.runs[0].identity_sha256"},
      {"/predicate/runs/0/val_loss", "2.9", "predicate.runs[0].val_loss"},
      {"/predicate/runs/0/scored/val_sha256", json::array(), "predicate.runs[0].scored.val_sha256"},
      {"/predicate/runs/0/scored/val_sha256/0", "00", "predicate.runs[0].scored.val_sha256"},
      {"/predicate/runs/0/scored/tokens", "-1", "predicate.runs[0].scored.tokens"},
      {"/subject", json::array(), "subject"},
      {"/subject/0/digest/sha256", "00", "subject[0].digest.sha256"},
      {"/predicate/submission", "", "predicate.submission"},
      {"/predicate/submission", std::string(4097, 'x'), "predicate.submission"}};
  for (const auto& [pointer, value, key] : cases) {
    json changed = to_json(example());
    changed[json::json_pointer(pointer)] = value;
    const auto read = statement_from_json(changed, "s.json");
    ASSERT_FALSE(read) << pointer;
    EXPECT_EQ(read.error().code, Errc::kData);
    EXPECT_EQ(read.error().where, "s.json: " + key) << message(read);
  }
}

TEST(Entry, SignsCanonicalTextOnly) {
  const std::string text = *canonical_json(to_json(example()), "s");
  const auto entry = make_entry(text, test_key(), "s");
  ASSERT_TRUE(entry) << message(entry);
  EXPECT_EQ(*entry, *make_entry(example(), test_key(), "s"));
  const auto read = read_entry(*entry, test_key().public_key(), "e");
  ASSERT_TRUE(read) << message(read);
  EXPECT_EQ(to_json(*read), to_json(example()));
  EXPECT_EQ(read_entry(*entry, test_key(2).public_key(), "e").error().code, Errc::kDisproved);
  for (const std::string& bad : {text + "\n", " " + text, to_json(example()).dump(1)}) {
    const auto refused = make_entry(bad, test_key(), "s");
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().what.find("canonical"), std::string::npos) << message(refused);
  }
  json with_float = to_json(example());
  with_float["predicate"]["runs"][0]["val_bpb"] = 2.0133;
  EXPECT_NE(make_entry(with_float.dump(), test_key(), "s").error().what.find("floating-point"), std::string::npos);
}

TEST(Entry, TheWorkedExampleOfTheFormatIsWhatIsWritten) {
  const std::string source = FAIRWAY_SOURCE_DIR "/ledger/";
  std::string text = test::slurp(source + "statement.example.json");
  text.pop_back();  // the newline of the file
  test::LogFolder log;
  log.create();
  const auto entry = make_entry(text, log.key, "example");
  ASSERT_TRUE(entry) << message(entry);
  {
    auto opened = Log::open(log.paths, log.key);
    ASSERT_TRUE(opened) << message(opened);
    ASSERT_TRUE(opened->append({&*entry, 1}));
  }
  const std::string example = "$ cat LOG/log.vkey\n" + test::slurp(log.file("log.vkey")) + "$ cat LOG/checkpoint\n" +
                              test::slurp(log.file("checkpoint")) + "$ xxd -p -c 32 LOG/tile/0/000.p/1\n" +
                              hex(leaf_hash(*entry)) + "\n$ sha256sum < LOG/tile/entries/000.p/1\n" +
                              hex(sha256(std::string_view(test::slurp(log.file("tile/entries/000.p/1"))))) + "  -\n";
  EXPECT_NE(test::slurp(source + "FORMAT.md").find("```\n" + example + "```\n"), std::string::npos) << example;
}

TEST(Entry, OverTheSizeOfABundleIsRefused) {
  Statement s = example();
  for (int i = 0; i < 20; ++i) s.checks.push_back({"some.check", "pass", std::string(4000, 'x')});
  const auto entry = make_entry(s, test_key(), "s");
  ASSERT_FALSE(entry);
  EXPECT_EQ(entry.error().code, Errc::kData);
  EXPECT_NE(entry.error().what.find("65535 are allowed"), std::string::npos) << message(entry);
}

}  // namespace
}  // namespace fairway::ledger
