#include "verifier/audit/read/size_lines.h"

#include <algorithm>
#include <cmath>

#include "verifier/audit/read/text.h"

namespace fairway::audit {
namespace {

using namespace std::string_view_literals;

constexpr size_t kNone = std::string_view::npos;

std::optional<SizeLine::Kind> size_kind(std::string_view label) {
  auto has = [&](std::string_view w) { return label.find(w) != kNone; };
  // A limit, a target or a state on the way is not a size of what was submitted.
  for (const auto word : {"limit"sv, "target"sv, "budget"sv, "headroom"sv, "pre_prune"sv, "cap"sv, "margin"sv,
                          "remaining"sv, "max_"sv, "val_"sv, "token"sv}) {
    if (has(word)) return std::nullopt;
  }
  if (has("serialized model") || has("model_bytes") || has("compressed model") || has("quantized model"))
    return SizeLine::Kind::kModel;
  if (has("code size") || has("code_size") || has("code_bytes") || has("bytes_code") || trim(label) == "code")
    return SizeLine::Kind::kCode;
  for (const auto word : {"submission size"sv, "total_submission"sv, "total submission"sv, "artifact"sv,
                          "bytes_total"sv, "total_bytes"sv, "total size"sv}) {
    if (has(word)) return SizeLine::Kind::kTotal;
  }
  return std::nullopt;
}

bool names_codec(std::string_view label) {
  if (label.find("uncompressed") != kNone) return false;
  for (const auto word : {"zlib"sv, "zstd"sv, "lzma"sv, "brotli"sv, "xz"sv, "int8"sv, "int6"sv, "int5"sv, "int4"sv,
                          "int63"sv, "quantized"sv, "compressed"sv, "artifact"sv, "pergroup"sv, "+"sv, "bytes_total"sv,
                          "total_bytes"sv, "ternary"sv, "gptq"sv}) {
    if (label.find(word) != kNone) return true;
  }
  return false;
}

}  // namespace

void scan_sizes(std::string_view line, std::string_view lowered, int64_t number, std::vector<LogEvent>& out) {
  size_t from = 0;
  for (size_t at = 0; at < line.size(); ++at) {
    if (lowered[at] == '(' && lowered.substr(at).starts_with("(payload")) return;
    if (line[at] != ':' && line[at] != '=') continue;
    const size_t v = after_separator(line, at);
    if (v == kNone || v >= line.size() || !is_digit(line[v])) continue;
    size_t length = 0;
    const auto whole = integer_at(line.substr(v), &length);
    const auto real = number_at(line.substr(v));
    if (!whole || !real) continue;
    const std::string_view label = trim(lowered.substr(from, at - from));
    size_t end = v + std::max(length, real->length);
    std::string_view rest = lowered.substr(end);
    while (!rest.empty() && rest[0] == ' ') rest.remove_prefix(1);
    SizeLine s;
    const bool fraction = real->decimals > 0 && length < real->length;
    if (rest.starts_with("mib") || rest.starts_with("mb")) {
      s.mebi = rest.starts_with("mib");
      s.exact = false;
      s.bytes = static_cast<int64_t>(std::llround(std::min(real->value, 1e9) * (s.mebi ? 1048576.0 : 1e6)));
    } else if (!fraction) {
      s.bytes = *whole;
    }
    from = end;
    if (rest.starts_with("bytes")) from = static_cast<size_t>(rest.data() - lowered.data()) + 5;
    const auto kind = size_kind(label);
    if (!kind || s.bytes < (*kind == SizeLine::Kind::kCode ? 500 : 20'000)) continue;
    // "total_bytes=151080891" is the validation text, not an artifact.
    if (*kind == SizeLine::Kind::kTotal && s.bytes > 100'000'000 && label.find("submission") == kNone) continue;
    s.kind = *kind;
    s.label = trim(line.substr(0, at)).substr(0, 200);
    s.compressed = names_codec(label);
    out.push_back({number, std::move(s)});
    at = from - 1;
  }
}

}  // namespace fairway::audit
