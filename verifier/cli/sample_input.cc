#include "verifier/cli/sample_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "engine/replay/record.h"
#include "verifier/audit/audit.h"
#include "verifier/audit/check/seed_scores.h"
#include "verifier/audit/folder/directory_folder.h"
#include "verifier/check/log_statement.h"
#include "verifier/report/escape.h"

namespace fairway::cli {
namespace {

namespace fs = std::filesystem;

/// A decimal number and half a unit of its last digit.
struct Decimal {
  double value = 0.0, half_unit = 0.0;
};

std::optional<Decimal> parse_decimal(std::string_view text) {
  Decimal d;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), d.value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  const size_t point = text.find('.');
  const size_t digits = point == std::string_view::npos ? 0 : text.size() - point - 1;
  d.half_unit =
      text.find_first_of("eE") == std::string_view::npos ? 0.5 * std::pow(10.0, -static_cast<double>(digits)) : 0.0;
  return d;
}

Result<SampleInput> from_numbers(const std::vector<std::string>& words, const std::string& role) {
  SampleInput input;
  std::vector<double> values;
  double half_unit = 0.0;
  for (const std::string& word : words) {
    const auto d = parse_decimal(word);
    if (!d)
      return Error{
          Errc::kData, role,
          fmt::format("\"{}\" is no score; numbers and folders cannot be mixed", verifier::visible(word, 200))};
    values.push_back(d->value);
    half_unit = std::max(half_unit, d->half_unit);
  }
  FAIRWAY_ASSIGN(input.sample, stats::sample_of(std::move(values), role));
  input.sample.half_unit = half_unit;
  return input;
}

/// MEAN:SD:COUNT
Result<SampleInput> from_summary(const std::string& word, const std::string& role) {
  const size_t first = word.find(':'), second = word.find(':', first + 1);
  const std::string_view text = word;
  const auto mean = parse_decimal(text.substr(0, first));
  const auto sd =
      second == std::string::npos ? std::nullopt : parse_decimal(text.substr(first + 1, second - first - 1));
  int64_t count = 0;
  const auto count_text = second == std::string::npos ? "" : text.substr(second + 1);
  const auto [end, error] = std::from_chars(count_text.data(), count_text.data() + count_text.size(), count);
  if (!mean || !sd || error != std::errc() || end != count_text.data() + count_text.size()) {
    return Error{Errc::kData, role,
                 fmt::format("\"{}\" is no MEAN:SD:COUNT, as in 1.11938:0.00058:3", verifier::visible(word, 200))};
  }
  SampleInput input;
  FAIRWAY_ASSIGN(input.sample, stats::sample_of_summary(mean->value, sd->value, count, role));
  input.sample.half_unit = mean->half_unit;
  input.sample.sd_half_unit = sd->half_unit;
  return input;
}

/// The folders of replay records that a path means: itself, or its folders seed_<N>, sorted.
std::vector<std::string> replay_folders(const fs::path& path) {
  std::error_code ignored;
  if (path.filename() == "replay.json") return {path.parent_path().empty() ? "." : path.parent_path().string()};
  if (fs::exists(path / "replay.json", ignored)) return {path.string()};
  std::vector<std::string> folders;
  for (const auto& entry : fs::directory_iterator(path, ignored)) {
    if (entry.path().filename().string().starts_with("seed_") && fs::exists(entry.path() / "replay.json", ignored))
      folders.push_back(entry.path().string());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

Result<SampleInput> from_replays(const std::vector<std::string>& folders, const std::string& role) {
  SampleInput input;
  std::vector<double> values;
  std::vector<std::string> names;
  for (const std::string& folder : folders) {
    FAIRWAY_ASSIGN(auto loaded, replay::read_record(folder));
    const replay::Identity& i = loaded.record.identity;
    const auto scored = verifier::scored_text(i);
    if (input.scored && scored != *input.scored) {
      return Error{Errc::kData, folder,
                   "was scored on other tokens or bytes than the records before it; scores of different text cannot be "
                   "compared"};
    }
    input.scored = scored;
    const std::string name = fmt::format("seed {}", i.seed);
    if (std::find(names.begin(), names.end(), name) != names.end())
      return Error{Errc::kData, folder, fmt::format("{} is there twice", name)};
    values.push_back(i.val_bpb);
    names.push_back(name);
  }
  FAIRWAY_ASSIGN(input.sample, stats::sample_of(std::move(values), role));
  input.sample.names = std::move(names);
  input.scale = stats::Scale{static_cast<double>(input.scored->bytes) / static_cast<double>(input.scored->tokens), "the replay records"};
  return input;
}

Result<SampleInput> from_record_folder(const std::string& path, const std::string& role) {
  FAIRWAY_ASSIGN(auto folder, audit::open_directory(path));
  const auto found = audit::seed_scores(audit::read_facts(*folder));
  if (!found)
    return Error{Errc::kData, path,
                 fmt::format("holds no scores per seed for {}: neither submission.json nor the logs show two of them, "
                             "nor is there a replay.json",
                             role)};
  SampleInput input;
  input.sample = found->sample;
  input.name = fmt::format("{}, {}", path, found->source);
  if (found->bytes_per_token > 0.0)
    input.scale = stats::Scale{found->bytes_per_token, "the record's losses and scores"};
  return input;
}

}  // namespace

Result<SampleInput> read_sample(const std::vector<std::string>& words, const std::string& role) {
  if (words.empty()) return Error{Errc::kUsage, role, "no scores given"};
  std::error_code ignored;
  if (parse_decimal(words[0])) return from_numbers(words, role);
  if (words.size() == 1 && !fs::exists(words[0], ignored) && words[0].find(':') != std::string::npos)
    return from_summary(words[0], role);
  std::vector<std::string> folders;
  for (const std::string& word : words) {
    if (!fs::exists(word, ignored)) {
      return Error{Errc::kNoInput, role,
                   fmt::format("\"{}\" is neither a number, MEAN:SD:COUNT nor an existing folder",
                               verifier::visible(word, 200))};
    }
    const auto more = replay_folders(word);
    if (more.empty() && words.size() > 1)
      return Error{Errc::kData, word, "holds no replay.json; give one record folder at a time"};
    folders.insert(folders.end(), more.begin(), more.end());
  }
  if (folders.empty()) return from_record_folder(words[0], role);
  FAIRWAY_ASSIGN(auto input, from_replays(folders, role));
  input.name = fmt::format("{}", fmt::join(words, ", "));
  return input;
}

}  // namespace fairway::cli
