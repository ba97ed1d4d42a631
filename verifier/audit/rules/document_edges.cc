/// R6, packed documents: the previous position mixed into every position, also into the first of a document, in a model
/// that is otherwise told where documents start (cu_seqlens). Reviewers asked for a mask there; it is a question.
#include <algorithm>
#include <set>
#include <string>

#include "verifier/audit/rules/model_classes.h"
#include "verifier/audit/rules/rule.h"
#include "verifier/audit/rules/tree_walk.h"

namespace fairway::audit::rules {
namespace {

/// True if an expression joins x[:, 1:...] and x[:, :-1...].
bool mixes_previous(const Tree& tree, int32_t root) {
  std::set<std::string> current, previous;
  walk(tree, root, [&](int32_t node) {
    if (tree[node].kind != NodeKind::kSubscript) return true;
    std::string text;
    for (char c : tree.text(node).substr(0, 200)) {
      if (c != ' ') text += c;
    }
    const size_t bracket = text.find('[');
    if (bracket == text.npos) return true;
    if (text.compare(bracket, 5, "[:,1:") == 0) current.insert(text.substr(0, bracket));
    if (text.compare(bracket, 6, "[:,:-1") == 0) previous.insert(text.substr(0, bracket));
    return true;
  });
  return std::any_of(current.begin(), current.end(), [&](const std::string& name) { return previous.count(name) > 0; });
}

/// True if the block around the statement compares anything, or names starts of documents: there may be a mask.
bool may_mask(const Tree& tree, int32_t statement) {
  int32_t block = tree[statement].parent;
  while (block != kNoNode && tree[block].kind != NodeKind::kBlock) block = tree[block].parent;
  bool masks = false;
  walk(tree, block == kNoNode ? statement : block, [&](int32_t node) {
    masks |= tree[node].kind == NodeKind::kComparison;
    if (tree[node].kind == NodeKind::kIdentifier) {
      for (const char* word : {"bos", "doc", "boundar", "start", "segment", "mask"})
        masks |= tree.text(node).find(word) != std::string_view::npos;
    }
    return !masks;
  });
  return masks;
}

/// Switches around the statement whose logged value is not known to be on: it may not run.
bool may_be_off(const Context& context, const Tree& tree, int32_t node, int32_t root) {
  for (; node != kNoNode && node != root; node = tree[node].parent) {
    const NodeKind kind = tree[node].kind;
    if (kind == NodeKind::kElif || kind == NodeKind::kElse || kind == NodeKind::kTry) return true;
    if (kind != NodeKind::kIf) continue;
    const int32_t condition = tree.child(node, Field::kCondition);
    bool on = false;
    for (const std::string& name : identifiers(tree, condition)) {
      const source::Setting* setting = context.settings.find(name);
      on |= setting && !setting->conflict && setting->logged && (setting->text == "True" || setting->text == "1");
    }
    if (!on) return true;
  }
  return false;
}

}  // namespace

void document_edges(const Context& context, std::vector<Finding>& findings) {
  const auto& units = context.program.units();
  const bool packs = std::any_of(units.begin(), units.end(), [](const source::Unit& unit) {
    return unit.loaded && unit.source->text.find("cu_seqlens") != std::string::npos;
  });
  if (context.scores.report_event() < 0 || !packs) return;
  for (const auto& [index, sure] : classes_of_scored_models(context)) {
    const source::Class& cls = context.program.classes()[static_cast<size_t>(index)];
    const source::Unit& unit = context.program.units()[static_cast<size_t>(cls.file)];
    const Tree& tree = unit.tree;
    if (!sure || unit.source->text.find("cu_seqlens") == std::string::npos) continue;
    Finding finding;
    for (const auto& [name, function] : cls.methods) {
      const source::Function& method = context.program.functions()[static_cast<size_t>(function)];
      if (method.body == kNoNode) continue;
      walk(tree, method.body, [&](int32_t node) {
        if (tree[node].kind != NodeKind::kAssignment) return true;
        const int32_t right = tree.child(node, Field::kRight);
        if (right == kNoNode || !mixes_previous(tree, right) || may_mask(tree, node) ||
            may_be_off(context, tree, node, method.body))
          return true;
        finding.evidence.push_back({unit.source->name, tree[node].line, tree[node].end_line});
        return true;
      });
    }
    if (finding.evidence.empty()) continue;
    std::sort(finding.evidence.begin(), finding.evidence.end(),
              [](const verifier::Evidence& a, const verifier::Evidence& b) { return a.line < b.line; });
    finding.id = "legality.causal";
    finding.message =
        "each position takes in the one before it, also where a document starts, although attention is told where "
        "documents start. Should a document see the last token of the one packed before it?";
    findings.push_back(std::move(finding));
  }
}

}  // namespace fairway::audit::rules
