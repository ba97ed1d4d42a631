#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <sstream>

#include "kernels/cpu/parallel.h"
#include "kernels/cuda/device.h"
#include "verifier/cli/command.h"

namespace fairway::cli {

namespace po = boost::program_options;

namespace {

/// The first option for a number from 0 up that was given a negative one; the library takes -1 for the largest there is.
Status check_signs(const po::parsed_options& parsed) {
  for (const po::option& o : parsed.options) {
    const po::option_description* d = parsed.description->find_nothrow(o.string_key, false);
    if (d == nullptr) continue;
    const po::value_semantic* kind = d->semantic().get();
    const bool from_zero = dynamic_cast<const po::typed_value<uint64_t>*>(kind) != nullptr ||
                           dynamic_cast<const po::typed_value<std::vector<uint64_t>>*>(kind) != nullptr;
    for (const std::string& text : from_zero ? o.value : std::vector<std::string>()) {
      if (text.starts_with('-')) return Error{Errc::kUsage, "--" + o.string_key, fmt::format("must be a number from 0 up, not {}", text)};
    }
  }
  return {};
}

}  // namespace

Parser::Parser(std::string usage, std::string text) : usage_(std::move(usage)), text_(std::move(text)) {
  options_.add_options()("help,h", "show this page");
}

void Parser::positional(const char* name, const char* description) {
  optional_positional(name, description);
  required_.push_back(name);
}

void Parser::positional_list(const char* name, const char* description) {
  hidden_.add_options()(name, po::value<std::vector<std::string>>(), description);
  positions_.add(name, -1);
  required_.push_back(name);
}

void Parser::optional_positional(const char* name, const char* description) {
  hidden_.add_options()(name, po::value<std::string>(), description);
  positions_.add(name, 1);
}

void Parser::standalone(const char* name) { standalone_.push_back(name); }

Result<po::variables_map> Parser::parse(const Arguments& arguments, bool& help_shown) {
  help_shown = false;
  // "fairway train DIR ..." and "fairway data tokenize TEXT ...": the words before the first argument.
  const std::string see = fmt::format("; see `{} --help`", usage_.substr(0, usage_.find_first_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ[(") - 1));
  po::variables_map v;
  const auto excused = [&] { return std::any_of(standalone_.begin(), standalone_.end(), [&](const std::string& name) { return v.count(name) != 0; }); };
  try {
    po::options_description all;
    all.add(options_).add(hidden_);
    const po::parsed_options parsed = po::command_line_parser(arguments).options(all).positional(positions_).run();
    FAIRWAY_TRY(check_signs(parsed));
    po::store(parsed, v);
    if (!excused()) po::notify(v);  // asking for help excuses from required options
  } catch (const po::error& e) {
    return Error{Errc::kUsage, "", e.what() + see};
  }
  if (v.count("help") != 0) {
    std::ostringstream page;
    page << "Usage: " << usage_ << "\n\n" << text_ << "\n\n" << options_;
    std::fputs(page.str().c_str(), stdout);
    help_shown = true;
    return v;
  }
  for (const std::string& name : required_) {
    if (excused()) break;
    if (v.count(name) == 0) return Error{Errc::kUsage, "", fmt::format("the argument {} is missing{}", name, see)};
  }
  return v;
}

void add_submission(Parser& parser) {
  parser.positional("DIR", "folder with fairway.toml");
  parser.options().add_options()
      ("data", po::value<std::string>()->default_value(""), "folder with the token shards, instead of data.path")
      ("tokenizer", po::value<std::string>()->default_value(""), "SentencePiece model, instead of data.tokenizer")
      ("threads", po::value<int>()->default_value(0), "worker threads; 0: all cores (the bits do not depend on it)")
      ("device", po::value<std::string>()->default_value("auto"),
       "auto, cpu or cuda (the bits do not depend on it); train and eval can use a GPU; auto is the CPU; cuda without a usable GPU is an error");
}

namespace {

/// Errors: an unknown name; kUnavailable for cuda, with what is missing: never a silent fallback.
Status check_device(const std::string& device, Devices devices) {
  if (device == "auto" || device == "cpu") return {};
  if (device != "cuda") return Error{Errc::kUsage, "--device", fmt::format("must be auto, cpu or cuda, not \"{}\"", device)};
  if (const std::string problem = cuda::device_problem(); !problem.empty()) return Error{Errc::kUnavailable, "--device cuda", problem};
  if (devices == Devices::kCpuOnly) return Error{Errc::kUnavailable, "--device cuda", "this command computes on the CPU; use --device cpu"};
  return {};
}

}  // namespace

Result<submission::Submission> load_submission(const po::variables_map& v, Devices devices) {
  const int threads = v["threads"].as<int>();
  if (threads < 0 || threads > 1024) return Error{Errc::kUsage, "--threads", "must be from 0 to 1024"};
  if (threads > 0) kernels::set_thread_count(threads);
  FAIRWAY_TRY(check_device(v["device"].as<std::string>(), devices));
  return submission::load_submission(v["DIR"].as<std::string>(), {v["data"].as<std::string>(), v["tokenizer"].as<std::string>()});
}

int terminal_columns() {
  winsize size{};
  if (isatty(1) == 0 || ioctl(1, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 100;
  return std::clamp<int>(size.ws_col, 60, 160);
}

bool want_colour() { return isatty(1) != 0 && std::getenv("NO_COLOR") == nullptr; }

}  // namespace fairway::cli
