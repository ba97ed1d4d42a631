#include "verifier/audit/rules/model_classes.h"

#include <string>
#include <utility>
#include <vector>

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
  std::map<int, bool> named;  // by interned name, only names of classes; true: surely
  for (const source::Class& cls : classes) {
    if (cls.name >= 0 && cls.body != kNoNode) named.emplace(cls.name, false);
  }
  std::map<int, bool> reached;
  std::vector<std::pair<int, bool>> open;  // names to follow
  const auto follow = [&](const std::string& name, bool surely) {
    for (const auto& [id, known] : named) {
      if (context.program.name(id) == name) open.emplace_back(id, surely);
    }
  };
  for (const source::Event& event : context.timeline.events) {
    if (event.kind == source::EventKind::kModel && context.scores.reaches_report(event.id))
      follow(event.text, !event.doubt);
  }
  while (!open.empty()) {
    const auto [id, surely] = open.back();
    open.pop_back();
    for (size_t i = 0; i < classes.size(); ++i) {
      const source::Class& cls = classes[i];
      if (cls.name != id || cls.body == kNoNode) continue;
      const auto [at, inserted] = reached.try_emplace(static_cast<int>(i), surely);
      if (!inserted && (at->second || !surely)) continue;
      at->second = surely;
      const source::Unit& unit = context.program.units()[static_cast<size_t>(cls.file)];
      const bool certain = surely;
      walk(unit.tree, cls.body, [&](int32_t node) {
        if (unit.tree[node].kind == NodeKind::kIdentifier && named.count(unit.names[static_cast<size_t>(node)]) > 0) {
          open.emplace_back(unit.names[static_cast<size_t>(node)],
                            certain && !is_conditional(unit.tree, node, cls.body));
        }
        return true;
      });
      for (const std::string& base : cls.bases) follow(base, surely);
    }
  }
  return reached;
}

}  // namespace fairway::audit::rules
