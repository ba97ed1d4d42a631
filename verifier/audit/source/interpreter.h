/// Walks the program as it would run under the logged settings, without running it, and writes down what matters: a
/// Timeline.
///
/// Abstract interpretation: constants are folded, branches with a known condition are taken or skipped, both arms of an
/// unknown one are walked, a loop body once; calls are followed into the sources of the folder. Bodies of model classes
/// are not: a model is whatever computes losses from tokens. Bounds: steps, call depth and recursion; crossing one is
/// said in Timeline::problems.
#pragma once

#include <algorithm>
#include <deque>
#include <initializer_list>
#include <unordered_map>
#include <vector>

#include "verifier/audit/source/program.h"
#include "verifier/audit/source/settings.h"
#include "verifier/audit/source/timeline.h"

namespace fairway::audit::source {

struct InterpreterLimits {
  int64_t steps = 400'000;  ///< nodes visited
  int depth = 600;          ///< nested walks of statements, expressions and calls
  int calls = 24;
};

/// What the runs printed: code that prints such a line has run, whatever its default says; a branch that is on by no
/// logged setting and prints a score that is not among `tags` has not.
struct LoggedText {
  std::vector<std::string> lines;  ///< markers and score lines, without leading blanks, sorted
  std::vector<std::string> tags;   ///< of score lines; empty if no run has a final score
  bool complete = true;            ///< no run has more markers than readers keep
};

class Interpreter {
 public:
  Interpreter(Program& program, const Settings& settings, LoggedText logged, const InterpreterLimits& limits = {});
  Timeline run();

  /// The truth of an expression in `text` when nothing but the settings is known; for tests.
  static Tri truth_of(const std::string& expression, const Settings& settings);

 private:
  enum class Flow : uint8_t { kNext, kReturn, kBreak, kContinue, kRaise };

  struct Frame {
    int file = -1;
    int lexical = -1;  ///< the frame around a nested function, or -1
    int function = -1;
    std::unordered_map<int, Value> variables;
    std::vector<int> mutated;  ///< names of tensors and lists changed in place
    std::vector<int> outer;    ///< names declared global or nonlocal
    bool class_body = false;
  };
  struct Object {
    int class_index = -1;
    bool keywords = false;  ///< what **kwargs holds
    bool settings = false;  ///< attributes are settings: the log may say otherwise
    std::unordered_map<int, Value> attributes;
  };

  // Statements (statements.cc, branches.cc, loops.cc, definitions.cc, assignments.cc).
  Flow block(int32_t node);
  Flow statement(int32_t node);
  Flow if_statement(int32_t node);
  Flow arm(int32_t node);
  Flow for_statement(int32_t node);
  Flow while_statement(int32_t node);
  Flow with_statement(int32_t node);
  Flow try_statement(int32_t node);
  void import_statement(int32_t node);
  void define_class(int32_t node);
  void run_unit(int file, bool as_main);
  Value assignment(int32_t node);
  void augmented_assignment(int32_t node);
  void assign(int32_t target, const Value& value, int32_t at);
  void store_into(int32_t target, const Value& value, int32_t at);
  const std::vector<int>& assigned_in(int32_t node);
  void forget_assigned(int32_t node);
  int open_loop(int32_t node);

  // Expressions (expressions.cc, operators.cc, literals.cc).
  Value eval(int32_t node);
  Value eval_identifier(int32_t node);
  Value eval_attribute(int32_t node);
  Value eval_subscript(int32_t node);
  std::string index_text(int32_t node) const;
  Value eval_binary(int32_t node);
  Value eval_comparison(int32_t node);
  Value eval_boolean(int32_t node);
  Value eval_conditional(int32_t node);
  Value eval_string(int32_t node);
  Value eval_sequence(int32_t node);
  Value eval_dict(int32_t node);
  Value eval_comprehension(int32_t node);
  Value eval_children(int32_t node);
  Value arithmetic(const Value& a, const Value& b, std::string_view op, int32_t node);
  Value attribute_of(const Value& object, int name);
  Tri truth(const Value& value) const;

  // Calls (calls.cc, functions.cc).
  struct Argument {
    int name = -1;  ///< of a keyword argument
    int32_t node = kNoNode;
    Value value;
    bool splat = false;
  };
  using Arguments = std::vector<Argument>;
  Value eval_call(int32_t node);
  Value call_function(const Value& callee, const Arguments& arguments, int32_t node);
  Value instantiate(int class_index, const Arguments& arguments, int32_t node);
  Value call_method(const Value& receiver, int name, const Arguments& arguments, int32_t node, int32_t receiver_node);
  /// A call whose function has no body here: what the library functions that matter do. Each gives false for any other.
  struct Call {
    std::string_view name, written;  ///< "add_" and "total.add_"
    const Value& callee;             ///< of a method: what it is called on
    const Arguments& arguments;
    int32_t node, function_node;
    Value all;  ///< what all arguments together carry
    const Value& argument(size_t index) const;
  };
  bool call_setting(const Call& call, Value& result);   // values_of_settings.cc
  bool call_builtin(const Call& call, Value& result);   // builtin_calls.cc
  bool call_tensor(const Call& call, Value& result);    // tensor_calls.cc
  bool call_training(const Call& call, Value& result);  // training_calls.cc
  const Value* keyword(const Call& call, std::string_view key) const;
  bool note_print(std::string_view callee, const Arguments& arguments, int32_t node);
  Value read_setting(std::string_view name, const Value& fallback);
  Value setting_value(const Setting& setting, const Value& fallback);
  int method_of(int class_index, int name) const;
  void forget_changing_attributes(int class_index, int object);
  bool was_logged(int32_t node, int levels, bool scores = true);
  bool is_silent(int32_t body);
  bool in_logs(std::string_view start) const;
  std::string_view literal_start(int32_t string) const;
  void mark_unprinted(size_t first_event);

  // State (variables.cc).
  Value* find(int name);
  Value* lvalue(int32_t node);
  void set(int name, const Value& value);
  void mark_mutated(int32_t node);
  bool in_globals(const Value* place) const;
  bool counts_up(int32_t assignment) const;
  Event& note(EventKind kind, int32_t node, const Value& value);
  Span span(int32_t node) const;
  Value with_hints(int name, Value value) const;
  const Tree& tree() const { return program_.units()[static_cast<size_t>(file_)].tree; }
  std::string_view text(int32_t node) const { return tree().text(node); }
  Value of_string(std::string_view text);
  std::string_view string_of(const Value& value) const { return program_.name(value.index); }
  bool budget();

  Program& program_;
  const Settings& settings_;
  InterpreterLimits limits_;
  Timeline timeline_;
  std::deque<Frame> frames_;  ///< never freed: closures refer to them; references stay valid
  std::deque<Object> objects_;
  std::vector<int> unit_frames_;  ///< the global frame of each file, or -1
  std::vector<Value> returns_;    ///< per active call: what it may return
  std::vector<bool> returned_;
  std::unordered_map<int64_t, std::vector<int>> assigned_;
  LoggedText logged_;
  std::unordered_map<int, std::vector<int>>
      changing_;  ///< per class: attributes that methods other than __init__ assign
  std::unordered_map<int64_t, bool> was_logged_;
  std::vector<std::pair<int, int>> arms_;
  std::vector<int> active_;  ///< functions on the call stack
  Origins control_;          ///< origins of oracle conditions around
  int file_ = -1, frame_ = -1, loop_ = -1, invocation_ = -1;
  int unsure_ = 0, doubt_ = 0, no_grad_ = 0, depth_ = 0;
  int entry_ = -1;
  int next_origin_ = 0, next_branch_ = 0;
  int pending_arm_ = -1;
  int64_t steps_ = 0, defaults_read_ = 0;
  bool exhausted_ = false;
  bool environment_read_ = false;
};

inline bool one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}
/// Lower-case words of an identifier: "fullKey_2" has "full", "key", "2".
bool has_word(std::string_view name, std::string_view word);
/// True if the lower-case name contains the text.
bool contains_lower(std::string_view name, std::string_view text);

}  // namespace fairway::audit::source
