/// Every honest procedure passes, every dishonest one is found: by its trace, and by the probes alone.
#include "verifier/probe/causality.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstdlib>

#include "tests/verifier/probe/eval_cases.h"

namespace fairway {
namespace {

verifier::Report probes_of(test::EvalSubject& subject, const eval::EvalConfig& config, int64_t cuts, uint64_t seed) {
  verifier::Report report;
  verifier::ProbeOptions options;
  options.cuts = cuts;
  options.seed = seed;
  const Status status = verifier::probe_causality(subject.model, config, subject.tokens, options, report);
  EXPECT_TRUE(status) << status.error().message();
  return report;
}

constexpr uint64_t kSubjects[] = {3, 4, 5};

TEST(Causality, EveryDishonestProcedureIsFoundByItsTrace) {
  for (const auto& c : test::dishonest_cases()) {
    for (uint64_t seed : kSubjects) {
      test::EvalSubject subject(seed);
      const auto report = test::audit_of(subject, c.config);
      EXPECT_EQ(report.verdict(), verifier::Verdict::kFail) << c.name << ", subject " << seed;
      if (seed == kSubjects[0]) std::printf("%-28s %s", c.name.c_str(), test::failed_checks(report).c_str());
    }
  }
}

TEST(Causality, EveryDishonestProcedureIsFoundByProbesAlone) {
  for (const auto& c : test::dishonest_cases()) {
    for (uint64_t seed : kSubjects) {
      test::EvalSubject subject(seed);
      const auto report = probes_of(subject, c.config, 6, seed + 2);
      EXPECT_EQ(report.verdict(), verifier::Verdict::kFail) << c.name << ", subject " << seed;
      if (seed == kSubjects[0]) std::printf("%-28s %s", c.name.c_str(), test::failed_checks(report).c_str());
    }
  }
}

TEST(Causality, NoHonestProcedureIsEverFlagged) {
  const auto cases = test::honest_cases();
  size_t next = 0;
  EXPECT_TRUE(rc::check("trace and probes of honest procedures", [&] {
    const auto seed = *rc::gen::inRange<uint64_t>(0, 1u << 30);
    const auto& c = cases[next++ % cases.size()];
    test::EvalSubject subject(seed);
    const auto before = eval::weights_digest(subject.model);
    const auto probed = probes_of(subject, c.config, 3, seed);
    RC_ASSERT(before == eval::weights_digest(subject.model));
    const auto audited = test::audit_of(subject, c.config);
    if (probed.verdict() != verifier::Verdict::kPass || audited.verdict() != verifier::Verdict::kPass) {
      RC_FAIL(c.name + "\n" + test::failed_checks(probed) + test::failed_checks(audited));
    }
  }));
}

}  // namespace
}  // namespace fairway
