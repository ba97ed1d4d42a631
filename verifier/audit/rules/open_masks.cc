/// R6: attention without a causal mask: a position reads later ones, its own target among them.
///
/// Judged are calls of an attention function in the classes of the scored model, with no mask and no causal flag, whose
/// queries and keys are computed position by position from one input: attention of a sequence to itself. Everything
/// else is left alone: masks and flags that are computed, windows, another input for the keys, caches, parts of the
/// sequence. It is `fail` only if no attention of the program has a mask and nothing in it speaks of hidden input
/// tokens: an encoder beside a causal decoder, or a model of masked tokens, is a question.
#include <algorithm>
#include <set>
#include <string>

#include "verifier/audit/rules/model_classes.h"
#include "verifier/audit/rules/rule.h"
#include "verifier/audit/rules/tree_walk.h"

namespace fairway::audit::rules {
namespace {

enum class Mask { kNoAttention, kOpen, kOther };

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_attention(std::string_view name) {
  return name == "scaled_dot_product_attention" || name == "flex_attention" || name.starts_with("flash_attn");
}

/// True if that name is a tensor of ones or zeros, used for nothing but the mask.
bool is_constant_mask(const Tree& tree, int32_t method, std::string_view name) {
  int uses = 0;
  bool constant = false;
  walk(tree, method, [&](int32_t node) {
    uses += tree[node].kind == NodeKind::kIdentifier && tree.text(node) == name;
    const int32_t left = tree.child(node, Field::kLeft), right = tree.child(node, Field::kRight);
    if (tree[node].kind != NodeKind::kAssignment || left == kNoNode || right == kNoNode || tree.text(left) != name ||
        tree[right].kind != NodeKind::kCall)
      return true;
    const int32_t called = tree.child(right, Field::kFunction);
    const std::string_view function = called == kNoNode ? "" : tree.text(called);
    constant = function == "torch.ones" || function == "torch.zeros";
    return true;
  });
  return constant && uses == 2;
}

int32_t function_around(const Tree& tree, int32_t node) {
  while (tree[node].kind != NodeKind::kFunction && tree[node].parent != kNoNode) node = tree[node].parent;
  return node;
}

/// What the arguments of an attention call say. Positional ones are queries, keys, values, then a mask.
Mask mask_of(const Tree& tree, int32_t call, std::vector<int32_t>& inputs) {
  const int32_t called = tree.child(call, Field::kFunction), arguments = tree.child(call, Field::kArguments);
  if (tree[call].kind != NodeKind::kCall || called == kNoNode || arguments == kNoNode) return Mask::kNoAttention;
  const std::string_view name = last_name(tree.text(called));
  if (!is_attention(name)) return Mask::kNoAttention;
  if (!is_one_of(name, {"scaled_dot_product_attention", "flash_attn_func", "flash_attn_3_func"})) return Mask::kOther;
  for (int32_t at : tree.children(arguments)) {
    if (tree[at].kind == NodeKind::kSplat || (tree[at].kind != NodeKind::kKeywordArgument && inputs.size() == 3))
      return Mask::kOther;
    if (tree[at].kind != NodeKind::kKeywordArgument) {
      inputs.push_back(at);
      continue;
    }
    const int32_t key_node = tree.child(at, Field::kName), value = tree.child(at, Field::kValue);
    if (key_node == kNoNode || value == kNoNode) return Mask::kOther;
    const std::string_view key = tree.text(key_node);
    const bool none = tree[value].kind == NodeKind::kNone;
    if (is_one_of(key, {"q", "k", "v", "query", "key", "value"})) {
      inputs.push_back(value);
    } else if (key == "causal" || key == "is_causal") {
      if (tree[value].kind != NodeKind::kFalse) return Mask::kOther;
    } else if (key == "attn_mask" && tree[value].kind == NodeKind::kIdentifier) {
      if (!is_constant_mask(tree, function_around(tree, call), tree.text(value))) return Mask::kOther;
    } else if (!none && !is_one_of(key, {"dropout_p", "scale", "softmax_scale", "enable_gqa", "deterministic"})) {
      return Mask::kOther;
    }
  }
  return inputs.size() == 3 ? Mask::kOpen : Mask::kOther;
}

/// A slice of the last dimension alone ("x[..., :half]") or none; index numbers and None leave positions in place.
bool cuts_positions(std::string_view subscript) {
  const size_t bracket = subscript.find('[');
  if (bracket == subscript.npos) return true;
  if (subscript.substr(bracket).starts_with("[...")) return false;
  std::string part;
  for (char c : subscript.substr(bracket + 1)) {
    if (c != ',' && c != ']') {
      if (c != ' ') part += c;
      continue;
    }
    if (part.find(':') != part.npos && part != ":") return true;
    part.clear();
  }
  return false;
}

/// True if an expression may join, drop or regroup positions, or reads what was kept from other calls.
bool moves_positions(const Tree& tree, int32_t root) {
  bool moves = false;
  walk(tree, root, [&](int32_t node) {
    if (tree[node].kind == NodeKind::kSubscript) moves |= cuts_positions(tree.text(node));
    if (tree[node].kind == NodeKind::kIdentifier) {
      const std::string_view name = tree.text(node);
      for (const char* word : {"cache", "mem", "prev", "state", "past"}) moves |= name.find(word) != name.npos;
    }
    if (tree[node].kind != NodeKind::kCall) return !moves;
    const int32_t called = tree.child(node, Field::kFunction), arguments = tree.child(node, Field::kArguments);
    const std::string_view name = called == kNoNode ? "" : last_name(tree.text(called));
    for (const char* word : {"cat", "concat", "gather", "index", "select", "narrow", "take", "pad", "roll", "unfold",
                             "flip", "topk", "pool", "mean", "sum", "stack", "interpolate", "where"})
      moves |= name.starts_with(word);
    if ((name == "view" || name == "reshape") && arguments != kNoNode) {
      const std::vector<int32_t> shape = tree.children(arguments);
      moves |=
          !shape.empty() && tree[shape[0]].kind != NodeKind::kIdentifier && tree[shape[0]].kind != NodeKind::kNumber;
    }
    return !moves;
  });
  return moves;
}

/// Which names of a method hold, position by position, what its first parameter holds.
class Positions {
 public:
  Positions(const Tree& tree, const source::Function& method, const source::Program& program) : tree_(tree) {
    for (size_t i = 1; i < method.parameters.size(); ++i) {
      if (method.parameters[i].name < 0) continue;
      const std::string& name = program.name(method.parameters[i].name);
      if (i == 1) {
        kept_[name] = true;
      } else if (name.find("cos") == name.npos && name.find("sin") == name.npos && name.find("ro") == name.npos) {
        others_.insert(name);
      }
    }
    walk(tree, method.body, [&](int32_t node) {
      if (tree[node].kind == NodeKind::kAssignment || tree[node].kind == NodeKind::kAugmentedAssignment)
        assign(node, is_conditional(tree, node, method.body));
      return true;
    });
  }
  bool kept(int32_t expression) const {
    bool reads = false, clean = !moves_positions(tree_, expression);
    for (const std::string& name : identifiers(tree_, expression)) {
      const auto at = kept_.find(name);
      if (name == "cos" || name == "sin") continue;  // of rotations: one row per position
      if (at == kept_.end()) continue;
      reads = true;
      clean &= at->second;
    }
    return reads && clean && !mentions(tree_, expression, others_);
  }

 private:
  void assign(int32_t node, bool perhaps) {
    const int32_t left = tree_.child(node, Field::kLeft), right = tree_.child(node, Field::kRight);
    if (left == kNoNode || right == kNoNode || tree_[left].kind == NodeKind::kAttribute ||
        tree_[left].kind == NodeKind::kSubscript)
      return;
    const std::set<std::string> read = identifiers(tree_, right);
    const bool derived =
        std::any_of(read.begin(), read.end(), [&](const std::string& n) { return kept_.count(n) > 0; });
    const bool clean = kept(right);
    for (const std::string& name : identifiers(tree_, left)) {
      const auto old = kept_.find(name);
      if (!derived && old == kept_.end()) continue;
      const bool keeps_old = perhaps || tree_[node].kind == NodeKind::kAugmentedAssignment;
      kept_[name] = clean && (old == kept_.end() || !keeps_old || old->second);
    }
  }

  const Tree& tree_;
  std::map<std::string, bool> kept_;  ///< false: of the parameter, but not position by position
  std::set<std::string> others_;
};

struct Program {
  bool all_open = true;  ///< no attention has a mask
  bool hides = false;    ///< something is named after hidden or noisy input tokens
};

Program survey(const Context& context, const std::map<int, bool>& classes) {
  Program program;
  std::set<int> files;
  for (const auto& [index, sure] : classes) files.insert(context.program.classes()[static_cast<size_t>(index)].file);
  for (int file : files) {
    const Tree& tree = context.program.units()[static_cast<size_t>(file)].tree;
    if (tree.empty()) continue;
    walk(tree, 0, [&](int32_t node) {
      std::vector<int32_t> inputs;
      program.all_open &= mask_of(tree, node, inputs) != Mask::kOther;
      if (tree[node].kind == NodeKind::kIdentifier) {
        const std::string_view name = tree.text(node);
        for (const char* word : {"mask_token", "mask_id", "mask_emb", "masked", "noise", "diffusion", "mdlm"})
          program.hides |= name.find(word) != name.npos;
      }
      return true;
    });
  }
  return program;
}

}  // namespace

void open_masks(const Context& context, std::vector<Finding>& findings) {
  if (context.scores.report_event() < 0) return;
  const std::map<int, bool> classes = classes_of_scored_models(context);
  std::optional<Program> program;
  for (const auto& [index, sure] : classes) {
    const source::Class& cls = context.program.classes()[static_cast<size_t>(index)];
    const source::Unit& unit = context.program.units()[static_cast<size_t>(cls.file)];
    const Tree& tree = unit.tree;
    for (const auto& [name, function] : cls.methods) {
      const source::Function& method = context.program.functions()[static_cast<size_t>(function)];
      if (method.body == kNoNode || method.parameters.size() < 2) continue;
      const bool surely = sure && context.program.name(name) == "forward";
      walk(tree, method.body, [&](int32_t node) {
        std::vector<int32_t> inputs;
        if (mask_of(tree, node, inputs) != Mask::kOpen) return true;
        const Positions positions(tree, method, context.program);
        if (!positions.kept(inputs[0]) || !positions.kept(inputs[1])) return true;  // as many values as keys
        if (!program) program = survey(context, classes);
        const bool always = surely && !is_conditional(tree, node, method.body);
        Finding finding;
        finding.id = "legality.causal";
        finding.message =
            "attention without a causal mask in " + context.program.name(cls.name) + ": each position reads later ones";
        if (always && program->all_open && !program->hides) {
          finding.level = verifier::Verdict::kFail;
        } else if (!always) {
          finding.message += ". A condition decides whether it is used: was it, on the way to the score?";
        } else if (program->hides) {
          finding.message += ". Are the tokens it predicts hidden from it, and is the score a likelihood of the text?";
        } else {
          finding.message += ". Other attention of the model is masked: can a score depend on tokens after its own?";
        }
        finding.evidence = {{unit.source->name, tree[node].line, tree[node].end_line}};
        findings.push_back(std::move(finding));
        return true;
      });
    }
  }
}

}  // namespace fairway::audit::rules
