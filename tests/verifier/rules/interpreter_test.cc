#include "verifier/audit/source/interpreter.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "tests/verifier/rules/support.h"

namespace fairway::audit::source {
namespace {

Settings settings_of(const std::map<std::string, std::string>& values) {
  return Settings(fairway::audit::testing::record("", values, "final"));
}

Tri truth(const std::string& expression, const std::map<std::string, std::string>& values = {}) {
  return Interpreter::truth_of(expression, settings_of(values));
}

TEST(Truth, FoldsWhatIsKnown) {
  EXPECT_EQ(truth("1 < 2"), Tri::kTrue);
  EXPECT_EQ(truth("not (3 > 2 and 'a' == 'b')"), Tri::kTrue);
  EXPECT_EQ(truth("unknown_name > 2"), Tri::kUnknown);
  EXPECT_EQ(truth("unknown_name and False"), Tri::kFalse);
  EXPECT_EQ(truth("0 and unknown_name"), Tri::kFalse);
  EXPECT_EQ(truth("unknown_name or True"), Tri::kTrue);
  EXPECT_EQ(truth("None is None"), Tri::kTrue);
  EXPECT_EQ(truth("'on' in ('1', 'on', 'true')"), Tri::kTrue);
  EXPECT_EQ(truth("'x' not in ('1', 'on')"), Tri::kTrue);
  EXPECT_EQ(truth("bool(int('0'))"), Tri::kFalse);
  EXPECT_EQ(truth("f'{3}' == '3'"), Tri::kTrue);
}

TEST(Truth, LogBeforeDefault) {
  const char* enabled = "bool(int(os.environ.get('TTT_ENABLED', '0')))";
  EXPECT_EQ(truth(enabled), Tri::kFalse);
  EXPECT_EQ(truth(enabled, {{"ttt_enabled", "True"}}), Tri::kTrue);
  EXPECT_EQ(truth(enabled, {{"ttt_enabled", "1"}}), Tri::kTrue);
  EXPECT_EQ(truth("os.environ['SLOT'] == '1'"), Tri::kUnknown);
}

TEST(Truth, ASwitchOfAConfigurationThatCannotBeFollowedIsAsLogged) {
  EXPECT_EQ(truth("config.eval.two_pass"), Tri::kUnknown);
  EXPECT_EQ(truth("config.eval.two_pass", {{"two_pass", "False"}}), Tri::kFalse);
  EXPECT_EQ(truth("config.eval.two_pass", {{"two_pass", "True"}}), Tri::kTrue);
  EXPECT_EQ(truth("config.eval.two_pass", {{"two_pass", "3"}}), Tri::kUnknown) << "numbers may be of anything";
  EXPECT_EQ(truth("optimizer.step", {{"step", "False"}}), Tri::kUnknown);
}

/// Formulas of three variables, each known to be true, known to be false, or unknown.
struct Formula {
  std::string text;
  std::function<bool(const std::array<bool, 3>&)> value;
};

rc::Gen<Formula> formulas(int depth) {
  if (depth == 0) {
    return rc::gen::map(rc::gen::inRange(0, 3), [](int i) {
      return Formula{"v" + std::to_string(i), [i](const std::array<bool, 3>& v) { return v[static_cast<size_t>(i)]; }};
    });
  }
  return rc::gen::map(
      rc::gen::tuple(rc::gen::inRange(0, 3), formulas(depth - 1), formulas(depth - 1)), [](const auto& parts) {
        const auto [op, a, b] = parts;
        if (op == 0)
          return Formula{"(not " + a.text + ")", [a = a](const std::array<bool, 3>& v) { return !a.value(v); }};
        if (op == 1)
          return Formula{"(" + a.text + " and " + b.text + ")",
                         [a = a, b = b](const std::array<bool, 3>& v) { return a.value(v) && b.value(v); }};
        return Formula{"(" + a.text + " or " + b.text + ")",
                       [a = a, b = b](const std::array<bool, 3>& v) { return a.value(v) || b.value(v); }};
      });
}

// A decided answer holds for every value of what is unknown; and where nothing is unknown, it is decided.
RC_GTEST_PROP(Truth, IsSoundForEveryCompletion, ()) {
  const Formula formula = *formulas(4);
  const auto known = *rc::gen::container<std::array<int, 3>>(rc::gen::inRange(0, 3));  // 0 false, 1 true, 2 unknown
  std::string text = formula.text;
  for (int i = 0; i < 3; ++i) {
    const std::string name = "v" + std::to_string(i);
    const int k = known[static_cast<size_t>(i)];
    const std::string value = k == 2 ? "unknown" + std::to_string(i) : k == 1 ? "True" : "False";
    for (size_t at = text.find(name); at != std::string::npos; at = text.find(name)) text.replace(at, 2, value);
  }
  const Tri answer = truth(text);
  for (int bits = 0; bits < 8; ++bits) {
    std::array<bool, 3> v{};
    bool fits = true;
    for (int i = 0; i < 3; ++i) {
      v[static_cast<size_t>(i)] = (bits >> i) & 1;
      fits &= known[static_cast<size_t>(i)] == 2 || v[static_cast<size_t>(i)] == (known[static_cast<size_t>(i)] == 1);
    }
    if (fits && answer != Tri::kUnknown) RC_ASSERT(formula.value(v) == (answer == Tri::kTrue));
  }
  if (known[0] != 2 && known[1] != 2 && known[2] != 2) RC_ASSERT(answer != Tri::kUnknown);
}

Timeline run(const std::string& script, const InterpreterLimits& limits = {}) {
  const Facts facts = fairway::audit::testing::record(script, {}, "final");
  Program program(facts.sources);
  const Settings settings(facts);
  return Interpreter(program, settings, {}, limits).run();
}

TEST(Bounds, RecursionEnds) {
  EXPECT_TRUE(run("def f(n):\n  return f(n) + g(n)\ndef g(n):\n  return f(n)\nf(1)\n").problems.empty());
}

TEST(Bounds, ManyStepsAreCutAndSaid) {
  std::string script = "def f0():\n  return 1\n";
  for (int i = 1; i < 18; ++i) {
    const std::string before = "f" + std::to_string(i - 1) + "()";
    script += "def f" + std::to_string(i) + "():\n  return " + before + " + " + before + " + " + before + "\n";
  }
  const Timeline timeline = run(script + "f17()\n");
  ASSERT_EQ(timeline.problems.size(), 1u);
  EXPECT_NE(timeline.problems[0].find("steps"), std::string::npos);
}

TEST(Bounds, DeepNestingIsNoCrash) {
  run("x = " + std::string(5000, '(') + "1" + std::string(5000, ')') + "\n");
  std::string nested;
  for (int i = 0; i < 900; ++i) nested += std::string(static_cast<size_t>(i), ' ') + "if a:\n";
  run(nested + std::string(900, ' ') + "x = 1\n");
}

}  // namespace
}  // namespace fairway::audit::source
