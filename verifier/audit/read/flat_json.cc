#include "verifier/audit/read/flat_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "verifier/audit/limits.h"

namespace fairway::audit {
namespace {

/// Reads characters and tells how far the parser has come, which nlohmann's own input does not.
class TrackedIterator {
 public:
  using iterator_category = std::forward_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TrackedIterator() = default;
  TrackedIterator(const char* at, const char** position) : at_(at), position_(position) {}
  reference operator*() const { return *at_; }
  TrackedIterator& operator++() {
    *position_ = ++at_;
    return *this;
  }
  TrackedIterator operator++(int) {
    TrackedIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const TrackedIterator& other) const { return at_ == other.at_; }
  bool operator!=(const TrackedIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_ = nullptr;
  const char** position_ = nullptr;
};

std::string escape_key(const std::string& key) {
  std::string out;
  for (const char c : key) out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return out;
}

class Handler {
 public:
  Handler(FlatJson& out, const char* begin, const char** position)
      : out_(out), counted_to_(begin), position_(position) {}

  bool null() { return scalar(JsonScalar::Type::kNull, "null", 0, 0); }
  bool boolean(bool v) { return scalar(JsonScalar::Type::kBool, v ? "true" : "false", 0, 0); }
  bool number_integer(int64_t v) {
    return scalar(JsonScalar::Type::kInteger, std::to_string(v), static_cast<double>(v), 1);
  }
  bool number_unsigned(uint64_t v) {
    return scalar(JsonScalar::Type::kInteger, std::to_string(v), static_cast<double>(v), 1);
  }
  bool number_float(double v, const std::string& text) { return scalar(JsonScalar::Type::kFloat, text, v, 1); }
  bool string(std::string& v) { return scalar(JsonScalar::Type::kString, v, 0, 0); }
  bool binary(nlohmann::json::binary_t&) { return true; }
  bool start_object(size_t) { return open(false); }
  bool start_array(size_t) { return open(true); }
  bool end_object() { return shut(); }
  bool end_array() { return shut(); }
  bool key(std::string& name) {
    levels_.back().name = escape_key(name);
    levels_.back().line = line_at(*position_);
    return true;
  }
  template <class Exception>
  bool parse_error(size_t, const std::string&, const Exception& e) {
    if (out_.problem.empty()) {
      // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while ...": the last part is
      // for people.
      const std::string what = e.what();
      const size_t cut = what.find(": ");
      complain(cut == std::string::npos ? what : what.substr(cut + 2));
    }
    return false;
  }
  /// The line of `to`, which may only grow.
  int64_t line_at(const char* to) {
    if (to > counted_to_) {
      line_ += std::count(counted_to_, to, '\n');
      counted_to_ = to;
    }
    return line_;
  }
  void complain(std::string problem) {
    out_.problem = std::move(problem);
    out_.problem_line = line_at(*position_ - (*position_ > counted_to_ ? 1 : 0));
  }

 private:
  struct Level {
    bool array;
    std::string name;
    int64_t index = 0, line = 0;
  };

  bool open(bool array) {
    if (levels_.empty()) out_.is_object = !array;
    if (levels_.size() >= limits::kJsonDepth) {
      complain(fmt::format("is nested deeper than {} levels", limits::kJsonDepth));
      return false;
    }
    levels_.push_back({array, "", 0, 0});
    return true;
  }
  bool shut() {
    levels_.pop_back();
    if (!levels_.empty()) ++levels_.back().index;
    return true;
  }
  /// `looked_ahead`: characters the lexer has taken beyond the value.
  bool scalar(JsonScalar::Type type, std::string text, double number, int looked_ahead) {
    if (static_cast<int64_t>(out_.scalars.size()) >= limits::kJsonValues) {
      complain(fmt::format("holds more than {} values", limits::kJsonValues));
      return false;
    }
    JsonScalar s{"", type, std::move(text), number, 0};
    for (const Level& level : levels_) s.pointer += "/" + (level.array ? std::to_string(level.index) : level.name);
    s.line = levels_.empty() || levels_.back().array ? line_at(*position_ - looked_ahead) : levels_.back().line;
    if (!levels_.empty()) ++levels_.back().index;
    out_.scalars.push_back(std::move(s));
    return true;
  }

  FlatJson& out_;
  std::vector<Level> levels_;
  const char* counted_to_;
  const char** position_;
  int64_t line_ = 1;
};

}  // namespace

FlatJson read_flat_json(std::string_view text) {
  FlatJson out;
  const size_t start = text.find_first_of("{[");
  if (start == std::string_view::npos) {
    out.problem = "holds no JSON object";
    out.problem_line = 1;
    return out;
  }
  const char* position = text.data() + start;
  const char* end = text.data() + text.size();
  Handler handler(out, text.data(), &position);
  handler.line_at(position);
  const bool complete = nlohmann::json::sax_parse(TrackedIterator(position, &position), TrackedIterator(end, &position),
                                                  &handler, nlohmann::json::input_format_t::json, /*strict=*/false);
  if (!complete) return out;
  auto not_blank = [](char c) { return c != ' ' && c != '\n' && c != '\t' && c != '\r'; };
  if (std::any_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(start), not_blank)) {
    out.problem = "has text before the object";
    out.problem_line = 1;
  } else if (const char* rest = std::find_if(position, end, not_blank); rest != end) {
    out.problem = "has text after the object";
    out.problem_line = handler.line_at(rest);
  }
  return out;
}

}  // namespace fairway::audit
