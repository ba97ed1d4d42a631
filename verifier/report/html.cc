#include <fmt/format.h>

#include <algorithm>

#include "engine/replay/version.h"
#include "verifier/report/escape.h"
#include "verifier/report/parts.h"
#include "verifier/report/report.h"
#include "verifier/rules/rules.h"

namespace fairway::verifier {
namespace {

constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--fail:#b3261e;--review:#8a5a00;--pass:#1a6b35;--skip:#666;--line:#8884;--soft:#8881}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:0 auto;padding:1rem}
h1{font-size:1.4rem;margin:.2em 0}h2{font-size:1.1rem;margin:0;display:inline;overflow-wrap:anywhere}
code{font:0.88em ui-monospace,monospace;overflow-wrap:anywhere}
.v{display:inline-block;min-width:4.2em;white-space:nowrap;text-align:center;border-radius:.3em;padding:0 .5em;color:#fff;font-size:.85em;font-weight:600}
.fail{background:var(--fail)}.review{background:var(--review)}.pass{background:var(--pass)}.skip{background:var(--skip)}
table{border-collapse:collapse;width:100%;margin:1rem 0}th{white-space:nowrap}th,td{text-align:left;padding:.3em .6em;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
.n{text-align:right;font-variant-numeric:tabular-nums}
.report{border:1px solid var(--line);border-radius:.5em;padding:.6em 1em;margin:1rem 0}
.report>summary{cursor:pointer}
.check{padding:.6em 0;border-top:1px solid var(--line)}.check p{margin:.3em 0;overflow-wrap:anywhere}
.check ul{margin:.3em 0;padding-left:1.2em}.check details{margin:.3em 0}
.meta,footer{color:var(--skip);font-size:.9em;overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){:root{--fail:#c0392b;--review:#946200;--pass:#22773f;--skip:#8a8a8a}}
@media(max-width:40rem){body{padding:.6rem}.wide,thead{display:none}.report{padding:.5em .6em}tr,td{display:block}tr{border-bottom:1px solid var(--line);padding:.4em 0}td{border:0;padding:.1em 0}}
#f-fail,#f-review,#f-pass,#f-all{position:absolute;opacity:0}
label{display:inline-block;padding:.1em .8em;margin-right:.3em;border:1px solid var(--line);border-radius:1em;cursor:pointer}
#f-fail:checked~nav [for=f-fail],#f-review:checked~nav [for=f-review],#f-pass:checked~nav [for=f-pass],#f-all:checked~nav [for=f-all]{background:var(--soft);font-weight:600}
:focus-visible~nav{outline:2px solid currentColor;outline-offset:2px}
#f-fail:checked~main .is-review,#f-fail:checked~main .is-pass,#f-review:checked~main .is-fail,#f-review:checked~main .is-pass,#f-pass:checked~main .is-fail,#f-pass:checked~main .is-review{display:none}
)";

std::string badge(Verdict v) { return fmt::format("<span class=\"v {0}\">{0}</span>", verdict_name(v)); }

std::string subject(const Report& r) {
  std::string out = markup_escape(r.subject_path);
  if (!r.subject_ref.empty()) out += fmt::format(" <span class=\"meta\">at {}</span>", markup_escape(r.subject_ref));
  return out;
}

std::string check_html(const Check& c) {
  std::string out = fmt::format("<div class=\"check\">{} <code>{}</code><p>{}</p>", badge(c.status),
                                markup_escape(c.id), markup_escape(c.message));
  const std::string compared = claimed_and_measured(
      c, [](const std::string& text) { return fmt::format("<code>{}</code>", markup_escape(text)); });
  if (!compared.empty()) out += fmt::format("<p>{}</p>", compared);
  if (!c.evidence.empty()) {
    out += "<ul>";
    for (const Evidence& e : c.evidence) {
      out += fmt::format("<li><code>{}</code> {}</li>", markup_escape(place(e)), markup_escape(e.note));
    }
    out += "</ul>";
  }
  if (const Rule* rule = find_rule(c.id);
      rule != nullptr && (c.status == Verdict::kFail || c.status == Verdict::kReview)) {
    out += fmt::format("<details><summary>The rule: {}</summary><p>{}</p><p><b>Why.</b> {}</p>",
                       markup_escape(rule->title), markup_escape(rule->rule), markup_escape(rule->why));
    if (*rule->legal != '\0') out += fmt::format("<p><b>What is legal.</b> {}</p>", markup_escape(rule->legal));
    out += fmt::format("<p class=\"meta\">Settled by {}", markup_escape(rule->source));
    if (*rule->url != '\0')
      out += fmt::format(", <a href=\"{0}\" rel=\"noreferrer\">{0}</a>",
                         markup_escape(rule->url));  // from the registry, not from a report
    out += "</p></details>";
  }
  return out + "</div>\n";
}

/// One row a report: verdict, what is being judged, the counts and the checks that need attention.
std::string board(std::span<const Report> reports) {
  std::string out =
      "<table><thead><tr><th>verdict</th><th>subject</th><th class=\"n wide\">fail</th><th class=\"n "
      "wide\">review</th><th class=\"n wide\">pass</th>"
      "<th>needs attention</th></tr></thead><tbody>\n";
  for (size_t i = 0; i < reports.size(); ++i) {
    const Report& r = reports[i];
    std::string attention;
    for (Verdict v : {Verdict::kFail, Verdict::kReview}) {
      for (const Check& c : r.checks) {
        if (c.status == v)
          attention += fmt::format("{}<code>{}</code>", attention.empty() ? "" : ", ", markup_escape(c.id));
      }
    }
    out += fmt::format(
        "<tr class=\"is-{}\"><td>{}</td><td><a href=\"#r{}\">{}</a></td><td class=\"n wide\">{}</td><td class=\"n "
        "wide\">{}</td><td class=\"n wide\">{}</td><td>{}</td></tr>\n",
        verdict_name(r.verdict()), badge(r.verdict()), i, subject(r), r.count(Verdict::kFail),
        r.count(Verdict::kReview), r.count(Verdict::kPass), attention);
  }
  return out + "</tbody></table>\n";
}

}  // namespace

std::string to_html(std::span<const Report> reports, const std::string& title) {
  int64_t counts[4] = {};
  for (const Report& r : reports) ++counts[static_cast<int>(r.verdict())];
  const int64_t failed = counts[static_cast<int>(Verdict::kFail)], review = counts[static_cast<int>(Verdict::kReview)],
                passed = counts[static_cast<int>(Verdict::kPass)];
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri "
      "'none'; form-action 'none'\">\n"
      "<meta name=\"referrer\" "
      "content=\"no-referrer\"><title>{0}</title><style>{1}</style></head><body>\n<h1>{0}</h1>\n",
      markup_escape(title), kStyle);
  const bool many = reports.size() > 1;
  if (many) {
    out += fmt::format(
        "<input type=\"radio\" name=\"f\" id=\"f-all\" checked><input type=\"radio\" name=\"f\" id=\"f-fail\"><input "
        "type=\"radio\" name=\"f\" id=\"f-review\">"
        "<input type=\"radio\" name=\"f\" id=\"f-pass\">\n<nav><label for=\"f-all\">all {}</label><label "
        "for=\"f-fail\">fail {}</label>"
        "<label for=\"f-review\">review {}</label><label for=\"f-pass\">pass {}</label></nav>\n",
        reports.size(), failed, review, passed);
  }
  out += "<main>\n";
  if (many) out += board(reports);
  for (size_t i = 0; i < reports.size(); ++i) {
    const Report& r = reports[i];
    out += fmt::format("<details class=\"report is-{}\"{}><summary>{} <h2>{}</h2></summary>\n<div id=\"r{}\"></div>",
                       verdict_name(r.verdict()), many ? "" : " open", badge(r.verdict()), subject(r),
                       i);  // a link to something inside unfolds the report
    if (!r.subject_sha256.empty())
      out += fmt::format("<p class=\"meta\">sha256 <code>{}</code></p>\n", markup_escape(r.subject_sha256));
    for (Verdict v : {Verdict::kFail, Verdict::kReview, Verdict::kPass, Verdict::kSkip}) {
      for (const Check& c : r.checks) {
        if (c.status == v) out += check_html(c);
      }
    }
    out += "</details>\n";
  }
  out += fmt::format(
      "</main><footer>Fairway {}. fail: the tool can show it; review: a person must look; skip: not applicable or not "
      "checked.</footer></body></html>\n",
      markup_escape(replay::version()));
  return out;
}

}  // namespace fairway::verifier
