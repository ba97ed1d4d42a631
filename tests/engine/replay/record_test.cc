#include "engine/replay/record.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "kernels/num/float_bits.h"
#include "tests/engine/base/temporary_directory.h"
#include "tests/support/tiny_submission.h"

namespace fairway::replay {
namespace {

using nlohmann::json;
using test::replaced;
using test::slurp;
using test::spill;
using test::TemporaryDirectory;

const std::vector<double> kMultipliers = {1.0, 1.0, 0.5, 0x1.999999999999ap-4};

Identity sample() {
  Identity i;
  i.name = "tiny";
  i.config_sha256 = sha256(std::string_view("config"));
  i.train_sha256 = {sha256(std::string_view("t0")), sha256(std::string_view("t1"))};
  i.val_sha256 = {sha256(std::string_view("v0"))};
  i.tokenizer_sha256 = sha256(std::string_view("tok"));
  i.seed = 18446744073709551615ull;
  i.steps = 4;
  i.multipliers_sha256 = sha256(std::as_bytes(std::span(kMultipliers)));
  i.commitments = {{2, sha256(std::string_view("c2"))}, {4, sha256(std::string_view("c4"))}};
  i.container_sha256 = sha256(std::string_view("container"));
  i.eval_method = "sliding_a";
  i.eval_seq_len = 1024;
  i.eval_stride = 64;
  i.eval_tokens = 62020672;
  i.eval_bytes = 151077892;
  i.scores_sha256 = sha256(std::string_view("scores"));
  i.val_loss = 1.9614;
  i.val_bpb = 1.1630;
  return i;
}

Record sample_record() { return {sample(), {{"machine", "here"}, {"threads", "2"}}}; }

std::string error_of(const TemporaryDirectory& folder) {
  const auto r = read_record(folder.path());
  if (r) return "";
  EXPECT_EQ(r.error().code, Errc::kData) << r.error().message();
  return r.error().message();
}

TEST(IdentityText, IsCanonicalJsonWithoutFloats) {
  const std::string text = identity_text(sample());
  for (char c : text) ASSERT_TRUE(c > ' ' && c < 0x7f) << text;
  const json j = json::parse(text);
  // Keys sorted at every level and no floats anywhere.
  std::function<void(const json&)> walk = [&](const json& v) {
    EXPECT_FALSE(v.is_number_float()) << v;
    if (v.is_object()) {
      std::string last;
      for (const auto& [key, value] : v.items()) {
        EXPECT_LT(last, key);
        last = key;
      }
    }
    if (v.is_structured()) {
      for (const auto& inner : v) walk(inner);
    }
  };
  walk(j);
  std::vector<size_t> places;
  for (const char* key : {"\"commitments\":", "\"config_sha256\":", "\"container_sha256\":", "\"data\":", "\"eval\":", "\"format\":",
                          "\"name\":", "\"numerics\":", "\"schedule\":", "\"scores_sha256\":", "\"seed\":", "\"val_bpb\":", "\"val_loss\":"}) {
    places.push_back(text.find(key));
    EXPECT_NE(places.back(), std::string::npos) << key;
  }
  EXPECT_TRUE(std::is_sorted(places.begin(), places.end()));
  EXPECT_EQ(j.at("seed"), "18446744073709551615");
  EXPECT_EQ(j.at("val_loss"), hex_float(1.9614));
  EXPECT_EQ(identity_digest(sample()), sha256(std::string_view(text)));
}

TEST(IdentityText, DependsOnEveryField) {
  const std::string text = identity_text(sample());
  const std::vector<std::function<void(Identity&)>> changes = {
      [](Identity& i) { i.name = "x"; },
      [](Identity& i) { i.config_sha256[31] ^= 1; },
      [](Identity& i) { i.train_sha256[1][0] ^= 1; },
      [](Identity& i) { i.train_sha256.pop_back(); },
      [](Identity& i) { i.val_sha256[0][5] ^= 1; },
      [](Identity& i) { i.tokenizer_sha256[0] ^= 1; },
      [](Identity& i) { i.seed -= 1; },
      [](Identity& i) { i.steps += 1; },
      [](Identity& i) { i.multipliers_sha256[0] ^= 1; },
      [](Identity& i) { i.commitments[0].step = 1; },
      [](Identity& i) { i.commitments[1].root[0] ^= 1; },
      [](Identity& i) { i.container_sha256[0] ^= 1; },
      [](Identity& i) { i.eval_method = "standard"; },
      [](Identity& i) { i.eval_seq_len = 1; },
      [](Identity& i) { i.eval_stride = 1; },
      [](Identity& i) { i.eval_tokens -= 1; },
      [](Identity& i) { i.eval_bytes -= 1; },
      [](Identity& i) { i.scores_sha256[0] ^= 1; },
      [](Identity& i) { i.val_loss = std::nextafter(i.val_loss, 9.0); },
      [](Identity& i) { i.val_bpb = std::nextafter(i.val_bpb, 9.0); },
  };
  for (size_t n = 0; n < changes.size(); ++n) {
    Identity i = sample();
    changes[n](i);
    EXPECT_NE(identity_text(i), text) << n;
    EXPECT_EQ(differences(sample(), i).size(), 1u) << n;
  }
  EXPECT_TRUE(differences(sample(), sample()).empty());
}

TEST(Differences, NameTheFieldAndBothValues) {
  Identity i = sample();
  i.commitments[1].root = i.commitments[0].root;
  i.eval_tokens = 5;
  const auto found = differences(sample(), i);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0], "commitments[1].root: \"" + hex(sample().commitments[1].root) + "\" != \"" + hex(sample().commitments[0].root) + "\"");
  EXPECT_EQ(found[1], "eval.tokens: 62020672 != 5");
}

TEST(HexFloat, WritesKnownValues) {
  EXPECT_EQ(hex_float(1.5), "0x1.8p+0");
  EXPECT_EQ(hex_float(0.0), "0x0p+0");
  EXPECT_EQ(hex_float(-2.0), "-0x1p+1");
}

RC_GTEST_PROP(HexFloat, IsReadBackToTheBit, (uint64_t bits)) {
  const double x = num::double_of(bits & 0x7fffffffffffffffull);  // losses are not negative
  RC_PRE(std::isfinite(x));
  RC_ASSERT(std::strtod(hex_float(x).c_str(), nullptr) == x);
  const TemporaryDirectory folder;
  Record r = sample_record();
  r.identity.val_loss = x;
  RC_ASSERT(static_cast<bool>(write_record(folder.path(), r, kMultipliers)));
  const auto loaded = read_record(folder.path());
  RC_ASSERT(static_cast<bool>(loaded));
  RC_ASSERT(num::bits_of(loaded->record.identity.val_loss) == num::bits_of(x));
}

TEST(RecordFile, RoundTrips) {
  const TemporaryDirectory folder;
  ASSERT_TRUE(write_record(folder.path(), sample_record(), kMultipliers));
  EXPECT_EQ(folder.files(), (std::vector<std::string>{"replay.json", "schedule.f64"}));
  const auto r = read_record(folder.path());
  ASSERT_TRUE(r) << r.error().message();
  EXPECT_EQ(identity_text(r->record.identity), identity_text(sample()));
  EXPECT_EQ(r->record.informative, sample_record().informative);
  EXPECT_EQ(r->multipliers, kMultipliers);
}

TEST(RecordFile, AMissingOneIsMissingInput) {
  const TemporaryDirectory folder;
  EXPECT_EQ(read_record(folder.path()).error().code, Errc::kNoInput);
  ASSERT_TRUE(write_record(folder.path(), sample_record(), kMultipliers));
  std::filesystem::remove(folder / "schedule.f64");
  EXPECT_EQ(read_record(folder.path()).error().code, Errc::kNoInput);
}

TEST(RecordFile, AnEditedIdentityIsRefused) {
  const TemporaryDirectory folder;
  ASSERT_TRUE(write_record(folder.path(), sample_record(), kMultipliers));
  const std::string path = folder / "replay.json", good = slurp(path);
  const std::vector<std::pair<std::string, std::string>> edits = {
      {"\"seed\": \"18446744073709551615\"", "\"seed\": \"7\""},
      {hex_float(1.9614), hex_float(1.9613)},
      {"62020672", "62020673"},
      {"\"tiny\"", "\"tinier\""},
      {hex(sample().commitments[0].root), hex(sample().commitments[1].root)},
      // A key nobody reads, and the same digest in other letters: the text is not the canonical one.
      {"\"name\": \"tiny\"", "\"name\": \"tiny\", \"note\": \"x\""},
      {"\"stride\": 64", "\"stride\": 64, \"zz\": 1"},
  };
  for (const auto& [from, to] : edits) {
    spill(path, replaced(good, from, to));
    EXPECT_EQ(error_of(folder), path + ": identity_sha256 does not match the identity; the record was edited") << to;
  }
  // Informative fields may change.
  spill(path, replaced(good, "\"here\"", "\"there\""));
  EXPECT_EQ(error_of(folder), "");
}

TEST(RecordFile, AMalformedOneIsRefused) {
  const TemporaryDirectory folder;
  ASSERT_TRUE(write_record(folder.path(), sample_record(), kMultipliers));
  const std::string path = folder / "replay.json", good = slurp(path);
  for (size_t size = 0; size + 2 < good.size(); size += 17) {
    spill(path, good.substr(0, size));
    EXPECT_NE(error_of(folder).find(": not a replay record: "), std::string::npos) << size;
  }
  const std::vector<std::pair<std::string, std::string>> edits = {
      {"\"fairway-replay-1\"", "\"fairway-replay-2\""}, {"\"numerics\": 1", "\"numerics\": 2"},
      {"\"seed\": \"18446744073709551615\"", "\"seed\": 7"}, {"\"seed\": \"18446744073709551615\"", "\"seed\": \"18446744073709551616\""},
      {"\"seed\": \"18446744073709551615\"", "\"seed\": \"-1\""}, {hex_float(1.9614), "1.9614"},
      {hex_float(1.9614), "0x"}, {hex_float(1.9614), "0x-1p+0"},
      {hex(sample().container_sha256), hex(sample().container_sha256).substr(2)},
      {hex(sample().container_sha256), "zz" + hex(sample().container_sha256).substr(2)},
      {"\"steps\": 4", "\"steps\": \"4\""}, {"\"machine\": \"here\"", "\"machine\": 3"},
  };
  for (const auto& [from, to] : edits) {
    spill(path, replaced(good, from, to));
    EXPECT_NE(error_of(folder).find(": not a replay record: "), std::string::npos) << to;
  }
}

TEST(RecordFile, AnIdentityWithoutACanonicalFormIsRefused) {
  const TemporaryDirectory folder;
  ASSERT_TRUE(write_record(folder.path(), sample_record(), kMultipliers));
  const std::string path = folder / "replay.json", good = slurp(path);
  const std::vector<std::pair<std::string, std::string>> edits = {{"62020672", "9007199254740993"},
                                                                  {"\"steps\": 4", "\"steps\": 4.0"}};
  for (const auto& [from, to] : edits) {
    spill(path, replaced(good, from, to));
    const auto read = read_record(folder.path());
    ASSERT_FALSE(read) << to;
    EXPECT_EQ(read.error().code, Errc::kData);
    EXPECT_TRUE(error_of(folder).starts_with(path)) << error_of(folder);
  }
}

TEST(RecordFile, CommitmentsOutOfOrderOrBeyondTheRunAreRefused) {
  // The digests are right, so only the check of the steps can refuse them.
  for (const auto& [first, second] : {std::pair<int64_t, int64_t>{4, 2}, {2, 2}, {0, 4}, {2, 5}, {-1, 4}}) {
    const TemporaryDirectory folder;
    Record r = sample_record();
    r.identity.commitments[0].step = first;
    r.identity.commitments[1].step = second;
    ASSERT_TRUE(write_record(folder.path(), r, kMultipliers));
    EXPECT_NE(error_of(folder).find("commitments must be in the order of their steps"), std::string::npos) << first << " " << second;
  }
}

TEST(RecordFile, AScheduleThatDoesNotMatchIsRefused) {
  const TemporaryDirectory folder;
  ASSERT_TRUE(write_record(folder.path(), sample_record(), kMultipliers));
  const std::string path = folder / "schedule.f64", good = slurp(path);
  std::string flipped = good;
  flipped[8] = static_cast<char>(flipped[8] ^ 1);
  for (const std::string& bad : {flipped, good.substr(0, 24), good + good, std::string()}) {
    spill(path, bad);
    EXPECT_EQ(error_of(folder), path + ": does not match schedule.multipliers_sha256 of replay.json");
  }
}

}  // namespace
}  // namespace fairway::replay
