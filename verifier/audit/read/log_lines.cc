#include "verifier/audit/read/log_lines.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "verifier/audit/limits.h"
#include "verifier/audit/read/size_lines.h"
#include "verifier/audit/read/text.h"

namespace fairway::audit {
namespace {

using namespace std::string_view_literals;

constexpr size_t kNone = std::string_view::npos;

bool word_starts_at(std::string_view s, size_t at) { return at == 0 || !is_word(s[at - 1]); }

/// The number of a "key: number" whose key starts at `at` and is `length` long.
std::optional<Number> value_after(std::string_view s, size_t at, size_t length, size_t* end = nullptr) {
  const size_t v = after_separator(s, at + length);
  if (v == kNone) return std::nullopt;
  const auto n = number_at(s.substr(v));
  if (n && end != nullptr) *end = v + n->length;
  return n;
}

/// Milliseconds of a number followed by a unit; nothing if there is no unit and none in the key's name.
std::optional<double> milliseconds(double value, std::string_view rest, std::string_view key) {
  while (!rest.empty() && rest[0] == ' ') rest.remove_prefix(1);
  auto unit = [&](std::string_view u) {
    return rest.starts_with(u) && (rest.size() == u.size() || !is_word(rest[u.size()]));
  };
  if (unit("ms")) return value;
  if (unit("s") || unit("sec") || unit("seconds")) return value * 1e3;
  if (unit("m") || unit("min") || unit("minutes")) return value * 6e4;
  if (key.ends_with("_ms")) return value;
  if (key.ends_with("_s") || key.ends_with("_sec") || key.ends_with("_seconds") || key == "elapsed") return value * 1e3;
  return std::nullopt;
}

bool is_diagnostic(std::string_view lowered_tag) {
  const std::string_view t = trim(lowered_tag);
  if (t.starts_with("step")) return true;
  size_t i = 0;
  while (i < t.size() && is_digit(t[i])) ++i;
  if (i < t.size() && t[i] == '/' && i + 1 < t.size() && is_digit(t[i + 1])) return true;
  for (const auto word :
       {"diagnostic"sv, "pre-quant"sv, "pre_quant"sv, "prequant"sv, "post_ema"sv, "post-ema"sv, "post_swa"sv}) {
    if (t.find(word) != kNone) return true;
  }
  return false;
}

/// "[3/120]" or "(12%)" in a tag: a running value of an evaluation that is not finished.
bool is_progress(std::string_view tag) {
  for (size_t i = tag.find('/'); i != kNone; i = tag.find('/', i + 1)) {
    if (i > 0 && is_digit(tag[i - 1]) && i + 1 < tag.size() && is_digit(tag[i + 1])) return true;
  }
  for (const auto word : {"chunk"sv, "progress"sv, "epoch"sv, "batch"sv, "running"sv}) {
    if (tag.find(word) != kNone) return true;
  }
  return tag.find("% ") != kNone || tag.find("%)") != kNone;
}

/// `^(tag)\bval_loss\s*[:=]\s*F[\s,;|]+(\w*_)?val_bpb\s*[:=]\s*F`
/// `after`: where the text behind it begins.
bool scan_loss_and_bpb(std::string_view line, std::string_view lowered, ScoreLine& out, size_t& after) {
  for (size_t at = lowered.find("val_loss"); at != kNone; at = lowered.find("val_loss", at + 1)) {
    size_t end = 0;
    const auto loss = word_starts_at(lowered, at) ? value_after(lowered, at, 8, &end) : std::nullopt;
    if (!loss) continue;
    const size_t gap = end;
    while (end < line.size() && " \t,;|*"sv.find(line[end]) != kNone) ++end;
    if (end == gap) continue;
    size_t key = end;
    while (key < line.size() && is_word(line[key])) ++key;
    if (!lowered.substr(end, key - end).ends_with("val_bpb")) continue;
    const auto bpb = value_after(lowered, end, key - end, &after);
    if (!bpb) continue;
    out.tag = trim(line.substr(0, at));
    out.val_loss = loss->value;
    out.loss_decimals = loss->decimals;
    out.val_bpb = bpb->value;
    out.bpb_decimals = bpb->decimals;
    return true;
  }
  return false;
}

/// Every `(\S*bpb\S*)\s*[:=]\s*F` from `from` on that is no difference of two scores; the tag is what precedes the
/// number.
void scan_bpb(std::string_view line, std::string_view lowered, size_t from, std::vector<ScoreLine>& out) {
  for (size_t at = lowered.find("bpb", from); at != kNone; at = lowered.find("bpb", at + 1)) {
    size_t end = at + 3;
    while (end < line.size() && is_word(line[end])) ++end;
    if (end < line.size() && (line[end] == '"' || line[end] == '\'')) ++end;  // JSON: "val_bpb": 1.1
    const auto bpb = value_after(line, end, 0);
    if (!bpb || bpb->value < 0) continue;
    size_t start = at;
    while (start > 0 && is_word(line[start - 1])) --start;
    const std::string_view key = lowered.substr(start, at - start);
    if (key.find("delta") != kNone || key.find("diff") != kNone || key.find("gain") != kNone) continue;
    const std::string_view before = trim(line.substr(0, start));
    ScoreLine score;
    score.tag = std::string(before) + (before.empty() ? "" : " ") + std::string(line.substr(start, at + 3 - start));
    score.val_bpb = bpb->value;
    score.bpb_decimals = bpb->decimals;
    out.push_back(std::move(score));
    if (out.size() >= 16) return;
  }
}

/// A more precise value further on in a score line: "val_bpb:1.1732 exact:1.17317850".
void refine(std::string_view lowered, ScoreLine& score) {
  const size_t at = lowered.find("exact:");
  if (at == kNone || !score.val_bpb) return;
  const auto n = value_after(lowered, at, 5);
  if (!n || n->decimals <= score.bpb_decimals ||
      std::abs(n->value - *score.val_bpb) > 0.51 * std::pow(10, -score.bpb_decimals))
    return;
  score.val_bpb = n->value;
  score.bpb_decimals = n->decimals;
}

std::optional<EvalTime> scan_eval_time(std::string_view lowered) {
  for (const auto key : {"eval_time"sv, "elapsed"sv, "eval_secs"sv}) {
    for (size_t at = lowered.find(key); at != kNone; at = lowered.find(key, at + 1)) {
      size_t start = at, end = at + key.size();
      while (start > 0 && is_word(lowered[start - 1])) --start;
      while (end < lowered.size() && is_word(lowered[end])) ++end;
      size_t after = 0;
      const auto n = value_after(lowered, start, end - start, &after);
      if (!n || n->value < 0) continue;
      const auto name = lowered.substr(start, end - start);
      if (const auto ms = milliseconds(n->value, lowered.substr(after), name))
        return EvalTime{*ms, name.starts_with("total_eval"), {}};
    }
  }
  return std::nullopt;
}

void scan_train(std::string_view lowered, int64_t number, std::vector<LogEvent>& out) {
  TrainLine t;
  if (const size_t at = lowered.find("train_time"); at != kNone && word_starts_at(lowered, at)) {
    size_t key = at, end = 0;
    while (key < lowered.size() && is_word(lowered[key])) ++key;
    if (const auto n = value_after(lowered, at, key - at, &end))
      t.time_ms = milliseconds(n->value, lowered.substr(end), lowered.substr(at, key - at));
  }
  if (!t.time_ms) return;
  if (const size_t at = lowered.find("step_avg"); at != kNone) {
    size_t end = 0;
    if (const auto n = value_after(lowered, at, 8, &end))
      t.step_avg_ms = milliseconds(n->value, lowered.substr(end), "");
  }
  if (const size_t at = lowered.find("step:"); at != kNone && word_starts_at(lowered, at)) {
    if (const auto n = value_after(lowered, at, 4)) t.step = static_cast<int64_t>(n->value);
  } else {
    const std::string_view s = trim(lowered);
    size_t length = 0;
    if (const auto n = integer_at(s, &length); n && length < s.size() && s[length] == '/') t.step = n;
  }
  if (const size_t at = lowered.find("stopping_early"); at != kNone) {
    size_t v = after_separator(lowered, at + 14);
    if (v == kNone) v = at + 15;
    size_t end = std::min(v, lowered.size());
    while (end < lowered.size() && is_word(lowered[end])) ++end;
    t.stop_reason = lowered.substr(std::min(v, lowered.size()), end - std::min(v, end));
    if (t.stop_reason.empty()) t.stop_reason = "stopped";
  }
  out.push_back({number, std::move(t)});
}

constexpr std::array kMarkerWords = {
    "ttt"sv,    "slot"sv,  "gram"sv, "gptq"sv,  "calib"sv, "quant"sv,   "_gate"sv,   "etlb"sv,   "two_pass"sv,
    "pass 2"sv, "pass2"sv, "ppm"sv,  "hedge"sv, "cache"sv, "rescor"sv,  "temper"sv,  "prefix"sv, "lora"sv,
    "adapt"sv,  "phase"sv, "hint"sv, "bias"sv,  "mix"sv,   "sliding"sv, "overlap"sv, "oracle"sv, "eval"sv};

/// A line of a printed JSON object: `"key": value,`. true, false and null become Python's words for them.
void scan_json_member(std::string_view line, std::string_view lowered, size_t first, int64_t number,
                      std::vector<LogEvent>& out) {
  const size_t end = line.find('"', first + 1);
  if (end == kNone || end - first < 2 || end - first > 65) return;
  size_t at = end + 1;
  while (at < line.size() && line[at] == ' ') ++at;
  if (at >= line.size() || line[at] != ':') return;
  std::string_view value = trim(line.substr(at + 1));
  if (value.ends_with(",")) value = trim(value.substr(0, value.size() - 1));
  if (value.size() >= 2 && value[0] == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
  if (value.empty() || value.size() > 300 || value.find_first_of("{}[]\"") != kNone) return;
  if (value == "true") value = "True";
  if (value == "false") value = "False";
  if (value == "null") value = "None";
  // Objects are also printed of other runs: they say how a switch was set, never which run this is.
  const std::string_view key = lowered.substr(first + 1, end - first - 1);
  for (const auto fact : {"seed"sv, "world_size"sv, "train_shards"sv, "val_tokens"sv, "validation_tokens"sv}) {
    if (key == fact) return;
  }
  out.push_back({number, Parameter{std::string(key), std::string(value)}});
}

/// Every key:value or key=value among the blank-separated words of a line; "key: value" counts where the line is
/// nothing else.
void scan_parameters(std::string_view line, std::string_view lowered, int64_t number, bool in_block,
                     std::vector<LogEvent>& out) {
  auto is_key = [&](std::string_view s) {
    return !s.empty() && s.size() <= 64 && !is_digit(s[0]) &&
           std::all_of(s.begin(), s.end(), [](char c) { return is_word(c) || c == '.' || c == '-'; });
  };
  auto add = [&](size_t key_at, size_t key_length, std::string_view value) {
    if (value.size() > 300) value = value.substr(0, 300);
    out.push_back({number, Parameter{std::string(lowered.substr(key_at, key_length)), std::string(value)}});
  };
  size_t first = line.find_first_not_of(" \t");
  if (first == kNone) return;
  if (line[first] == '"') return scan_json_member(line, lowered, first, number, out);
  if (const size_t sign = line.find_first_of(":=", first); sign != kNone) {
    const std::string_view key = trim(line.substr(first, sign - first)), value = trim(line.substr(sign + 1));
    const bool single = in_block || (sign + 1 < line.size() && line[sign + 1] == ' ' && value.find(' ') == kNone);
    if (single && is_key(key) && !value.empty()) return add(first, key.size(), value);
  }
  int found = 0;
  for (size_t at = first; at < line.size() && found < 64;) {
    const size_t stop = std::min(line.find_first_of(" \t,;|", at), line.size());
    const std::string_view word = line.substr(at, stop - at);
    if (const size_t sign = word.find_first_of(":="); sign != kNone && sign > 0 && is_key(word.substr(0, sign))) {
      std::string_view value = word.substr(sign + 1);
      size_t next = stop;
      if (value.empty() && stop + 1 < line.size() && line[stop] == ' ') {  // "seed: 42, next: ..."
        next = std::min(line.find_first_of(" \t,;|", stop + 1), line.size());
        value = line.substr(stop + 1, next - stop - 1);
      }
      if (!value.empty()) {
        // "sgd_ttt:param_set:control" gives a value of param_set and says nothing of sgd_ttt's.
        const size_t inner = value.find(':');
        const bool nested = inner != kNone && is_key(value.substr(0, inner)) && inner + 1 < value.size() &&
                            value[inner + 1] != '/' && value[inner + 1] != '\\';
        if (nested) {
          add(static_cast<size_t>(value.data() - line.data()), inner, value.substr(inner + 1));
        } else {
          add(at, sign, value);
        }
        ++found;
      }
      at = next + 1;
    } else {
      at = stop + 1;
    }
  }
}

}  // namespace

bool is_marker(std::string_view lowered) {
  return std::any_of(kMarkerWords.begin(), kMarkerWords.end(),
                     [&](std::string_view word) { return lowered.find(word) != kNone; });
}

std::string tag_key(std::string_view tag) {
  std::string out;
  for (size_t i = 0; i < tag.size();) {
    if (is_digit(tag[i]) && (i == 0 || !is_word(tag[i - 1]))) {
      while (i < tag.size() && (is_digit(tag[i]) || tag[i] == '.')) ++i;
      out += '#';
    } else {
      out += tag[i++];
    }
  }
  while (!out.empty() && (out.back() == ' ' || out.back() == ':')) out.pop_back();
  return out;
}

size_t log_prefix_length(std::string_view line) {
  size_t at = 0;
  bool prefixed = false;
  // " - INFO - ", " | ", "INFO: " after a time stamp; a blank that only indents stays.
  auto skip_level = [&] {
    size_t next = at;
    auto skip_signs = [&] {
      while (next < line.size() && " :-|"sv.find(line[next]) != kNone) ++next;
    };
    skip_signs();
    if (line.substr(at, next - at).find_first_of("-|") != kNone) at = next;
    for (const auto level : {"INFO"sv, "DEBUG"sv, "WARNING"sv, "[INFO]"sv}) {
      if (!line.substr(next).starts_with(level)) continue;
      next += level.size();
      skip_signs();
      at = next;
    }
  };
  for (int round = 0; round < 3; ++round) {
    const std::string_view s = line.substr(at);
    if (s.starts_with("[rank") || (s.starts_with("[") && s.size() > 5 && is_digit(s[1]) && is_digit(s[2]))) {
      const size_t end = s.find(']');
      if (end == kNone || end > 48 || s.substr(0, end).find('/') != kNone) break;  // "[3/120]" is progress
      at += end + 1;
      if (at < line.size() && line[at] == ':') ++at;
    } else if (s.size() > 19 && is_digit(s[0]) && is_digit(s[3]) && s[4] == '-' && is_digit(s[5]) && s[7] == '-' &&
               s[13] == ':') {
      at += 16;  // 2026-03-20 10:11:12,345 or 2026-03-20T10:11:12+08:00
      while (at < line.size() && (is_digit(line[at]) || ":.,Z+"sv.find(line[at]) != kNone)) ++at;
    } else {
      break;
    }
    prefixed = true;
    skip_level();
  }
  if (prefixed && at < line.size() && line[at] == ' ') ++at;
  return at;
}

void scan_log_line(std::string_view line, std::string_view lowered, int64_t number, bool in_block,
                   std::vector<LogEvent>& out) {
  if (line.size() > static_cast<size_t>(limits::kLogLineBytes)) {
    line = line.substr(0, limits::kLogLineBytes);
    lowered = lowered.substr(0, limits::kLogLineBytes);
  }
  if (const size_t skip = log_prefix_length(line); skip > 0) {
    line.remove_prefix(skip);
    lowered.remove_prefix(skip);
  }
  if (line.empty()) return;
  if (in_block) return scan_parameters(line, lowered, number, true, out);
  if (trim(lowered).starts_with("hyperparameters")) {
    out.push_back({number, BlockStart{}});
    return;
  }
  const bool has_bpb = lowered.find("bpb") != kNone;
  // Most lines report a training step.
  const std::string_view start = trim(lowered);
  const bool step = start.starts_with("step:") || (!start.empty() && is_digit(start[0]) && start.find('/') < 8);
  if (lowered.find("train_time") != kNone) scan_train(lowered, number, out);
  if (step && !has_bpb) return;

  std::vector<ScoreLine> scores;
  if (has_bpb) {
    ScoreLine pair;
    size_t after = 0;
    const bool paired = scan_loss_and_bpb(line, lowered, pair, after);
    if (paired) {
      refine(lowered, pair);
      scores.push_back(std::move(pair));
    }
    scan_bpb(line, lowered, paired ? after : 0, scores);
  }
  bool ends_stage = lowered.find("done") != kNone;
  for (ScoreLine& score : scores) {
    const std::string tag = lower(score.tag);
    // A value printed with its loss is running only inside a stage's chunks.
    const bool running = is_progress(tag) && (!score.val_loss || tag.find("chunk") != kNone);
    score.diagnostic = is_diagnostic(tag) || running;
    if (&score == &scores.front()) ends_stage = !score.diagnostic && !is_progress(tag);
    if (score.tag.size() > 200) score.tag.resize(200);
  }
  if (std::optional<EvalTime> time = scan_eval_time(lowered)) {
    if (!scores.empty()) time->val_bpb = scores.front().val_bpb;
    // Progress of a stage is not its end: a time counts on a line that ends a stage.
    if (time->covers_all_stages || ends_stage) out.push_back({number, *time});
  }
  for (ScoreLine& score : scores) out.push_back({number, std::move(score)});
  if (step) return;
  if (lowered.find("size") != kNone || lowered.find("bytes") != kNone || lowered.find("artifact") != kNone ||
      lowered.find("total_submission") != kNone) {
    scan_sizes(line, lowered, number, out);
  }
  scan_parameters(line, lowered, number, false, out);
  if (const size_t at = line.find("NVIDIA "); at != kNone && line.find('|') != kNone) {
    size_t end = line.find("  ", at);
    if (end == kNone) end = line.size();
    if (const size_t bar = line.find('|', at); bar != kNone) end = std::min(end, bar);
    std::string_view name = trim(line.substr(at + 7, end - at - 7));
    if (!name.starts_with("-SMI")) out.push_back({number, Parameter{"gpu_name", std::string(name.substr(0, 64))}});
  }
  if (is_marker(lowered)) out.push_back({number, Marker{std::string(line.substr(0, 400))}});
}

}  // namespace fairway::audit
