#include "ledger/statement.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

namespace fairway::ledger {
namespace {

using nlohmann::json;

constexpr size_t kMaxTextBytes = 4096;  // of one string; what is longer belongs into evidence

/// One object being read: every key must be asked for once, and none may be left.
class ObjectReader {
 public:
  ObjectReader(const json& value, std::string at, const std::string& where)
      : value_(value), at_(std::move(at)), where_(where) {}

  Result<const json*> member(const char* key) {
    if (!value_.is_object()) return bad("", "must be an object");
    const auto found = value_.find(key);
    if (found == value_.end()) return bad(key, "is missing");
    ++taken_;
    return &*found;
  }

  bool has(const char* key) const { return value_.is_object() && value_.contains(key); }

  Result<std::string> text(const char* key) {
    FAIRWAY_ASSIGN(const json* found, member(key));
    if (!found->is_string()) return bad(key, "must be a string");
    auto text = found->get<std::string>();
    if (text.empty() || text.size() > kMaxTextBytes)
      return bad(key, fmt::format("must have 1 to {} bytes", kMaxTextBytes));
    return text;
  }

  Result<std::string> one_of(const char* key, std::initializer_list<std::string_view> allowed) {
    FAIRWAY_ASSIGN(auto value, text(key));
    if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return value;
    return bad(key, fmt::format("must be one of {}", fmt::join(allowed, ", ")));
  }

  Result<Digest> digest(const char* key) {
    FAIRWAY_ASSIGN(const auto value, text(key));
    const auto digest = digest_from_hex(value);
    if (!digest) return bad(key, "must be a SHA-256 in 64 lower-case hexadecimal digits");
    return *digest;
  }

  /// An array of at least one SHA-256.
  Result<std::vector<Digest>> digests(const char* key) {
    FAIRWAY_ASSIGN(const json* found, member(key));
    std::vector<Digest> out;
    for (size_t i = 0; found->is_array() && i < found->size(); ++i) {
      const auto digest =
          (*found)[i].is_string() ? digest_from_hex((*found)[i].get_ref<const std::string&>()) : std::nullopt;
      if (!digest) return bad(key, fmt::format("[{}] must be a SHA-256 in 64 lower-case hexadecimal digits", i));
      out.push_back(*digest);
    }
    if (out.empty()) return bad(key, "must be an array of at least 1");
    return out;
  }

  Result<uint64_t> decimal(const char* key) {
    FAIRWAY_ASSIGN(const auto value, text(key));
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || fmt::format("{}", number) != value) return bad(key, "must be a decimal string");
    return number;
  }

  /// A finite binary64 in the one form std::to_chars gives it: "0x1.8p+0".
  Result<std::string> hexadecimal(const char* key) {
    FAIRWAY_ASSIGN(auto value, text(key));
    const size_t sign = value.starts_with('-') ? 1 : 0;
    const std::string_view digits = std::string_view(value).substr(std::min(value.size(), sign + 2));
    double number = 0.0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), number, std::chars_format::hex);
    char buffer[64];
    const auto written = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::hex);
    if (error != std::errc() || !std::isfinite(number) || value.substr(sign, 2) != "0x" ||
        digits != std::string_view(buffer, static_cast<size_t>(written.ptr - buffer))) {
      return bad(key, "must be a number in hexadecimal, such as 0x1.8p+0");
    }
    return value;
  }

  /// Reads every element of an array of objects with `read`.
  template <class T>
  Result<std::vector<T>> list(const char* key, size_t least, const std::function<Result<T>(ObjectReader&)>& read) {
    FAIRWAY_ASSIGN(const json* found, member(key));
    if (!found->is_array() || found->size() < least)
      return bad(key, fmt::format("must be an array of at least {}", least));
    std::vector<T> out;
    for (size_t i = 0; i < found->size(); ++i) {
      ObjectReader element((*found)[i], fmt::format("{}[{}]", path(key), i), where_);
      FAIRWAY_ASSIGN(T value, read(element));
      FAIRWAY_TRY(element.finish());
      out.push_back(std::move(value));
    }
    return out;
  }

  Result<ObjectReader> object(const char* key) {
    FAIRWAY_ASSIGN(const json* found, member(key));
    return ObjectReader(*found, path(key), where_);
  }

  Status finish() const {
    if (value_.size() == taken_) return {};
    return bad("", fmt::format("holds {} keys that are not known here", value_.size() - taken_));
  }

  Error bad(std::string_view key, std::string what) const {
    const std::string place = path(key);
    return Error{Errc::kData, place.empty() ? where_ : where_ + ": " + place, std::move(what)};
  }

 private:
  std::string path(std::string_view key) const {
    if (at_.empty() || key.empty()) return at_ + std::string(key);
    return fmt::format("{}.{}", at_, key);
  }

  const json& value_;
  std::string at_;
  const std::string& where_;
  size_t taken_ = 0;
};

Result<Statement::Subject> read_subject(ObjectReader& o) {
  Statement::Subject subject;
  FAIRWAY_ASSIGN(subject.name, o.text("name"));
  FAIRWAY_ASSIGN(auto digest, o.object("digest"));
  FAIRWAY_ASSIGN(subject.sha256, digest.digest("sha256"));
  FAIRWAY_TRY(digest.finish());
  return subject;
}

Result<Statement::CheckOutcome> read_check(ObjectReader& o) {
  Statement::CheckOutcome check;
  FAIRWAY_ASSIGN(check.id, o.text("id"));
  FAIRWAY_ASSIGN(check.status, o.one_of("status", {"pass", "fail", "review", "skip"}));
  FAIRWAY_ASSIGN(check.message, o.text("message"));
  return check;
}

Result<Statement::ScoredText> read_scored(ObjectReader& o) {
  Statement::ScoredText scored;
  FAIRWAY_ASSIGN(scored.val_sha256, o.digests("val_sha256"));
  FAIRWAY_ASSIGN(scored.tokenizer_sha256, o.digest("tokenizer_sha256"));
  FAIRWAY_ASSIGN(scored.tokens, o.decimal("tokens"));
  FAIRWAY_ASSIGN(scored.bytes, o.decimal("bytes"));
  FAIRWAY_TRY(o.finish());
  return scored;
}

Result<Statement::Run> read_run(ObjectReader& o) {
  Statement::Run run;
  FAIRWAY_ASSIGN(run.seed, o.decimal("seed"));
  FAIRWAY_ASSIGN(run.config_sha256, o.digest("config_sha256"));
  FAIRWAY_ASSIGN(run.identity_sha256, o.digest("identity_sha256"));
  FAIRWAY_ASSIGN(run.scores_sha256, o.digest("scores_sha256"));
  if (o.has("state_root")) {
    FAIRWAY_ASSIGN(run.state_root, o.digest("state_root"));
  }
  FAIRWAY_ASSIGN(run.val_loss, o.hexadecimal("val_loss"));
  FAIRWAY_ASSIGN(run.val_bpb, o.hexadecimal("val_bpb"));
  FAIRWAY_ASSIGN(auto scored, o.object("scored"));
  FAIRWAY_ASSIGN(run.scored, read_scored(scored));
  FAIRWAY_ASSIGN(auto codec, o.object("codec"));
  FAIRWAY_ASSIGN(run.codec.name, codec.text("name"));
  FAIRWAY_ASSIGN(run.codec.version, codec.text("version"));
  FAIRWAY_ASSIGN(run.codec.known_answer_sha256, codec.digest("known_answer_sha256"));
  FAIRWAY_TRY(codec.finish());
  return run;
}

Result<Statement::Evidence> read_evidence(ObjectReader& o) {
  Statement::Evidence evidence;
  FAIRWAY_ASSIGN(evidence.name, o.text("name"));
  FAIRWAY_ASSIGN(evidence.sha256, o.digest("sha256"));
  return evidence;
}

}  // namespace

json to_json(const Statement& s) {
  json subjects = json::array(), checks = json::array(), runs = json::array(), evidence = json::array();
  for (const auto& x : s.subjects) subjects.push_back({{"name", x.name}, {"digest", {{"sha256", hex(x.sha256)}}}});
  for (const auto& c : s.checks) checks.push_back({{"id", c.id}, {"status", c.status}, {"message", c.message}});
  for (const auto& r : s.runs) {
    json val_sha256 = json::array();
    for (const Digest& d : r.scored.val_sha256) val_sha256.push_back(hex(d));
    json run = {{"seed", fmt::format("{}", r.seed)},
                {"config_sha256", hex(r.config_sha256)},
                {"identity_sha256", hex(r.identity_sha256)},
                {"scores_sha256", hex(r.scores_sha256)},
                {"val_loss", r.val_loss},
                {"val_bpb", r.val_bpb},
                {"scored",
                 {{"val_sha256", val_sha256},
                  {"tokenizer_sha256", hex(r.scored.tokenizer_sha256)},
                  {"tokens", fmt::format("{}", r.scored.tokens)},
                  {"bytes", fmt::format("{}", r.scored.bytes)}}},
                {"codec",
                 {{"name", r.codec.name},
                  {"version", r.codec.version},
                  {"known_answer_sha256", hex(r.codec.known_answer_sha256)}}}};
    if (r.state_root) run["state_root"] = hex(*r.state_root);
    runs.push_back(std::move(run));
  }
  for (const auto& e : s.evidence) evidence.push_back({{"name", e.name}, {"sha256", hex(e.sha256)}});
  return {{"_type", kStatementType},
          {"subject", subjects},
          {"predicateType", kPredicateType},
          {"predicate",
           {{"tool", {{"name", s.tool}, {"version", s.tool_version}}},
            {"submission", s.submission},
            {"level", s.level},
            {"verdict", s.verdict},
            {"checks", checks},
            {"runs", runs},
            {"evidence", evidence}}}};
}

Result<Statement> statement_from_json(const json& value, const std::string& where) {
  Statement s;
  ObjectReader top(value, "", where);
  FAIRWAY_ASSIGN(const auto type, top.text("_type"));
  if (type != kStatementType) return top.bad("_type", fmt::format("must be {}", kStatementType));
  FAIRWAY_ASSIGN(s.subjects, top.list<Statement::Subject>("subject", 1, read_subject));
  FAIRWAY_ASSIGN(const auto predicate_type, top.text("predicateType"));
  if (predicate_type != kPredicateType) return top.bad("predicateType", fmt::format("must be {}", kPredicateType));
  FAIRWAY_ASSIGN(auto predicate, top.object("predicate"));
  FAIRWAY_TRY(top.finish());
  FAIRWAY_ASSIGN(auto tool, predicate.object("tool"));
  FAIRWAY_ASSIGN(s.tool, tool.text("name"));
  FAIRWAY_ASSIGN(s.tool_version, tool.text("version"));
  FAIRWAY_TRY(tool.finish());
  FAIRWAY_ASSIGN(s.submission, predicate.text("submission"));
  FAIRWAY_ASSIGN(s.level, predicate.one_of("level", {"audit", "eval", "spot", "full"}));
  FAIRWAY_ASSIGN(s.verdict, predicate.one_of("verdict", {"pass", "fail", "review"}));
  FAIRWAY_ASSIGN(s.checks, predicate.list<Statement::CheckOutcome>("checks", 1, read_check));
  FAIRWAY_ASSIGN(s.runs, predicate.list<Statement::Run>("runs", 0, read_run));
  FAIRWAY_ASSIGN(s.evidence, predicate.list<Statement::Evidence>("evidence", 0, read_evidence));
  FAIRWAY_TRY(predicate.finish());
  return s;
}

}  // namespace fairway::ledger
