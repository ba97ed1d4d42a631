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

Interpreter::Interpreter(Program& program, const Settings& settings, std::vector<std::string> logged_lines,
                         const InterpreterLimits& limits)
    : program_(program), settings_(settings), limits_(limits), logged_lines_(std::move(logged_lines)) {
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

// ---- names ----------------------------------------------------------------------------------------------------------

Value* Interpreter::find(int name) {
  for (int frame = frame_; frame != -1; frame = frames_[static_cast<size_t>(frame)].lexical) {
    Frame& f = frames_[static_cast<size_t>(frame)];
    // A class body is no scope for the functions in it.
    if (f.class_body && frame != frame_) continue;
    if (auto at = f.variables.find(name); at != f.variables.end()) return &at->second;
  }
  const int global = unit_frames_[static_cast<size_t>(file_)];
  if (global != -1) {
    auto& variables = frames_[static_cast<size_t>(global)].variables;
    if (auto at = variables.find(name); at != variables.end()) return &at->second;
  }
  return nullptr;
}

/// Names say what data flow may have lost; they never take a property away.
Value Interpreter::with_hints(int name, Value value) const {
  const std::string& text = program_.name(name);
  if (text == "rank") value.taint |= kRank;
  if (value.constant() || value.kind == Value::Kind::kFunction || value.kind == Value::Kind::kClass) return value;
  if (!value.any(kModelOut | kTrain) && value.kind != Value::Kind::kTuple &&
      (contains_lower(text, "val_tok") || contains_lower(text, "validation_tok") || text == "val_np" ||
       text == "val_data_tokens")) {
    value.taint |= kVal;
  }
  if (value.any(kVal) && !value.any(kModelOut | kModel | kHash) &&
      (has_word(text, "y") || has_word(text, "tgt") || has_word(text, "tgts") || has_word(text, "target") ||
       has_word(text, "targets") || has_word(text, "label") || has_word(text, "labels") || has_word(text, "yb") ||
       has_word(text, "ys"))) {
    value.taint |= kTarget;
  }
  if (value.kind == Value::Kind::kUnknown && (text == "model" || text == "base_model" || text == "eval_model") &&
      !value.any(kVal | kTrain)) {
    value.taint |= kModel;
  }
  return value;
}

void Interpreter::set(int name, const Value& raw) {
  Frame* frame = &frames_[static_cast<size_t>(frame_)];
  if (std::find(frame->outer.begin(), frame->outer.end(), name) != frame->outer.end()) {
    if (Value* outer = find(name)) {
      *outer = unsure_ > 0 ? join(*outer, raw) : raw;
      return;
    }
    frame = &frames_[static_cast<size_t>(unit_frames_[static_cast<size_t>(file_)])];
  }
  Value value = with_hints(name, raw);
  value.origins |= control_;
  auto [at, inserted] = frame->variables.try_emplace(name, value);
  if (!inserted) at->second = unsure_ > 0 ? join(at->second, value) : value;
}

/// Where the value of an expression lives: a variable, an attribute of an object, the container of an element.
Value* Interpreter::lvalue(int32_t node) {
  for (int guard = 0; node != kNoNode && guard < 64; ++guard) {
    const Node& n = tree()[node];
    switch (n.kind) {
      case NodeKind::kIdentifier:
        return find(program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(node)]);
      case NodeKind::kSubscript:
        node = tree().child(node, Field::kValue);
        break;
      case NodeKind::kParenthesised:
        node = n.first_child;
        break;
      case NodeKind::kCall: {  // x.view(-1).add_(y)
        const int32_t function = tree().child(node, Field::kFunction);
        if (function == kNoNode || tree()[function].kind != NodeKind::kAttribute) return nullptr;
        node = tree().child(function, Field::kObject);
        break;
      }
      case NodeKind::kAttribute: {
        const int32_t object_node = tree().child(node, Field::kObject);
        const int32_t attribute = tree().child(node, Field::kAttribute);
        if (object_node == kNoNode || attribute == kNoNode) return nullptr;
        Value* object = lvalue(object_node);
        if (!object) return nullptr;
        if (object->kind != Value::Kind::kObject) {
          node = object_node;  // x.data is x
          break;
        }
        const int name = program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(attribute)];
        return &objects_[static_cast<size_t>(object->index)].attributes[name];
      }
      default:
        return nullptr;
    }
  }
  return nullptr;
}

void Interpreter::mark_mutated(int32_t node) {
  for (int guard = 0; node != kNoNode && guard < 64; ++guard) {
    const Node& n = tree()[node];
    if (n.kind == NodeKind::kIdentifier) {
      const int name = program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(node)];
      auto& mutated = frames_[static_cast<size_t>(frame_)].mutated;
      if (std::find(mutated.begin(), mutated.end(), name) == mutated.end()) mutated.push_back(name);
      return;
    }
    if (n.kind == NodeKind::kSubscript) {
      node = tree().child(node, Field::kValue);
    } else if (n.kind == NodeKind::kAttribute) {
      node = tree().child(node, Field::kObject);
    } else if (n.kind == NodeKind::kCall) {
      node = tree().child(node, Field::kFunction);
    } else {
      return;
    }
  }
}

// ---- statements -----------------------------------------------------------------------------------------------------

Interpreter::Flow Interpreter::block(int32_t node) {
  Flow flow = Flow::kNext;
  int pushed = 0;
  for (int32_t at = tree()[node].first_child; at != kNoNode && budget(); at = tree()[at].next) {
    if (tree()[at].kind == NodeKind::kToken) continue;
    flow = statement(at);
    if (pending_arm_ >= 0) {
      // An arm that always leaves: what follows in this block is its other arm.
      arms_.push_back({pending_arm_, 1});
      pending_arm_ = -1;
      ++pushed;
    }
    if (flow != Flow::kNext) break;
  }
  arms_.resize(arms_.size() - static_cast<size_t>(pushed));
  return flow;
}

Interpreter::Flow Interpreter::statement(int32_t node) {
  if (!budget()) return Flow::kNext;
  if (depth_ >= limits_.depth) return Flow::kNext;
  ++depth_;
  Flow flow = Flow::kNext;
  const Node& n = tree()[node];
  switch (n.kind) {
    case NodeKind::kExpressionStatement:
      for (int32_t at = n.first_child; at != kNoNode; at = tree()[at].next) statement(at);
      break;
    case NodeKind::kBlock:
    case NodeKind::kModule:
    case NodeKind::kError:  // what the parser could read of it
      flow = block(node);
      break;
    case NodeKind::kAssignment:
      assignment(node);
      break;
    case NodeKind::kAugmentedAssignment:
      augmented_assignment(node);
      break;
    case NodeKind::kReturn: {
      const Value value = n.first_child == kNoNode ? Value::none() : eval(n.first_child);
      if (!returns_.empty()) {
        returns_.back() = returned_.back() ? join(returns_.back(), value) : value;
        returned_.back() = true;
      }
      flow = Flow::kReturn;
      break;
    }
    case NodeKind::kIf:
      flow = if_statement(node);
      break;
    case NodeKind::kFor:
      flow = for_statement(node);
      break;
    case NodeKind::kWhile:
      flow = while_statement(node);
      break;
    case NodeKind::kWith:
      flow = with_statement(node);
      break;
    case NodeKind::kTry:
      flow = try_statement(node);
      break;
    case NodeKind::kMatch:
      for (int32_t at : tree().children(node)) {
        ++unsure_;
        if (tree()[at].kind == NodeKind::kBlock) block(at);
        if (tree()[at].kind == NodeKind::kCase) {
          if (int32_t body = tree().child(at, Field::kConsequence); body != kNoNode) block(body);
        }
        --unsure_;
      }
      break;
    case NodeKind::kBreak:
      flow = Flow::kBreak;
      break;
    case NodeKind::kContinue:
      flow = Flow::kContinue;
      break;
    case NodeKind::kRaise:
      flow = Flow::kRaise;
      break;
    case NodeKind::kGlobal:
    case NodeKind::kNonlocal:
      for (int32_t at : tree().children(node)) {
        if (tree()[at].kind == NodeKind::kIdentifier) {
          frames_[static_cast<size_t>(frame_)].outer.push_back(
              program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(at)]);
        }
      }
      break;
    case NodeKind::kImport:
    case NodeKind::kImportFrom:
      import_statement(node);
      break;
    case NodeKind::kDecorated:
      if (int32_t inner = tree().child(node, Field::kDefinition); inner != kNoNode) statement(inner);
      break;
    case NodeKind::kFunction: {
      const int index = program_.function_at(file_, node);
      if (index < 0) break;
      Value value;
      value.kind = Value::Kind::kFunction;
      value.index = index;
      value.closure = frame_;
      if (const int name = program_.functions()[static_cast<size_t>(index)].name; name >= 0) set(name, value);
      break;
    }
    case NodeKind::kClass:
      define_class(node);
      break;
    case NodeKind::kDelete:
    case NodeKind::kToken:
      break;
    default:
      eval(node);
  }
  --depth_;
  return flow;
}

void Interpreter::define_class(int32_t node) {
  const int index = program_.class_at(file_, node);
  if (index < 0) return;
  const Class& cls = program_.classes()[static_cast<size_t>(index)];
  Value value;
  value.kind = Value::Kind::kClass;
  value.index = index;
  // Class attributes are those of a shared object; its settings may be logged under the attribute's name.
  value.receiver = static_cast<int>(objects_.size());
  objects_.push_back({});
  const int object = value.receiver;
  if (!cls.is_module && cls.body != kNoNode) {
    const int outer = frame_;
    const bool outer_read = environment_read_;
    environment_read_ = false;
    frame_ = static_cast<int>(frames_.size());
    frames_.push_back({});
    frames_.back().file = file_;
    frames_.back().lexical = outer;
    frames_.back().class_body = true;
    block(cls.body);
    Object& made = objects_[static_cast<size_t>(object)];
    made.class_index = index;
    for (auto& [name, attribute] : frames_[static_cast<size_t>(frame_)].variables) {
      if (attribute.kind != Value::Kind::kFunction) made.attributes[name] = attribute;
    }
    const std::string& text = cls.name < 0 ? std::string() : program_.name(cls.name);
    made.settings = environment_read_ || contains_lower(text, "hyper") || contains_lower(text, "config") ||
                    contains_lower(text, "args");
    environment_read_ = outer_read;
    frame_ = outer;
  }
  if (cls.name >= 0) set(cls.name, value);
}

void Interpreter::import_statement(int32_t node) {
  const bool from = tree()[node].kind == NodeKind::kImportFrom;
  int unit = -1;
  int32_t module = kNoNode;
  if (from) {
    module = tree().child(node, Field::kModuleName);
    if (module == kNoNode) return;
    std::string_view name = text(module);
    name = name.substr(name.rfind('.') == name.npos ? 0 : name.rfind('.') + 1);
    unit = program_.unit_named(name);
    if (unit < 0) return;
    run_unit(unit, false);
  }
  for (int32_t at : tree().children(node)) {
    if (at == module) continue;
    int32_t named = at;
    std::string_view alias;
    if (tree()[at].kind == NodeKind::kAliasedImport) {
      named = tree().child(at, Field::kName);
      if (const int32_t a = tree().child(at, Field::kAlias); a != kNoNode) alias = text(a);
      if (named == kNoNode) continue;
    }
    if (tree()[named].kind != NodeKind::kDottedName && tree()[at].kind != NodeKind::kAliasedImport) {
      if (from && text(at) == "*" && unit_frames_[static_cast<size_t>(unit)] != -1) {
        const auto all = frames_[static_cast<size_t>(unit_frames_[static_cast<size_t>(unit)])].variables;
        for (const auto& [name, value] : all) set(name, value);
      }
      continue;
    }
    std::string_view name = text(named);
    if (from) {
      const int frame = unit_frames_[static_cast<size_t>(unit)];
      const auto& variables = frames_[static_cast<size_t>(frame)].variables;
      if (auto found = variables.find(program_.intern(name)); found != variables.end()) {
        const Value value = found->second;
        set(program_.intern(alias.empty() ? name : alias), value);
      }
      continue;
    }
    const int imported = program_.unit_named(name.substr(name.rfind('.') == name.npos ? 0 : name.rfind('.') + 1));
    if (imported < 0) continue;
    run_unit(imported, false);
    Value value;
    value.kind = Value::Kind::kModule;
    value.index = imported;
    set(program_.intern(alias.empty() ? name : alias), value);
  }
}

Interpreter::Flow Interpreter::arm(int32_t node) {
  if (node == kNoNode) return Flow::kNext;
  const NodeKind kind = tree()[node].kind;
  if (kind == NodeKind::kElse) {
    const int32_t body = tree().child(node, Field::kBody);
    return body == kNoNode ? Flow::kNext : block(body);
  }
  return kind == NodeKind::kBlock ? block(node) : statement(node);
}

/// True if something below, or in functions called from there, prints a line that the logs have.
bool Interpreter::was_logged(int32_t root, int levels) {
  if (root == kNoNode || logged_lines_.empty() || levels == 0) return false;
  const int64_t key = (static_cast<int64_t>(file_) << 32) | root;
  if (const auto known = was_logged_.find(key); known != was_logged_.end()) return known->second;
  was_logged_[key] = false;  // a recursion finds nothing new
  std::vector<int32_t> open = {root};
  std::vector<int> called;
  bool found = false;
  while (!open.empty() && !found) {
    const int32_t node = open.back();
    open.pop_back();
    if (tree()[node].kind == NodeKind::kString) {
      std::string_view start;  // up to the first value put in
      for (int32_t at : tree().children(node)) {
        if (tree()[at].kind == NodeKind::kStringStart) continue;
        if (tree()[at].kind == NodeKind::kStringContent) start = text(at);
        break;
      }
      while (!start.empty() && start.front() == ' ') start.remove_prefix(1);
      if (start.size() >= 8) {
        for (const std::string& line : logged_lines_) found |= line.compare(0, start.size(), start) == 0;
      }
      continue;
    }
    if (tree()[node].kind == NodeKind::kCall) {
      const int32_t function = tree().child(node, Field::kFunction);
      if (function != kNoNode && tree()[function].kind == NodeKind::kIdentifier) {
        called.push_back(program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(function)]);
      }
    }
    for (int32_t at = tree()[node].first_child; at != kNoNode; at = tree()[at].next) open.push_back(at);
  }
  const int outer = file_;
  for (size_t i = 0; i < called.size() && !found; ++i) {
    for (int index : program_.functions_named(called[i])) {
      const Function& function = program_.functions()[static_cast<size_t>(index)];
      file_ = function.file;
      found |= was_logged(function.body, levels - 1);
      file_ = outer;
    }
  }
  was_logged_[key] = found;
  return found;
}

Interpreter::Flow Interpreter::if_statement(int32_t node) {
  // if, then any number of elif, then else: each condition is only asked if those before may be false.
  struct Case {
    int32_t condition, body;
  };
  std::vector<Case> cases = {{tree().child(node, Field::kCondition), tree().child(node, Field::kConsequence)}};
  for (int32_t at = tree()[node].first_child; at != kNoNode; at = tree()[at].next) {
    if (tree()[at].kind == NodeKind::kElif)
      cases.push_back({tree().child(at, Field::kCondition), tree().child(at, Field::kConsequence)});
    if (tree()[at].kind == NodeKind::kElse) cases.push_back({kNoNode, at});
  }
  const int branch = next_branch_++;
  const int unsure = unsure_, doubt = doubt_;
  const Origins control = control_;
  int open_arms = 0;     // arms that may run
  bool decided = false;  // one arm surely runs
  bool all_leave = true;
  bool first_leaves = false;
  Flow last = Flow::kNext;
  for (size_t i = 0; i < cases.size() && !decided; ++i) {
    Tri t = Tri::kTrue;
    bool off_by_default = false, open_switch = false;
    if (cases[i].condition != kNoNode) {
      const Value condition = eval(cases[i].condition);
      t = truth(condition);
      off_by_default = condition.any(kDefault);
      open_switch = condition.any(kOpen);
      if (t == Tri::kUnknown) {
        if (condition.any(kSetting)) ++doubt_;
        if (condition.any(kOracle)) control_ |= condition.origins;
      }
    }
    if (t == Tri::kFalse && off_by_default && was_logged(cases[i].body, 4)) t = Tri::kTrue;
    // Nothing shows how it ran: the default is taken, and the other way walked too, as an open question.
    const bool open_question = cases[i].condition != kNoNode && open_switch && t != Tri::kUnknown;
    if (open_question && t == Tri::kFalse) {
      ++doubt_;
      ++unsure_;
      arms_.push_back({branch, static_cast<int>(i)});
      arm(cases[i].body);
      arms_.pop_back();
      --unsure_;
      --doubt_;
      ++open_arms;
      all_leave = false;
      continue;
    }
    if (t == Tri::kFalse) continue;
    decided = t == Tri::kTrue;
    if (!decided || open_arms > 0) unsure_ = unsure + 1;
    const bool alone = decided && open_arms == 0;
    if (!alone) arms_.push_back({branch, static_cast<int>(i)});
    last = arm(cases[i].body);
    if (!alone) arms_.pop_back();
    if (alone) {
      unsure_ = unsure;
      doubt_ = doubt;
      control_ = control;
      return last;
    }
    ++open_arms;
    all_leave &= last != Flow::kNext;
    if (i == 0) first_leaves = last != Flow::kNext;
  }
  unsure_ = unsure;
  doubt_ = doubt;
  control_ = control;
  if (open_arms == 0) return Flow::kNext;
  if (decided && all_leave) return last;
  if (first_leaves && open_arms == 1) pending_arm_ = branch;
  return Flow::kNext;
}

const std::vector<int>& Interpreter::assigned_in(int32_t node) {
  const int64_t key = (static_cast<int64_t>(file_) << 32) | node;
  auto [at, inserted] = assigned_.try_emplace(key);
  if (!inserted) return at->second;
  std::vector<int> names;
  std::vector<int32_t> open = {node};
  const auto& unit = program_.units()[static_cast<size_t>(file_)];
  auto add_targets = [&](int32_t target) {
    std::vector<int32_t> targets = {target};
    while (!targets.empty()) {
      const int32_t t = targets.back();
      targets.pop_back();
      if (unit.tree[t].kind == NodeKind::kIdentifier) names.push_back(unit.names[static_cast<size_t>(t)]);
      if (unit.tree[t].kind == NodeKind::kTuple) {
        for (int32_t child : unit.tree.children(t)) targets.push_back(child);
      }
    }
  };
  while (!open.empty()) {
    const int32_t n = open.back();
    open.pop_back();
    const NodeKind kind = unit.tree[n].kind;
    if ((kind == NodeKind::kFunction || kind == NodeKind::kClass || kind == NodeKind::kLambda) && n != node) continue;
    if (kind == NodeKind::kAssignment || kind == NodeKind::kAugmentedAssignment || kind == NodeKind::kFor) {
      if (int32_t left = unit.tree.child(n, Field::kLeft); left != kNoNode) add_targets(left);
    }
    for (int32_t c = unit.tree[n].first_child; c != kNoNode; c = unit.tree[c].next) open.push_back(c);
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  at->second = std::move(names);
  return at->second;
}

/// A loop body is walked once, so what it assigns is not the constant it was before the first iteration.
void Interpreter::forget_assigned(int32_t node) {
  auto& variables = frames_[static_cast<size_t>(frame_)].variables;
  for (int name : assigned_in(node)) {
    if (auto at = variables.find(name); at != variables.end()) at->second.forget();
  }
}

int Interpreter::open_loop(int32_t node) {
  Loop loop;
  loop.span = span(node);
  loop.parent = loop_;
  loop.origin = std::min(next_origin_++, Origins::kOverflow);
  timeline_.loops.push_back(loop);
  loop_ = static_cast<int>(timeline_.loops.size()) - 1;
  return loop_;
}

Interpreter::Flow Interpreter::for_statement(int32_t node) {
  const int32_t target = tree().child(node, Field::kLeft);
  const int32_t iterable = tree().child(node, Field::kRight);
  const int32_t body = tree().child(node, Field::kBody);
  if (target == kNoNode || iterable == kNoNode || body == kNoNode) return Flow::kNext;
  const Value items = eval(iterable);
  const std::string_view written = text(iterable).substr(0, 200);
  const bool range = written.rfind("range(", 0) == 0 || written.rfind("trange(", 0) == 0;
  const bool none = items.kind == Value::Kind::kTuple && items.items->empty() && range;  // range(0)
  if (none && !items.any(kOpen)) return Flow::kNext;
  if (none) ++doubt_;

  const int outer = loop_;
  Loop& loop = timeline_.loops[static_cast<size_t>(open_loop(node))];
  const std::string_view variable = text(target).substr(0, 60);
  loop.ranges = range;
  for (const char* word : {"epoch", "epochs", "ep", "pass", "passes", "round", "iter", "repeat"}) {
    loop.repeats |=
        has_word(variable, word) ||
        has_word(
            variable.substr(variable.find_first_not_of('_') == variable.npos ? 0 : variable.find_first_not_of('_')),
            word);
  }
  for (const char* word : {"epochs", "passes", "rounds", "repeats", "n_epoch", "num_epoch", "epoch"})
    loop.repeats |= range && contains_lower(written, word);
  const int origin = loop.origin;
  Value element;
  element.absorb(items);
  if (items.kind == Value::Kind::kTuple && !items.items->empty()) {
    element = (*items.items)[0];
    for (size_t i = 1; i < items.items->size(); ++i) element = join(element, (*items.items)[i]);
    loop.once = items.items->size() == 1;
    if (!loop.once) element.forget();
  }
  element.origins.add(origin);
  if (element.kind == Value::Kind::kTuple) {
    auto copy = std::make_shared<std::vector<Value>>(*element.items);
    for (Value& item : *copy) item.origins.add(origin);
    element.items = std::move(copy);
  }
  const bool once = loop.once;
  if (!once) forget_assigned(body);
  assign(target, element, target);
  const Flow flow = block(body);
  if (none) --doubt_;
  pending_arm_ = -1;
  loop_ = outer;
  if (!once) forget_assigned(body);
  return flow == Flow::kReturn && once ? flow : Flow::kNext;
}

Interpreter::Flow Interpreter::while_statement(int32_t node) {
  const int32_t condition = tree().child(node, Field::kCondition);
  const int32_t body = tree().child(node, Field::kBody);
  if (condition == kNoNode || body == kNoNode) return Flow::kNext;
  forget_assigned(body);
  const Value value = eval(condition);
  if (truth(value) == Tri::kFalse) return Flow::kNext;
  const int outer = loop_;
  open_loop(node);
  if (value.any(kSetting)) ++doubt_;
  block(body);
  if (value.any(kSetting)) --doubt_;
  pending_arm_ = -1;
  loop_ = outer;
  forget_assigned(body);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::with_statement(int32_t node) {
  const int outer_no_grad = no_grad_;
  std::vector<int32_t> open = {node};
  const int32_t body = tree().child(node, Field::kBody);
  while (!open.empty()) {
    const int32_t at = open.back();
    open.pop_back();
    if (at == body) continue;
    if (tree()[at].kind == NodeKind::kWithItem) {
      int32_t value = tree().child(at, Field::kValue);
      if (value == kNoNode) continue;
      const std::string_view written = text(value).substr(0, 200);
      if (written.find("no_grad") != written.npos || written.find("inference_mode") != written.npos ||
          written.find("set_grad_enabled(False") != written.npos) {
        ++no_grad_;
      }
      if (written.find("enable_grad") != written.npos) no_grad_ = 0;
      int32_t as = kNoNode;  // as_pattern: value, then the target
      if (tree().type(value) == "as_pattern") {
        const std::vector<int32_t> parts = tree().children(value);
        if (!parts.empty()) value = parts[0];
        if (parts.size() > 1) as = tree()[parts[1]].first_child != kNoNode ? tree()[parts[1]].first_child : parts[1];
      }
      const Value entered = eval(value);
      if (as != kNoNode) assign(as, entered, as);
      continue;
    }
    std::vector<int32_t> children = tree().children(at);
    for (auto c = children.rbegin(); c != children.rend(); ++c) open.push_back(*c);
  }
  const Flow flow = body == kNoNode ? Flow::kNext : block(body);
  no_grad_ = outer_no_grad;
  return flow;
}

Interpreter::Flow Interpreter::try_statement(int32_t node) {
  Flow flow = Flow::kNext;
  for (int32_t at : tree().children(node)) {
    const NodeKind kind = tree()[at].kind;
    if (kind == NodeKind::kBlock) {
      flow = block(at);
    } else if (kind == NodeKind::kExcept) {
      ++unsure_;
      for (int32_t inner : tree().children(at)) {
        if (tree()[inner].kind == NodeKind::kBlock) block(inner);
      }
      --unsure_;
    } else if (kind == NodeKind::kFinally || kind == NodeKind::kElse) {
      for (int32_t inner : tree().children(at)) {
        if (tree()[inner].kind == NodeKind::kBlock) block(inner);
      }
    }
  }
  pending_arm_ = -1;
  return flow == Flow::kRaise ? Flow::kNext : flow;
}

// ---- assignments ----------------------------------------------------------------------------------------------------

Value Interpreter::assignment(int32_t node) {
  const int32_t left = tree().child(node, Field::kLeft);
  const int32_t right = tree().child(node, Field::kRight);
  if (left == kNoNode || right == kNoNode) return {};
  const Value value = tree()[right].kind == NodeKind::kAssignment ? assignment(right) : eval(right);
  assign(left, value, node);
  return value;
}

void Interpreter::assign(int32_t target, const Value& value, int32_t at) {
  const Node& n = tree()[target];
  switch (n.kind) {
    case NodeKind::kIdentifier: {
      const int name = program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(target)];
      // total = total + loss is total += loss.
      if (value.is(kVal | kModelOut) && at != target && tree()[at].kind == NodeKind::kAssignment) {
        const int32_t right = tree().child(at, Field::kRight);
        if (right != kNoNode && tree()[right].kind == NodeKind::kBinary) {
          const int32_t first = tree().child(right, Field::kLeft);
          if (first != kNoNode && tree()[first].kind == NodeKind::kIdentifier && text(first) == text(target)) {
            Value sum = value;
            sum.taint &= ~static_cast<uint32_t>(kTokenLik);
            Event& event = note(EventKind::kScore, at, sum);
            sum.origins.add(event.id);
            set(name, sum);
            return;
          }
        }
      }
      set(name, value);
      return;
    }
    case NodeKind::kTuple:
    case NodeKind::kList: {
      const std::vector<int32_t> targets = tree().children(target);
      const bool fits = value.kind == Value::Kind::kTuple && value.items->size() == targets.size();
      for (size_t i = 0; i < targets.size(); ++i) {
        Value part;
        if (fits) {
          part = (*value.items)[i];
        } else {
          part.absorb(value);
          // x, y = loader.next_batch(): what is no tensor of tokens carries no less.
        }
        assign(targets[i], part, targets[i]);
      }
      return;
    }
    case NodeKind::kAttribute: {
      const int32_t attribute = tree().child(target, Field::kAttribute);
      Value* place = lvalue(target);
      if (!place) return;
      const std::string_view name = attribute == kNoNode ? "" : text(attribute);
      if (name == "requires_grad") {
        if (!place->any(kModelParams | kModel) && value.numeric() && value.number != 0) place->taint |= kFresh;
        return;
      }
      const int32_t object_node = tree().child(target, Field::kObject);
      Value* object = object_node == kNoNode ? nullptr : lvalue(object_node);
      if (object && object->kind == Value::Kind::kObject && object != place) {
        const Value hinted =
            attribute == kNoNode
                ? value
                : with_hints(program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(attribute)], value);
        const bool known = place->kind != Value::Kind::kUnknown || place->taint || !place->origins.empty();
        *place = unsure_ > 0 && known ? join(*place, hinted) : hinted;
      } else {
        place->absorb(value);
      }
      return;
    }
    case NodeKind::kSubscript:
      store_into(target, value, at);
      return;
    default:
      for (int32_t child : tree().children(target)) {
        if (tree()[child].kind == NodeKind::kIdentifier) assign(child, value, child);
      }
  }
}

bool Interpreter::in_globals(const Value* place) const {
  const int global = unit_frames_[static_cast<size_t>(file_)];
  if (global == -1 || global == frame_) return false;
  for (const auto& [name, value] : frames_[static_cast<size_t>(global)].variables) {
    if (&value == place) return true;
  }
  return false;
}

/// counts[key] = counts.get(key, 0) + 1: a sum is stored.
bool Interpreter::counts_up(int32_t assignment) const {
  const int32_t right =
      tree()[assignment].kind == NodeKind::kAssignment ? tree().child(assignment, Field::kRight) : kNoNode;
  if (right == kNoNode || tree()[right].kind != NodeKind::kBinary) return false;
  const int32_t op = tree().child(right, Field::kOperator);
  return op != kNoNode && text(op) == "+";
}

/// x[i] = value: the container takes the value's properties; a loss stored is a score, a count stored is a table write.
void Interpreter::store_into(int32_t target, const Value& raw, int32_t at) {
  Value value = raw;
  value.origins |= control_;
  Value index;
  for (int32_t child : tree().children(target)) {
    if (tree()[child].field == Field::kSubscript) index.absorb(eval(child));
  }
  Value* place = lvalue(target);
  if (value.is(kVal | kModelOut)) {
    Event& event = note(EventKind::kScore, at, value);
    value.origins.add(event.id);
  } else if (index.any(kHash | kTargetKey) && index.any(kVal | kTrain) && !value.any(kModelOut) && counts_up(at)) {
    Event& event = note(EventKind::kTableWrite, at, index);
    value.origins.add(event.id);
    value.origins |= index.origins;
    value.taint |= index.taint & (kVal | kTrain);
  }
  place = lvalue(target);
  if (!place) return;
  Value part;
  part.absorb(value);
  // A cache of the module holds whatever was loaded: what comes out of it is not both.
  if (in_globals(place)) part.taint &= ~static_cast<uint32_t>(kVal | kTrain);
  place->absorb(part);
  if (place->kind == Value::Kind::kTuple) place->kind = Value::Kind::kUnknown;
  mark_mutated(target);
}

void Interpreter::augmented_assignment(int32_t node) {
  const int32_t left = tree().child(node, Field::kLeft);
  const int32_t right = tree().child(node, Field::kRight);
  const int32_t op_node = tree().child(node, Field::kOperator);
  if (left == kNoNode || right == kNoNode) return;
  std::string_view op = op_node == kNoNode ? std::string_view("+=") : text(op_node);
  const Value added = eval(right);
  if (tree()[left].kind == NodeKind::kSubscript) {
    Value sum = added;
    Value index;
    for (int32_t child : tree().children(left)) {
      if (tree()[child].field == Field::kSubscript) index.absorb(eval(child));
    }
    Value* place = lvalue(left);
    if (!place) return;
    if (added.is(kVal | kModelOut)) {
      Event& event = note(EventKind::kScore, node, added);
      sum.origins.add(event.id);
    } else if (index.any(kVal | kTrain) && !added.any(kModelOut)) {
      Event& event = note(EventKind::kTableWrite, node, index);
      sum.origins.add(event.id);
      sum.taint |= index.taint & (kVal | kTrain);
    }
    Value part;
    part.absorb(sum);
    place = lvalue(left);
    if (place) place->absorb(part);
    mark_mutated(left);
    return;
  }
  Value* place = lvalue(left);
  Value before = place ? *place : Value{};
  Value after = arithmetic(before, added, op.substr(0, op.size() - 1), node);
  if ((op == "+=" || op == "-=") && added.is(kVal | kModelOut)) {
    after.taint &= ~static_cast<uint32_t>(kTokenLik);
    Event& event = note(EventKind::kScore, node, added);
    after.origins.add(event.id);
  }
  after.origins |= control_;
  if (place) {
    mark_mutated(left);
    *place = unsure_ > 0 ? join(before, after) : after;
  } else if (tree()[left].kind == NodeKind::kIdentifier) {
    set(program_.units()[static_cast<size_t>(file_)].names[static_cast<size_t>(left)], after);
  }
}

}  // namespace fairway::audit::source
