#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>

#include "verifier/audit/audit.h"
#include "verifier/audit/folder/directory_folder.h"
#include "verifier/audit/folder/git_repository.h"
#include "verifier/audit/limits.h"
#include "verifier/cli/command.h"
#include "verifier/cli/sample_input.h"

namespace fairway::cli {
namespace {

namespace po = boost::program_options;
using verifier::Report;
using verifier::Verdict;

struct Source {
  std::string repository, base, path;
  std::vector<std::string> refs;
  unsigned threads = 1;
  audit::AuditOptions options;
};

/// One reference a line; blank lines and lines that start with '#' are skipped.
Result<std::vector<std::string>> read_refs(const std::string& path) {
  FAIRWAY_ASSIGN(auto bytes, read_file(path, 16 << 20));
  std::vector<std::string> refs;
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    line.erase(std::find_if(line.rbegin(), line.rend(), [](char c) { return c != ' ' && c != '\r' && c != '\t'; }).base(), line.end());
    if (!line.empty() && line[0] != '#') refs.push_back(std::move(line));
    at = end + 1;
  }
  return refs;
}

/// A reference whose folder cannot be had gets a report that says why: one of many must not end the others.
Result<Report> audit_ref(audit::GitRepository& repository, const std::string& ref, const std::string& path, const audit::AuditOptions& options) {
  auto folder = repository.folder(ref, path);
  if (folder) return audit::audit(**folder, options);
  if (folder.error().code != Errc::kData && path.empty()) return folder.error();
  Report report;
  report.subject_path = path;
  report.subject_ref = ref;
  report.add("structure.files", Verdict::kReview, folder.error().message());
  return report;
}

/// Audits every reference on `threads` threads and hands the reports on in the order of the references.
template <class Print>
Status audit_refs(const Source& source, Print print) {
  FAIRWAY_ASSIGN(auto first, audit::GitRepository::open(source.repository, source.base));
  for (const std::string& ref : source.refs) FAIRWAY_TRY(first->find(ref));
  std::mutex mutex;
  std::condition_variable printed;
  std::map<size_t, Report> waiting;
  size_t next_to_take = 0, next_to_print = 0;
  std::optional<Error> problem;
  const size_t ahead = 16 * source.threads;  // reports that may wait for a slow one
  auto work = [&] {
    auto repository = audit::GitRepository::open(source.repository, source.base);
    for (;;) {
      size_t i = 0;
      {
        std::unique_lock lock(mutex);
        if (!repository && !problem) problem = repository.error();
        printed.wait(lock, [&] { return problem || next_to_take >= source.refs.size() || next_to_take < next_to_print + ahead; });
        if (problem || next_to_take >= source.refs.size()) return;
        i = next_to_take++;
      }
      Result<Report> report = audit_ref(**repository, source.refs[i], source.path, source.options);
      const std::lock_guard lock(mutex);
      if (!report) {
        if (!problem) problem = report.error();
      } else {
        waiting.emplace(i, std::move(*report));
        for (auto at = waiting.find(next_to_print); at != waiting.end(); at = waiting.find(++next_to_print)) {
          print(at->second);
          waiting.erase(at);
        }
      }
      printed.notify_all();
    }
  };
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < std::min<size_t>(source.threads, source.refs.size()); ++t) threads.emplace_back(work);
  for (std::thread& t : threads) t.join();
  if (problem) return *problem;
  return {};
}

}  // namespace

ExitCode run_audit(const Arguments& arguments) {
  Parser parser("fairway audit DIR [options]\n       fairway audit --git REPO --ref REF [--ref REF] [--refs-from FILE] [--path FOLDER] [options]",
                "Reads a record folder of the challenge (README.md, submission.json, logs, scripts) and says what holds, what is broken and what\n"
                "a person must look at. Nothing of the folder is run, imported or followed. With --git it is read from git objects: the\n"
                "record folder that the reference adds or changes since it left the base branch.");
  parser.optional_positional("DIR", "record folder");
  parser.options().add_options()
      ("git", po::value<std::string>()->default_value(""), "git repository, with or without work tree")
      ("ref", po::value<std::vector<std::string>>()->composing(), "reference to audit, any number of times")
      ("refs-from", po::value<std::string>()->default_value(""), "file with one reference a line")
      ("base", po::value<std::string>()->default_value(""), "branch that references are compared with; default: main or master")
      ("path", po::value<std::string>()->default_value(""), "this folder of the reference, instead of choosing one")
      ("skip-legality", "leave the sources out: bytes, times, scores and evidence only, which is much faster")
      ("baseline", po::value<std::vector<std::string>>()->multitoken()->composing(), "scores to improve on, as for `fairway stats`")
      ("tokenizer", po::value<std::string>()->default_value(""), "SentencePiece model that shipped tables of bytes per token are compared with")
      ("threads", po::value<int>()->default_value(0), "references audited at the same time; 0: all cores");
  add_report(parser);
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  if (v.count("explain") != 0) return explain(v);
  FAIRWAY_ASSIGN(const verifier::Format format, report_format(v));
  const int threads = v["threads"].as<int>();
  if (threads < 0 || threads > 256) return Error{Errc::kUsage, "--threads", "must be from 0 to 256"};

  Source source{v["git"].as<std::string>(), v["base"].as<std::string>(), v["path"].as<std::string>(), {}, 1, {}};
  if (v.count("baseline") != 0) {
    FAIRWAY_ASSIGN(auto baseline, read_sample(v["baseline"].as<std::vector<std::string>>(), "--baseline"));
    source.options.baseline = std::move(baseline.sample);
  }
  if (const std::string path = v["tokenizer"].as<std::string>(); !path.empty()) {
    FAIRWAY_ASSIGN(const auto bytes, read_file(path, static_cast<uint64_t>(audit::limits::kTokenizerBytes)));
    FAIRWAY_ASSIGN(source.options.tokenizer,
                   audit::read_tokenizer_model(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  }
  source.options.legality = v.count("skip-legality") == 0;
  source.threads = threads > 0 ? static_cast<unsigned>(threads) : std::max(1u, std::thread::hardware_concurrency());
  if (v.count("ref") != 0) source.refs = v["ref"].as<std::vector<std::string>>();
  if (const std::string list = v["refs-from"].as<std::string>(); !list.empty()) {
    FAIRWAY_ASSIGN(auto more, read_refs(list));
    source.refs.insert(source.refs.end(), more.begin(), more.end());
  }
  const bool directory = v.count("DIR") != 0;
  if (directory == !source.repository.empty()) return Error{Errc::kUsage, "", "give either DIR or --git REPO; see `fairway audit --help`"};
  if (directory && (!source.refs.empty() || !source.path.empty())) return Error{Errc::kUsage, "", "--ref, --refs-from and --path need --git REPO"};
  if (!directory && source.refs.empty()) return Error{Errc::kUsage, "--git", "needs at least one --ref or --refs-from"};
  if (format == verifier::Format::kJson && source.refs.size() > 1) return Error{Errc::kUsage, "--format", "json holds one report; use jsonl for several"};

  // What can be printed report by report is; the other formats are one document of all. An error leaves no half of one.
  bool failed = false, undecided = false;
  std::vector<Report> collected;
  Status written;
  auto print = [&](Report& report) {
    failed = failed || report.verdict() == Verdict::kFail;
    undecided = undecided || report.verdict() != Verdict::kPass;
    if (!verifier::is_streamable(format)) {
      collected.push_back(std::move(report));
    } else if (written) {
      written = print_reports(format, {&report, 1});
    }
  };
  if (directory) {
    FAIRWAY_ASSIGN(auto folder, audit::open_directory(v["DIR"].as<std::string>()));
    Report report = audit::audit(*folder, source.options);
    print(report);
  } else {
    FAIRWAY_TRY(audit_refs(source, print));
  }
  if (!verifier::is_streamable(format)) written = print_reports(format, collected);
  FAIRWAY_TRY(written);
  return failed ? 1 : undecided ? 2 : 0;
}

}  // namespace fairway::cli
