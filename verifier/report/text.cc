#include <fmt/format.h>

#include "verifier/report/escape.h"
#include "verifier/report/parts.h"
#include "verifier/report/report.h"

namespace fairway::verifier {
namespace {

std::string paint(Verdict status, bool colour) {
  const char* name = verdict_name(status);
  if (!colour) return name;
  const char* code = status == Verdict::kPass     ? "32"
                     : status == Verdict::kFail   ? "1;31"
                     : status == Verdict::kReview ? "33"
                                                  : "2";
  return fmt::format("\x1b[{}m{}\x1b[0m", code, name);
}

/// "legality" of "legality.causal".
std::string_view group_of(std::string_view id) { return id.substr(0, id.find('.')); }

/// Group by group in the order of first appearance; within a group as they came.
std::vector<const Check*> grouped(const std::vector<Check>& checks) {
  std::vector<const Check*> order;
  std::vector<bool> taken(checks.size());
  for (size_t i = 0; i < checks.size(); ++i) {
    for (size_t j = i; !taken[i] && j < checks.size(); ++j) {
      if (taken[j] || (j > i && group_of(checks[j].id) != group_of(checks[i].id))) continue;
      if (j > i) taken[j] = true;
      order.push_back(&checks[j]);
    }
    taken[i] = true;
  }
  return order;
}

}  // namespace

std::string to_text(const Report& report, bool colour, int width_columns) {
  constexpr size_t kIdColumn = 10;
  size_t id_columns = 18;
  for (const Check& c : report.checks) id_columns = std::max(id_columns, c.id.size());
  const std::string indent(kIdColumn + id_columns + 1, ' ');
  const int text_columns = width_columns - static_cast<int>(indent.size());
  std::string out = visible(report.subject_path);
  if (!report.subject_ref.empty()) out += fmt::format(" at {}", visible(report.subject_ref));
  out += "\n";

  std::string_view group;
  for (const Check* c : grouped(report.checks)) {
    if (group != group_of(c->id)) out += "\n";
    group = group_of(c->id);
    const std::string name = verdict_name(c->status);
    bool first = true;
    auto lines = [&](const std::string& text) {
      for (const std::string& line : wrap(text, text_columns)) {
        if (first) {
          out += fmt::format("  {}{} {:<{}} {}\n", paint(c->status, colour),
                             std::string(kIdColumn - 3 - name.size(), ' '), visible(c->id), id_columns, line);
        } else {
          out += indent + line + "\n";
        }
        first = false;
      }
    };
    lines(visible(c->message));
    const std::string compared = claimed_and_measured(*c, [](const std::string& text) { return visible(text); });
    if (!compared.empty()) lines(compared);
    for (const Evidence& e : c->evidence) lines(visible(place(e)) + (e.note.empty() ? "" : "  " + visible(e.note)));
  }

  std::string counts;
  for (Verdict v : {Verdict::kFail, Verdict::kReview, Verdict::kPass, Verdict::kSkip}) {
    if (const int64_t n = report.count(v); n > 0)
      counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", n, verdict_name(v));
  }
  out += fmt::format("\n{} checks{}{}\nverdict: {}\n", report.checks.size(), counts.empty() ? "" : ": ", counts,
                     paint(report.verdict(), colour));
  return out;
}

}  // namespace fairway::verifier
