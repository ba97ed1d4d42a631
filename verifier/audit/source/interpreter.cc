#include "verifier/audit/source/interpreter.h"

#include <algorithm>
#include <cctype>

namespace fairway::audit::source {

bool contains_lower(std::string_view name, std::string_view text) {
  return std::search(name.begin(), name.end(), text.begin(), text.end(),
                     [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; }) != name.end();
}

bool has_word(std::string_view name, std::string_view word) {
  for (size_t at = 0; at < name.size();) {
    size_t end = name.find('_', at);
    if (end == name.npos) end = name.size();
    std::string_view part = name.substr(at, end - at);
    while (!part.empty() && std::isdigit(static_cast<unsigned char>(part.back()))) part.remove_suffix(1);
    if (part.size() == word.size() && contains_lower(part, word)) return true;
    at = end + 1;
  }
  return false;
}

Interpreter::Interpreter(Program& program, const Settings& settings, LoggedText logged, const InterpreterLimits& limits)
    : program_(program), settings_(settings), limits_(limits), logged_(std::move(logged)) {
  unit_frames_.assign(program_.units().size(), -1);
  for (const Unit& unit : program_.units()) timeline_.files.push_back(unit.source->name);
}

Timeline Interpreter::run() {
  for (size_t file = 0; file < program_.units().size(); ++file) {
    const Unit& unit = program_.units()[file];
    if (!unit.entry || unit.tree.empty()) continue;
    entry_ = static_cast<int>(file);
    run_unit(static_cast<int>(file), true);
  }
  for (const Function& function : program_.functions()) {
    timeline_.function_names.push_back(function.name < 0 ? "" : program_.name(function.name));
    const Node& node = program_.units()[static_cast<size_t>(function.file)].tree[function.node];
    timeline_.function_spans.push_back({function.file, node.line, node.end_line});
  }
  return std::move(timeline_);
}

Tri Interpreter::truth_of(const std::string& expression, const Settings& settings) {
  const std::vector<SourceFile> sources = {
      {"train_gpt.py", "train_gpt.py", Language::kPython, false, "answer = " + expression + "\n"}};
  Program program(sources);
  Interpreter interpreter(program, settings, {});
  interpreter.run_unit(0, true);
  const auto& variables = interpreter.frames_[0].variables;
  const auto found = variables.find(program.intern("answer"));
  return found == variables.end() ? Tri::kUnknown : interpreter.truth(found->second);
}

void Interpreter::run_unit(int file, bool as_main) {
  if (unit_frames_[static_cast<size_t>(file)] != -1) return;
  program_.load(file);
  const int outer_file = file_, outer_frame = frame_;
  file_ = file;
  frame_ = static_cast<int>(frames_.size());
  frames_.push_back({});
  frames_.back().file = file;
  unit_frames_[static_cast<size_t>(file)] = frame_;
  set(program_.intern("__name__"),
      of_string(as_main ? "__main__" : program_.units()[static_cast<size_t>(file)].module));
  if (!tree().empty()) block(0);
  file_ = outer_file;
  frame_ = outer_frame;
}

bool Interpreter::budget() {
  if (exhausted_) return false;
  if (++steps_ > limits_.steps) {
    exhausted_ = true;
    timeline_.problems.push_back("more than " + std::to_string(limits_.steps) +
                                 " steps; what comes later was not followed");
  }
  return !exhausted_;
}

Value Interpreter::of_string(std::string_view text) {
  Value v;
  v.kind = Value::Kind::kString;
  v.index = program_.intern(text.substr(0, 4096));
  return v;
}

Span Interpreter::span(int32_t node) const { return {file_, tree()[node].line, tree()[node].end_line}; }

Event& Interpreter::note(EventKind kind, int32_t node, const Value& value) {
  Event event;
  event.kind = kind;
  event.span = span(node);
  event.id = std::min(next_origin_++, Origins::kOverflow);
  event.loop = loop_;
  event.invocation = invocation_;
  event.entry = entry_;
  event.arms = arms_;
  event.doubt = doubt_ > 0;
  event.no_grad = no_grad_ > 0;
  event.value = value;
  timeline_.events.push_back(std::move(event));
  return timeline_.events.back();
}

}  // namespace fairway::audit::source
