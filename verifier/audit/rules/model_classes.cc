#include "verifier/audit/rules/model_classes.h"

#include <string>

#include "verifier/audit/rules/tree_walk.h"

namespace fairway::audit::rules {

bool is_conditional(const Tree& tree, int32_t node, int32_t root) {
  for (; node != kNoNode && node != root; node = tree[node].parent) {
    const NodeKind kind = tree[node].kind;
    if (kind == NodeKind::kIf || kind == NodeKind::kElif || kind == NodeKind::kElse || kind == NodeKind::kConditional ||
        kind == NodeKind::kTry)
      return true;
  }
  return false;
}

std::map<int, bool> classes_of_scored_models(const Context& context) {
  const auto& classes = context.program.classes();
  std::map<std::string, bool> names;  // true: surely
  const auto name_class = [&](const std::string& name, bool surely) {
    auto [at, inserted] = names.try_emplace(name, surely);
    if (!inserted) at->second |= surely;
  };
  for (const source::Event& event : context.timeline.events) {
    if (event.kind == source::EventKind::kModel && context.scores.reaches_report(event.id))
      name_class(event.text, !event.doubt);
  }
  std::map<int, bool> reached;
  for (bool grown = true; grown;) {
    grown = false;
    for (size_t i = 0; i < classes.size(); ++i) {
      const source::Class& cls = classes[i];
      if (cls.name < 0 || cls.body == kNoNode) continue;
      const auto named = names.find(context.program.name(cls.name));
      if (named == names.end()) continue;
      const bool surely = named->second;
      auto [at, inserted] = reached.try_emplace(static_cast<int>(i), surely);
      if (!inserted && (at->second || !surely)) continue;
      at->second = surely;
      grown = true;
      const Tree& tree = context.program.units()[static_cast<size_t>(cls.file)].tree;
      walk(tree, cls.body, [&](int32_t node) {
        if (tree[node].kind == NodeKind::kIdentifier)
          name_class(std::string(tree.text(node)), surely && !is_conditional(tree, node, cls.body));
        return true;
      });
      for (const std::string& base : cls.bases) name_class(base, surely);
    }
  }
  return reached;
}

}  // namespace fairway::audit::rules
