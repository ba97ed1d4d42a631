/// What the program would do, in order: the interpreter's result, and all that the rules look at.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "verifier/audit/source/value.h"
#include "verifier/report/report.h"

namespace fairway::audit::source {

struct Span {
  int file = -1;
  uint32_t line = 0, end_line = 0;
};

struct Loop {
  Span span;
  int parent = -1;
  int origin = Origins::kOverflow;  ///< the origin of values made from the loop variable
  bool once = false;                ///< known to run one time
  bool repeats = false;             ///< named like, or counted by, epochs or passes
  bool ranges = false;              ///< for x in range(...)
};

/// One call on the stack: where it is called and what is called.
struct Invocation {
  Span call;
  int function = -1;
  int parent = -1;
};

enum class EventKind : uint8_t {
  kSlice,        ///< validation tokens are cut out; origins of what is computed from them
  kScore,        ///< a loss on validation tokens enters a sum or a list
  kBackward,     ///< gradients of a loss on validation tokens
  kStep,         ///< an optimiser step
  kModel,        ///< a model or adapter comes to be
  kSnapshot,     ///< weights are copied
  kRestore,      ///< weights are loaded; value: what is loaded
  kTableWrite,   ///< counts of validation tokens enter a table
  kTargetKey,    ///< a hash of context and target is made
  kTargetRead,   ///< a table is read at a hash of context and target
  kOracle,       ///< two likelihoods of the true token are compared or the better one is taken
  kPerByteMix,   ///< a token's likelihood, spread over its bytes, is mixed
  kCalibration,  ///< quantisation looks at tokens
  kPrint,        ///< a score is printed
  kTrainingEnd,  ///< a loop that trains on training tokens ends
  kStoredMatch,  ///< what a file holds is compared with the true token
  kSpan,         ///< losses of a tensor that is optimised are cut out, or a mask is set; text: the index
};

struct Event {
  EventKind kind{};
  Span span;
  int id = Origins::kOverflow;            ///< its origin number
  int loop = -1;                          ///< innermost loop, an index into Timeline::loops
  int invocation = -1;                    ///< innermost call
  std::vector<std::pair<int, int>> arms;  ///< branches with an unknown condition around it: (branch, arm)
  int entry = -1;  ///< the script that was started: scripts share no memory
  bool doubt = false;                     ///< a setting of unknown value decides whether it runs
  bool unprinted = false;  ///< in a branch that prints a score which no log has
  bool no_grad = false;
  Value value;
  Origins parameters;  ///< kStep: what the optimiser holds
  uint32_t parameter_taint = 0;
  std::string text;  ///< kPrint: what precedes the score, '\1' for what is not known; otherwise a name
};

struct Timeline {
  std::vector<Event> events;  ///< in order of execution
  std::vector<Loop> loops;
  std::vector<Invocation> invocations;
  std::vector<std::string> files;           ///< as reports print them
  std::vector<std::string> function_names;  ///< by Invocation::function
  std::vector<Span> function_spans;
  std::vector<std::string> problems;  ///< bounds crossed

  bool inside(int loop, int outer) const;
  /// The innermost loop around both, or -1.
  int common_loop(const Event& a, const Event& b) const;
  /// True if no execution reaches both in one iteration.
  static bool exclusive(const Event& a, const Event& b);
  verifier::Evidence evidence(const Span& span) const;
  /// The calls that lead to an event, innermost first, at most `levels`.
  std::vector<verifier::Evidence> call_chain(const Event& event, int levels) const;
};

/// The tag of a printed line: what stands before the score, trimmed; '\1' for what is not known.
std::string tag_of(std::string text);

}  // namespace fairway::audit::source
