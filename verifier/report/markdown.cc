#include <fmt/format.h>

#include <algorithm>

#include "verifier/report/escape.h"
#include "verifier/report/parts.h"
#include "verifier/report/report.h"

namespace fairway::verifier {
namespace {

constexpr size_t kMessageBytes = 600;  // a cell; the JSON report has all of it
constexpr size_t kNoteBytes = 300;
constexpr size_t kReservedBytes = 400;  // for the lines that say what was left out

const char* mark(Verdict v) {
  switch (v) {
    case Verdict::kPass:
      return "✅ pass";
    case Verdict::kFail:
      return "❌ **fail**";
    case Verdict::kReview:
      return "⚠️ **review**";
    case Verdict::kSkip:
      return "➖ skip";
  }
  return "";
}

/// Markdown inside a table cell, where '|' would end the cell even in a code span.
std::string cell(const std::string& markdown) {
  std::string out;
  for (char c : markdown) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

/// What needs attention first.
std::vector<const Check*> by_urgency(const Report& report) {
  std::vector<const Check*> order;
  for (Verdict v : {Verdict::kFail, Verdict::kReview, Verdict::kPass, Verdict::kSkip}) {
    for (const Check& c : report.checks) {
      if (c.status == v) order.push_back(&c);
    }
  }
  return order;
}

std::string row(const Check& c) {
  std::string message = markdown_prose(c.message, kMessageBytes);
  const std::string compared =
      claimed_and_measured(c, [](const std::string& text) { return markdown_code(text, kNoteBytes); });
  if (!compared.empty()) message += " <br>" + compared;
  return fmt::format("| {} | {} | {} |\n", mark(c.status), cell(markdown_code(c.id)), cell(message));
}

/// Text up to a bound; pieces that do not fit are counted.
class Bounded {
 public:
  bool add(const std::string& piece) {
    if (text.size() + piece.size() + kReservedBytes > kMarkdownMaxBytes) return false;
    text += piece;
    return true;
  }
  std::string text;
};

}  // namespace

std::string to_markdown(std::span<const Report> reports) {
  Bounded out;
  int64_t checks_left = 0, places_left = 0, reports_left = 0;
  for (const Report& r : reports) {
    std::string head =
        fmt::format("### Fairway: {}\n\n{}", mark(r.verdict()), markdown_code(r.subject_path, kNoteBytes));
    if (!r.subject_ref.empty()) head += fmt::format(" at {}", markdown_code(r.subject_ref, kNoteBytes));
    head += fmt::format(": {} failed, {} to review, {} passed, {} skipped\n\n| | check | |\n|---|---|---|\n",
                        r.count(Verdict::kFail), r.count(Verdict::kReview), r.count(Verdict::kPass),
                        r.count(Verdict::kSkip));
    if (reports_left > 0 || !out.add(head)) {
      ++reports_left;
      continue;
    }
    const std::vector<const Check*> order = by_urgency(r);
    for (const Check* c : order) {
      if (checks_left > 0 || !out.add(row(*c))) ++checks_left;
    }
    out.add("\n");
    for (const Check* c : order) {
      if (c->evidence.empty() || c->status == Verdict::kSkip) continue;
      const bool open = out.add(
          fmt::format("<details><summary>{}: {} places</summary>\n\n", markup_escape(c->id), c->evidence.size()));
      for (const Evidence& e : c->evidence) {
        const std::string line = fmt::format("* {}{}\n", markdown_code(place(e), kNoteBytes),
                                             e.note.empty() ? "" : ": " + markdown_prose(e.note, kNoteBytes));
        if (places_left > 0 || !open || !out.add(line)) ++places_left;
      }
      if (open) out.text += "\n</details>\n\n";
    }
  }
  std::string left;
  auto count = [&](int64_t n, const char* what) {
    if (n > 0) left += fmt::format("{}{} {}", left.empty() ? "" : ", ", n, what);
  };
  count(reports_left, "reports");
  count(checks_left, "checks");
  count(places_left, "places");
  if (!left.empty())
    out.text += fmt::format("\n**Left out, as a comment holds no more:** {}. The JSON report has everything.\n", left);
  return out.text;
}

}  // namespace fairway::verifier
