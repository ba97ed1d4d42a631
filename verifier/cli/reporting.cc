#include <fmt/format.h>

#include <cstdio>

#include "verifier/cli/command.h"
#include "verifier/rules/rules.h"

namespace fairway::cli {

namespace po = boost::program_options;

void add_report(Parser& parser) {
  parser.options().add_options()("format", po::value<std::string>()->default_value("text"), verifier::kFormatNames)(
      "explain", po::value<std::string>(), "print a rule, why it exists and what is legal, and do nothing else");
  parser.standalone("explain");
}

Result<verifier::Format> report_format(const po::variables_map& v) {
  return verifier::parse_format(v["format"].as<std::string>());
}

ExitCode explain(const po::variables_map& v) {
  FAIRWAY_ASSIGN(auto page, verifier::explain_rule(v["explain"].as<std::string>(), terminal_columns()));
  std::fputs(page.c_str(), stdout);
  return 0;
}

Status print_reports(verifier::Format format, std::span<const verifier::Report> reports) {
  for (const verifier::Report& r : reports) {
    for (const verifier::Check& c : r.checks) FAIRWAY_CHECK(verifier::find_rule(c.id) != nullptr);
  }
  FAIRWAY_ASSIGN(auto text, verifier::render(format, reports, {want_colour(), terminal_columns()}));
  return write_stdout(text);
}

Status write_stdout(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return {};
  return Error{Errc::kIo, "standard output", "cannot be written"};
}

}  // namespace fairway::cli
