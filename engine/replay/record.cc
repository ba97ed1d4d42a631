#include "engine/replay/record.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/base/canonical_json.h"
#include "engine/base/file.h"
#include "kernels/numerics_edition.h"

namespace fairway::replay {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "fairway-replay-1";
constexpr uint64_t kMaxRecordBytes = 64 << 20;

json to_json(const Identity& i) {
  auto digests = [](const std::vector<Digest>& list) {
    json out = json::array();
    for (const Digest& d : list) out.push_back(hex(d));
    return out;
  };
  json commitments = json::array();
  for (const auto& c : i.commitments) commitments.push_back({{"step", c.step}, {"root", hex(c.root)}});
  return {{"format", kFormat},
          {"numerics", kNumericsEdition},
          {"name", i.name},
          {"config_sha256", hex(i.config_sha256)},
          {"data", {{"train_sha256", digests(i.train_sha256)}, {"val_sha256", digests(i.val_sha256)}, {"tokenizer_sha256", hex(i.tokenizer_sha256)}}},
          {"seed", std::to_string(i.seed)},
          {"schedule", {{"steps", i.steps}, {"multipliers_sha256", hex(i.multipliers_sha256)}}},
          {"commitments", commitments},
          {"container_sha256", hex(i.container_sha256)},
          {"eval", {{"method", i.eval_method}, {"seq_len", i.eval_seq_len}, {"stride", i.eval_stride}, {"tokens", i.eval_tokens}, {"bytes", i.eval_bytes}}},
          {"scores_sha256", hex(i.scores_sha256)},
          {"val_loss", hex_float(i.val_loss)},
          {"val_bpb", hex_float(i.val_bpb)}};
}

Digest parse_digest(const json& j) {
  const auto digest = digest_from_hex(j.get_ref<const std::string&>());
  if (!digest) throw std::invalid_argument("a digest has 64 hexadecimal digits");
  return *digest;
}

double parse_hex_float(const json& j) {
  const std::string& text = j.get_ref<const std::string&>();
  double value = 0.0;
  if (!text.starts_with("0x") || text.starts_with("0x-")) throw std::invalid_argument("a number must be a hexadecimal string");
  auto [end, error] = std::from_chars(text.data() + 2, text.data() + text.size(), value, std::chars_format::hex);
  if (error != std::errc() || end != text.data() + text.size()) throw std::invalid_argument("a number must be a hexadecimal string");
  return value;
}

uint64_t parse_unsigned(const json& j) {
  const std::string& text = j.get_ref<const std::string&>();
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) throw std::invalid_argument("a seed must be a decimal string");
  return value;
}

Identity from_json(const json& j) {
  Identity i;
  if (j.at("format") != kFormat) throw std::invalid_argument("unknown format");
  if (j.at("numerics") != kNumericsEdition) throw std::invalid_argument(fmt::format("numerics edition differs from {}", kNumericsEdition));
  i.name = j.at("name").get<std::string>();
  i.config_sha256 = parse_digest(j.at("config_sha256"));
  for (const auto& d : j.at("data").at("train_sha256")) i.train_sha256.push_back(parse_digest(d));
  for (const auto& d : j.at("data").at("val_sha256")) i.val_sha256.push_back(parse_digest(d));
  i.tokenizer_sha256 = parse_digest(j.at("data").at("tokenizer_sha256"));
  i.seed = parse_unsigned(j.at("seed"));
  i.steps = j.at("schedule").at("steps").get<int64_t>();
  i.multipliers_sha256 = parse_digest(j.at("schedule").at("multipliers_sha256"));
  for (const auto& c : j.at("commitments")) i.commitments.push_back({c.at("step").get<int64_t>(), parse_digest(c.at("root"))});
  for (size_t n = 0; n < i.commitments.size(); ++n) {
    if (i.commitments[n].step <= (n == 0 ? 0 : i.commitments[n - 1].step) || i.commitments[n].step > i.steps) {
      throw std::invalid_argument("commitments must be in the order of their steps, from 1 to schedule.steps");
    }
  }
  i.container_sha256 = parse_digest(j.at("container_sha256"));
  i.eval_method = j.at("eval").at("method").get<std::string>();
  i.eval_seq_len = j.at("eval").at("seq_len").get<int64_t>();
  i.eval_stride = j.at("eval").at("stride").get<int64_t>();
  i.eval_tokens = j.at("eval").at("tokens").get<uint64_t>();
  i.eval_bytes = j.at("eval").at("bytes").get<uint64_t>();
  i.scores_sha256 = parse_digest(j.at("scores_sha256"));
  i.val_loss = parse_hex_float(j.at("val_loss"));
  i.val_bpb = parse_hex_float(j.at("val_bpb"));
  return i;
}

void compare(const std::string& at, const json& a, const json& b, std::vector<std::string>& out) {
  if (a == b) return;
  if (a.is_object() && b.is_object()) {
    for (const auto& [key, value] : a.items()) {
      compare(at.empty() ? key : at + "." + key, value, b.contains(key) ? b.at(key) : json(), out);
    }
  } else if (a.is_array() && b.is_array() && a.size() == b.size()) {
    for (size_t i = 0; i < a.size(); ++i) compare(fmt::format("{}[{}]", at, i), a[i], b[i], out);
  } else {
    out.push_back(fmt::format("{}: {} != {}", at, a.dump(), b.dump()));
  }
}

}  // namespace

std::string hex_float(double x) {
  char buffer[64];
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, x, std::chars_format::hex);
  FAIRWAY_CHECK(error == std::errc());
  const bool negative = buffer[0] == '-';
  return (negative ? "-0x" : "0x") + std::string(buffer + (negative ? 1 : 0), end);
}

std::string identity_text(const Identity& identity) {
  // Nothing but text and counts of what was done: it always has a canonical form.
  auto text = canonical_json(to_json(identity), "identity");
  FAIRWAY_CHECK(text);
  return std::move(*text);
}
Digest identity_digest(const Identity& identity) { return sha256(std::string_view(identity_text(identity))); }

std::vector<std::string> differences(const Identity& expected, const Identity& found) {
  std::vector<std::string> out;
  compare("", to_json(expected), to_json(found), out);
  return out;
}

Status write_record(const std::string& directory, const Record& record, const std::vector<double>& multipliers) {
  const auto path = std::filesystem::path(directory);
  FAIRWAY_TRY(write_file_atomic((path / "schedule.f64").string(), std::as_bytes(std::span(multipliers))));
  const json j = {{"identity", to_json(record.identity)},
                  {"identity_sha256", hex(identity_digest(record.identity))},
                  {"informative", record.informative}};
  return write_file_atomic((path / "replay.json").string(), j.dump(1) + "\n");
}

Result<LoadedRecord> read_record(const std::string& directory) {
  const auto path = std::filesystem::path(directory) / "replay.json";
  FAIRWAY_ASSIGN(auto bytes, read_file(path.string(), kMaxRecordBytes));
  LoadedRecord loaded;
  try {
    const char* text = reinterpret_cast<const char*>(bytes.data());
    const json j = json::parse(text, text + bytes.size());
    // First, because what has no canonical form (a float, an integer beyond 2^53) is no identity of ours.
    FAIRWAY_ASSIGN(const std::string identity, canonical_json(j.at("identity"), path.string()));
    loaded.record.identity = from_json(j.at("identity"));
    loaded.record.informative = j.at("informative").get<Informative>();
    // The text is compared too, so that a key this reader does not know cannot hide in a record.
    if (j.at("identity_sha256") != hex(identity_digest(loaded.record.identity)) ||
        identity != identity_text(loaded.record.identity)) {
      return Error{Errc::kData, path.string(), "identity_sha256 does not match the identity; the record was edited"};
    }
  } catch (const std::exception& e) {
    return Error{Errc::kData, path.string(), fmt::format("not a replay record: {}", e.what())};
  }
  const auto schedule = std::filesystem::path(directory) / "schedule.f64";
  FAIRWAY_ASSIGN(auto values, read_file(schedule.string(), kMaxRecordBytes * 16));
  if (sha256(values) != loaded.record.identity.multipliers_sha256 ||
      values.size() != static_cast<size_t>(loaded.record.identity.steps) * sizeof(double)) {
    return Error{Errc::kData, schedule.string(), "does not match schedule.multipliers_sha256 of replay.json"};
  }
  loaded.multipliers.resize(values.size() / sizeof(double));
  std::ranges::copy(values, std::as_writable_bytes(std::span(loaded.multipliers)).begin());
  return loaded;
}

}  // namespace fairway::replay
