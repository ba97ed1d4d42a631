/// Where streams are cut and what stands there instead.
#include "verifier/probe/changes.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace fairway::verifier {
namespace {

TEST(Cuts, LieInEqualPartsAndNeverAtTheVeryFirstPlace) {
  for (uint64_t count : {1, 2, 4, 9}) {
    for (uint64_t places : {2, 3, 10, 400}) {
      for (uint64_t i = 0; i < count; ++i) {
        for (uint64_t seed = 0; seed < 20; ++seed) {
          const uint64_t at = cut_place(seed, i, count, places);
          EXPECT_GE(at, 1u);
          EXPECT_LT(at, places);
          if (places < count) continue;
          EXPECT_GE(at, std::max<uint64_t>(places * i / count, 1));
          EXPECT_LE(at, std::max<uint64_t>(places * (i + 1) / count, 1));
        }
      }
    }
  }
}

TEST(Cuts, TheFirstAndTheLastComeNearTheEndsMoreOftenThanEvenly) {
  constexpr int kSeeds = 2000;
  int near_start = 0, near_end = 0, inside = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    near_start += cut_place(seed, 0, 4, 400) <= 8 ? 1 : 0;
    near_end += cut_place(seed, 3, 4, 400) >= 392 ? 1 : 0;
    inside += cut_place(seed, 1, 4, 400) < 108 ? 1 : 0;
  }
  // log 9 / log 101 = 0.48 against 8 in 100.
  const double share = std::log(9.0) / std::log(101.0);
  EXPECT_NEAR(near_start, kSeeds * share, 4.0 * std::sqrt(kSeeds * share));
  EXPECT_NEAR(near_end, kSeeds * share, 4.0 * std::sqrt(kSeeds * share));
  EXPECT_NEAR(inside, kSeeds * 0.08, 4.0 * std::sqrt(kSeeds * 0.08));
}

std::vector<uint16_t> text(size_t count) {
  std::vector<uint16_t> tokens(count);
  for (size_t i = 0; i < count; ++i) tokens[i] = static_cast<uint16_t>(i % 7 == 0 ? 1 : 2 + i * i % 11);
  return tokens;
}

TEST(Changes, EachDoesWhatItSaysAndTouchesNothingElse) {
  const auto tokens = text(100);
  std::vector<bool> changed(100, false);
  std::fill(changed.begin() + 60, changed.end(), true);
  const Replacement r{5, 2, 1024};
  const auto random = changed_stream(tokens, changed, Change::kRandom, r),
             shifted = changed_stream(tokens, changed, Change::kShift, r),
             copied = changed_stream(tokens, changed, Change::kDuplicate, r);
  for (const auto* s : {&random, &shifted, &copied})
    EXPECT_TRUE(std::equal(tokens.begin(), tokens.begin() + 60, s->begin()));
  int from_the_stream = 0;
  for (size_t t = 60; t < 100; ++t) {
    EXPECT_NE(random[t], tokens[t]);
    from_the_stream += random[t] < 13 ? 1 : 0;
    EXPECT_EQ(copied[t], tokens[t - 60]);
    EXPECT_EQ(shifted[t] == tokens[std::min<size_t>(t + 1, 99)], t < 99);
  }
  EXPECT_GT(from_the_stream, 8);
  EXPECT_LT(from_the_stream, 32);
  EXPECT_NE(shifted[99], tokens[99]);
  EXPECT_EQ(random, changed_stream(tokens, changed, Change::kRandom, r)) << "the seed decides";
  EXPECT_NE(random, changed_stream(tokens, changed, Change::kRandom, {6, 2, 1024}));
  EXPECT_NE(random, changed_stream(tokens, changed, Change::kRandom, {5, 3, 1024}));
}

TEST(Changes, AtEverySecondCutTheTextIsPoor) {
  const auto tokens = text(300);
  std::vector<bool> changed(300, false);
  std::fill(changed.begin() + 20, changed.end(), true);
  for (uint64_t cut = 0; cut < 8; ++cut) {
    const auto out = changed_stream(tokens, changed, Change::kRandom, {7, cut, 1024});
    const std::set<uint16_t> items(out.begin() + 20, out.end());
    if (cut % 2 == 1) {
      EXPECT_EQ(items.size(), 2u);
    } else {
      EXPECT_GT(items.size(), 50u);
    }
    for (size_t t = 20; t < 300; ++t) EXPECT_NE(out[t], tokens[t]);
  }
}

TEST(Changes, ABoundaryStaysWhereItIsAndIsPutNowhereElse) {
  const auto tokens = text(200);
  std::vector<bool> changed(200, false);
  for (size_t t = 50; t < 200; ++t) changed[t] = tokens[t] != 1;
  for (Change change : {Change::kRandom, Change::kShift, Change::kDuplicate}) {
    for (uint32_t vocab : {3u, 13u, 1024u}) {
      const auto out = changed_stream(tokens, changed, change, {1, 0, vocab, 1});
      for (size_t t = 0; t < 200; ++t) EXPECT_EQ(out[t] == 1, tokens[t] == 1) << change_name(change) << " " << t;
    }
  }
}

}  // namespace
}  // namespace fairway::verifier
