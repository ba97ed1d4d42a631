#include <fmt/format.h>

#include "engine/base/file.h"
#include "verifier/cli/command.h"

namespace fairway::cli {
namespace {

namespace po = boost::program_options;
using verifier::Report;

constexpr uint64_t kMaxBytes = uint64_t{512} << 20;

/// One JSON report, or one a line.
Result<std::vector<Report>> read_reports(const std::string& path) {
  FAIRWAY_ASSIGN(auto bytes, read_file(path, kMaxBytes));
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::vector<Report> reports;
  std::optional<Error> problem;
  int64_t line_number = 0;
  for (size_t at = 0; at < text.size() && !problem;) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    auto report = verifier::from_json(line, fmt::format("{}:{}", path, line_number));
    if (report) {
      reports.push_back(std::move(*report));
    } else {
      problem = report.error();
    }
  }
  if (problem && reports.empty()) {  // perhaps one report laid out over several lines
    auto whole = verifier::from_json(text, path);
    if (whole) return std::vector<Report>{std::move(*whole)};
    if (line_number > 1 || text.find('\n') == std::string_view::npos) return whole.error();
  }
  if (problem) return *problem;
  if (reports.empty()) return Error{Errc::kData, path, "holds no report; one is made with --format json or jsonl"};
  return reports;
}

}  // namespace

ExitCode run_report(const Arguments& arguments) {
  Parser parser(
      "fairway report FILE... [--format html] [--out FILE] [options]",
      "Turns reports stored with --format json or jsonl into a web page or another format. Several reports become a "
      "board: one row each,\n"
      "then every report in full. The page is one file without scripts; nothing in it is loaded from elsewhere.");
  parser.positional_list("FILE", "reports");
  parser.options().add_options()("format", po::value<std::string>()->default_value("html"),
                                 (std::string("html, ") + verifier::kFormatNames).c_str())(
      "out", po::value<std::string>()->default_value(""), "file to write; default: standard output")(
      "title", po::value<std::string>()->default_value("Fairway report"), "title of the page");
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  const std::string format_name = v["format"].as<std::string>();
  const bool html = format_name == "html";
  verifier::Format format = verifier::Format::kText;
  if (!html) {
    auto known = verifier::parse_format(format_name);
    if (!known) return Error{Errc::kUsage, "--format", fmt::format("must be html, {}", verifier::kFormatNames)};
    format = *known;
  }
  std::vector<Report> reports;
  for (const std::string& path : v["FILE"].as<std::vector<std::string>>()) {
    FAIRWAY_ASSIGN(auto more, read_reports(path));
    reports.insert(reports.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
  const std::string out = v["out"].as<std::string>();
  std::string text;
  if (html) {
    text = verifier::to_html(reports, v["title"].as<std::string>());
  } else {
    FAIRWAY_ASSIGN(text, verifier::render(format, reports, {out.empty() && want_colour(), terminal_columns()}));
  }
  FAIRWAY_TRY(out.empty() ? write_stdout(text) : write_file_atomic(out, text));
  return 0;
}

}  // namespace fairway::cli
