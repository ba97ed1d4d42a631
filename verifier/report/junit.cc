#include <fmt/format.h>

#include "verifier/report/escape.h"
#include "verifier/report/parts.h"
#include "verifier/report/report.h"

namespace fairway::verifier {
namespace {

/// What a viewer of test results shows below the message.
std::string details(const Check& c) {
  std::string out = claimed_and_measured(c, [](const std::string& text) { return markup_escape(text); });
  if (!out.empty()) out += '\n';
  for (const Evidence& e : c.evidence)
    out += markup_escape(place(e)) + (e.note.empty() ? "" : ": " + markup_escape(e.note)) + "\n";
  return out;
}

std::string test_case(const Check& c) {
  const std::string id = markup_escape(c.id), message = markup_escape(c.message);
  const size_t dot = id.find('.');
  const std::string head = fmt::format("    <testcase classname=\"fairway.{}\" name=\"{}\"", id.substr(0, dot), id);
  switch (c.status) {
    case Verdict::kPass:
      return head + "/>\n";
    case Verdict::kSkip:
      return fmt::format("{}>\n      <skipped message=\"{}\"/>\n    </testcase>\n", head, message);
    case Verdict::kFail:
      return fmt::format("{}>\n      <failure type=\"fail\" message=\"{}\">{}</failure>\n    </testcase>\n", head,
                         message, details(c));
    case Verdict::kReview:
      return fmt::format("{}>\n      <error type=\"review\" message=\"{}\">{}</error>\n    </testcase>\n", head,
                         message, details(c));
  }
  return "";
}

}  // namespace

std::string to_junit(std::span<const Report> reports) {
  std::string suites;
  int64_t tests = 0, failures = 0, errors = 0, skipped = 0;
  for (const Report& r : reports) {
    std::string cases;
    for (const Check& c : r.checks) cases += test_case(c);
    int64_t undecided = r.count(Verdict::kReview), cases_count = static_cast<int64_t>(r.checks.size());
    if (undecided == 0 && r.verdict() == Verdict::kReview) {  // nothing passed: no CI may show that as a success
      cases +=
          "    <testcase classname=\"fairway\" name=\"verdict\">\n      <error type=\"review\" message=\"no check "
          "passed\"/>\n    </testcase>\n";
      undecided = 1;
      ++cases_count;
    }
    std::string name = markup_escape(r.subject_path);
    if (!r.subject_ref.empty()) name += " at " + markup_escape(r.subject_ref);
    suites += fmt::format(
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">\n{}  </testsuite>\n", name,
        cases_count, r.count(Verdict::kFail), undecided, r.count(Verdict::kSkip), cases);
    tests += cases_count;
    failures += r.count(Verdict::kFail);
    errors += undecided;
    skipped += r.count(Verdict::kSkip);
  }
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"fairway\" tests=\"{}\" failures=\"{}\" "
      "errors=\"{}\" skipped=\"{}\">\n{}</testsuites>\n",
      tests, failures, errors, skipped, suites);
}

}  // namespace fairway::verifier
