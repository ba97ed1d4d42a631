#include "verifier/audit/read/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "verifier/audit/limits.h"
#include "verifier/audit/read/log_lines.h"
#include "verifier/audit/read/text.h"

namespace fairway::audit {
namespace {

using namespace std::string_view_literals;

/// `^\s*={60,}\s*$`
bool is_rule(std::string_view line) {
  const std::string_view s = trim(line);
  return s.size() >= 60 && s.find_first_not_of('=') == std::string_view::npos;
}

/// `^\s*(import |from … import|def |class |@torch|if __name__)`, or a line that unpacks a packed script.
bool is_code(std::string_view line) {
  const std::string_view s = trim(line);
  if (s.empty()) return false;
  switch (s[0]) {
    case 'i':
      return s.starts_with("import ") || s.starts_with("if __name__");
    case 'f':
      return s.starts_with("from ") && s.find(" import") != std::string_view::npos;
    case 'd':
      return s.starts_with("def ");
    case 'c':
      return s.starts_with("class ") || s.find("b85decode") != std::string_view::npos;
    case '@':
      return s.starts_with("@torch");
    default:
      return s.size() > 60 &&
             (s.find("b85decode(") != std::string_view::npos || s.find("b64decode(") != std::string_view::npos);
  }
}

bool unpacks(std::string_view line) {
  return line.find("b85decode") != std::string_view::npos || line.find("b64decode") != std::string_view::npos;
}

struct Line {
  std::string_view text, lowered;
  int64_t number;
};

/// Lines between two rules. If they are source, only what stands after the last line of code is output.
void scan_section(const std::vector<Line>& lines, size_t begin, size_t end, std::vector<LogEvent>& events) {
  int code_lines = 0;
  bool packed = false;
  size_t last_code = begin;
  for (size_t i = begin; i < end; ++i) {
    if (!is_code(lines[i].text)) continue;
    ++code_lines;
    packed = packed || unpacks(lines[i].text);
    last_code = i;
  }
  if (code_lines >= 4 || packed) {
    // The script's last statements: indented, or a call of main.
    begin = last_code + 1;
    while (begin < end) {
      const std::string_view t = lines[begin].text;
      if (!trim(t).empty() && t[0] != ' ' && t[0] != '\t' && !t.starts_with("main(") && t[0] != ')' && t[0] != '#')
        break;
      ++begin;
    }
  }
  bool in_block = false;
  for (size_t i = begin; i < end; ++i) {
    const Line& l = lines[i];
    if (in_block) {
      in_block = l.text.substr(log_prefix_length(l.text)).starts_with("  ");
    }
    const size_t before = events.size();
    scan_log_line(l.text, l.lowered, l.number, in_block, events);
    if (!in_block && events.size() > before && std::holds_alternative<BlockStart>(events[before].fact)) in_block = true;
  }
}

bool is_result(const LogEvent& e) {
  if (const auto* s = std::get_if<ScoreLine>(&e.fact)) return !s->diagnostic;
  return std::holds_alternative<EvalTime>(e.fact) || std::holds_alternative<SizeLine>(e.fact);
}

std::string seed_of(const LogEvent& e) {
  const auto* p = std::get_if<Parameter>(&e.fact);
  if (p == nullptr || p->key != "seed") return "";
  size_t length = 0;
  const auto n = integer_at(p->value, &length);
  return n && length == p->value.size() ? std::to_string(*n) : "";
}

/// Where runs start, as indices of events: 0 and every beginning of another run.
std::vector<size_t> run_starts(const std::vector<LogEvent>& events) {
  std::vector<size_t> starts = {0};
  std::string seed;
  bool scored = false, in_header = false;
  size_t after_result = 0;
  for (size_t i = 0; i < events.size(); ++i) {
    const std::string next = seed_of(events[i]);
    const bool block = std::holds_alternative<BlockStart>(events[i].fact);
    const bool other_seed = !next.empty() && !seed.empty() && (next != seed || (scored && !in_header));
    if (other_seed || (block && scored)) {
      if (after_result > starts.back()) starts.push_back(after_result);
      scored = false;
      seed.clear();
    }
    if (block) in_header = true;
    if (!next.empty()) seed = next;
    if (is_result(events[i])) {
      after_result = i + 1;
      const auto* s = std::get_if<ScoreLine>(&events[i].fact);
      scored = scored || s != nullptr;
      in_header = false;
    }
  }
  return starts;
}

template <class T>
void set_first(std::optional<Fact<T>>& to, T value, const Place& place) {
  if (!to) to = Fact<T>{std::move(value), place};
}

void add_parameter(LoggedRun& run, const Parameter& p, const Place& place) {
  const auto integer = integer_at(p.value);
  const bool digits =
      !p.value.empty() && std::all_of(p.value.begin(), p.value.end(), [](char c) { return is_digit(c) || c == ','; });
  if (integer && digits) {
    if (p.key == "seed") set_first(run.seed, *integer, place);
    if (p.key == "world_size") set_first(run.world_size, *integer, place);
    if (p.key == "train_shards") set_first(run.train_shards, *integer, place);
    if (p.key == "val_tokens" || p.key == "validation_tokens") set_first(run.val_tokens, *integer, place);
  }
  if (p.key == "gpu_name") set_first(run.gpu_name, p.value, place);
  if (run.hyperparameters.size() < 4096) run.hyperparameters.emplace(p.key, Fact<std::string>{p.value, place});
}

/// A stage that a script reports twice (once inside, once around the call) counts once, with the longer time.
void add_eval_time(LoggedRun& run, const EvalTime& t, const Place& place, std::vector<EvalTime>& seen) {
  if (t.covers_all_stages) {
    run.total_eval_time_ms = Fact<double>{t.ms, place};
    return;
  }
  for (size_t i = 0; i < seen.size(); ++i) {
    const bool same_time = std::abs(seen[i].ms - t.ms) <= std::max(2000.0, 0.02 * t.ms);
    const bool same_score = !t.val_bpb || !seen[i].val_bpb || std::abs(*t.val_bpb - *seen[i].val_bpb) < 2e-4;
    if (!same_time || !same_score) continue;
    if (t.ms > run.eval_times_ms[i].value) run.eval_times_ms[i] = {t.ms, place};
    return;
  }
  seen.push_back(t);
  run.eval_times_ms.push_back({t.ms, place});
}

/// Keeps the first three and the last line of those that differ only in numbers: progress is printed thousands of
/// times.
class MarkerFilter {
 public:
  void add(LoggedRun& run, LogMarker marker) {
    Kept& kept = kinds_[tag_key(marker.text.substr(0, marker.text.find_first_of(":=[(") + 1)).substr(0, 60)];
    if (++kept.count <= 4) {
      if (run.markers.size() >= limits::kMarkersPerRun) return;
      kept.last = run.markers.size();
      run.markers.push_back(std::move(marker));
    } else if (kept.last) {
      run.markers[*kept.last] = std::move(marker);
    }
  }

 private:
  struct Kept {
    int count = 0;
    std::optional<size_t> last;
  };
  std::map<std::string, Kept> kinds_;
};

/// Which of the sizes printed are those of the artifact (facts.h). "Total submission size: N" without a codec is the
/// uncompressed model and code in most scripts, the artifact in some: it counts only if it is the sum of a compressed
/// model and a code size, or nothing contradicts.
void choose_sizes(LoggedRun& run) {
  const SizeLine *model = nullptr, *code = nullptr, *total = nullptr, *raw_model = nullptr, *plain_total = nullptr,
                 *plain_code = nullptr;
  for (const SizeLine& s : run.sizes) {
    const bool codec = s.compressed;
    if (s.kind == SizeLine::Kind::kModel) (codec ? model : raw_model) = &s;
    if (s.kind == SizeLine::Kind::kCode) (codec ? code : plain_code) = &s;
    if (s.kind == SizeLine::Kind::kTotal) (codec ? total : plain_total) = &s;
  }
  if (plain_total != nullptr && total == nullptr) {
    const int64_t t = plain_total->bytes;
    const bool raw = raw_model != nullptr && t >= raw_model->bytes && model != nullptr && t > model->bytes + 1'000'000;
    const bool sum = model != nullptr && t >= model->bytes && t <= model->bytes + 1'000'000;
    if (sum || (!raw && t < 40'000'000 && (raw_model == nullptr || t < raw_model->bytes))) total = plain_total;
  }
  auto fact = [](const SizeLine& s) { return Fact<int64_t>{s.bytes, s.place}; };
  if (total != nullptr) run.total_bytes = fact(*total);
  if (model != nullptr) run.model_bytes = fact(*model);
  // Of two code sizes the one that was added.
  const SizeLine* counted = code != nullptr ? code : plain_code;
  if (total != nullptr && model != nullptr && plain_code != nullptr && model->bytes + plain_code->bytes == total->bytes)
    counted = plain_code;
  if (counted != nullptr) run.code_bytes = fact(*counted);
}

LoggedRun make_run(const std::string& file, const LogEvent* begin, const LogEvent* end) {
  LoggedRun run;
  run.file = file;
  if (begin != end) run.first_line = begin->line;
  std::vector<EvalTime> stages;
  MarkerFilter markers;
  for (const LogEvent* e = begin; e != end; ++e) {
    const Place place{file, e->line};
    if (const auto* p = std::get_if<Parameter>(&e->fact)) {
      add_parameter(run, *p, place);
      // "val_loader:shards pattern=... tokens:62021632"
      if (p->key == "val_loader") {
        for (const LogEvent* f = e; f != end && f->line == e->line; ++f) {
          const auto* q = std::get_if<Parameter>(&f->fact);
          if (q == nullptr || q->key != "tokens") continue;
          if (const auto n = integer_at(q->value)) set_first(run.val_tokens, *n, place);
        }
      }
    } else if (const auto* t = std::get_if<TrainLine>(&e->fact)) {
      if (t->time_ms) run.train_time_ms = Fact<double>{*t->time_ms, place};
      if (t->step) run.steps = Fact<int64_t>{*t->step, place};
      if (t->step_avg_ms) run.step_avg_ms = Fact<double>{*t->step_avg_ms, place};
      if (!t->stop_reason.empty()) run.stop_reason = Fact<std::string>{t->stop_reason, place};
    } else if (const auto* v = std::get_if<EvalTime>(&e->fact)) {
      add_eval_time(run, *v, place, stages);
    } else if (const auto* s = std::get_if<ScoreLine>(&e->fact)) {
      run.scores.push_back(*s);
      run.scores.back().place = place;
    } else if (const auto* z = std::get_if<SizeLine>(&e->fact)) {
      run.sizes.push_back(*z);
      run.sizes.back().place = place;
    } else if (const auto* m = std::get_if<Marker>(&e->fact)) {
      markers.add(run, {m->text, place});
    }
  }
  if (!run.step_avg_ms && run.train_time_ms && run.steps && run.steps->value > 0) {
    run.step_avg_ms = Fact<double>{run.train_time_ms->value / static_cast<double>(run.steps->value), run.steps->place};
  }
  choose_sizes(run);
  return run;
}

}  // namespace

bool is_log_name(std::string_view path) {
  const std::string name = lower(path.substr(path.rfind('/') + 1));
  if (!name.ends_with(".log") && !name.ends_with(".txt") && !name.ends_with(".out")) return false;
  for (const auto no : {"requirement"sv, "readme"sv, "pr_body"sv, "train_shards"sv, "license"sv, "notes"sv}) {
    if (name.find(no) != std::string::npos) return false;
  }
  return true;
}

std::vector<LoggedRun> read_log(const std::string& file, std::string_view text, std::vector<std::string>& problems) {
  const std::string lowered = lower(text);
  std::vector<Line> lines;
  Lines reader(text);
  for (std::string_view line; reader.next(line);) {
    lines.push_back({line,
                     std::string_view(lowered).substr(static_cast<size_t>(line.data() - text.data()), line.size()),
                     reader.number()});
  }
  std::vector<LogEvent> events;
  for (size_t begin = 0, i = 0; i <= lines.size(); ++i) {
    if (i < lines.size() && !is_rule(lines[i].text)) continue;
    scan_section(lines, begin, i, events);
    begin = i + 1;
    if (static_cast<int64_t>(events.size()) > limits::kLogFacts) {
      problems.push_back(fmt::format("{}: states more than {} facts; the rest was not read", file, limits::kLogFacts));
      break;
    }
  }
  std::vector<LoggedRun> runs;
  if (events.empty()) return runs;
  std::vector<size_t> starts = run_starts(events);
  starts.push_back(events.size());
  for (size_t i = 0; i + 1 < starts.size(); ++i) {
    LoggedRun run = make_run(file, events.data() + starts[i], events.data() + starts[i + 1]);
    if (run.seed || run.train_time_ms || !run.scores.empty() || run.total_bytes || run.world_size)
      runs.push_back(std::move(run));
  }
  return runs;
}

}  // namespace fairway::audit
