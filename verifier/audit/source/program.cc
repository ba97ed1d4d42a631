#include "verifier/audit/source/program.h"

#include <algorithm>

namespace fairway::audit::source {
namespace {

std::string module_name(const std::string& path) {
  const size_t slash = path.rfind('/');
  std::string base = path.substr(slash == std::string::npos ? 0 : slash + 1);
  return base.substr(0, base.rfind('.'));
}

/// The script that the record counts: train_gpt.py, else scripts named like training, else every script.
int script_rank(const Unit& unit) {
  if (unit.module == "train_gpt") return unit.source->path.find('/') == std::string::npos ? 0 : 1;
  if (unit.module.rfind("train", 0) == 0) return 2;
  return unit.has_main ? 3 : 4;
}

}  // namespace

Program::Program(const std::vector<SourceFile>& sources) {
  for (const SourceFile& source : sources) {
    if (source.language != Language::kPython) continue;
    // A packed script is judged by what it decodes to.
    const bool decoded = !source.unpacked && std::any_of(sources.begin(), sources.end(), [&](const SourceFile& other) {
      return other.unpacked && other.path == source.path && other.language == Language::kPython;
    });
    if (decoded) continue;
    Unit unit;
    unit.source = &source;
    unit.module = module_name(source.path);
    unit.has_main = source.text.find("__main__") != std::string::npos;
    units_.push_back(std::move(unit));
  }
  function_nodes_.resize(units_.size());
  class_nodes_.resize(units_.size());
  int best = 5;
  for (const Unit& unit : units_) best = std::min(best, script_rank(unit));
  for (size_t file = 0; file < units_.size(); ++file) {
    units_[file].entry = script_rank(units_[file]) == best;
    if (units_[file].entry) load(static_cast<int>(file));
  }
}

void Program::load(int file) {
  Unit& unit = units_[static_cast<size_t>(file)];
  if (unit.loaded) return;
  unit.loaded = true;
  unit.tree = Tree::parse(unit.source->text, unit.source->language);
  if (unit.tree.empty()) return;
  unit.names.assign(unit.tree.nodes().size(), -1);
  for (size_t node = 0; node < unit.tree.nodes().size(); ++node) {
    if (unit.tree.nodes()[node].kind == NodeKind::kIdentifier)
      unit.names[node] = intern(unit.tree.text(static_cast<int32_t>(node)));
  }
  collect(file, 0, -1);
}

void Program::collect(int file, int32_t root, int class_of_root) {
  // An explicit stack: nesting belongs to the input.
  std::vector<std::pair<int32_t, int>> open = {{root, class_of_root}};
  Unit& unit = units_[static_cast<size_t>(file)];
  const Tree& tree = unit.tree;
  while (!open.empty()) {
    auto [node, class_index] = open.back();
    open.pop_back();
    int inner = class_index;
    if (tree[node].kind == NodeKind::kFunction || tree[node].kind == NodeKind::kLambda) {
      Function function;
      function.file = file;
      function.node = node;
      function.body = tree.child(node, Field::kBody);
      if (const int32_t name = tree.child(node, Field::kName); name != kNoNode) function.name = intern(tree.text(name));
      function.class_index = class_index;
      if (const int32_t parent = tree[node].parent; parent != kNoNode && tree[parent].kind == NodeKind::kDecorated) {
        for (int32_t at : tree.children(parent)) {
          if (tree[at].kind != NodeKind::kDecorator) continue;
          const std::string_view text = tree.text(at);
          function.no_grad |= text.find("no_grad") != text.npos || text.find("inference_mode") != text.npos;
        }
      }
      if (const int32_t list = tree.child(node, Field::kParameters); list != kNoNode) {
        for (int32_t at : tree.children(list)) {
          Parameter parameter;
          parameter.rest = tree[at].kind == NodeKind::kSplatPattern;
          parameter.default_node =
              tree[at].kind == NodeKind::kDefaultParameter ? tree.child(at, Field::kValue) : kNoNode;
          int32_t name = at;
          while (name != kNoNode && tree[name].kind != NodeKind::kIdentifier) {
            const int32_t named = tree.child(name, Field::kName);
            name = named != kNoNode ? named : tree[name].first_child;
          }
          if (name == kNoNode) continue;
          parameter.name = intern(tree.text(name));
          if (tree[at].kind == NodeKind::kOther && tree.text(at).substr(0, 1) == "*") parameter.rest = true;
          parameter.keywords = tree.text(at).substr(0, 2) == "**";
          function.parameters.push_back(parameter);
        }
      }
      const int index = static_cast<int>(functions_.size());
      function_nodes_[static_cast<size_t>(file)][node] = index;
      if (function.name >= 0) by_name_[function.name].push_back(index);
      if (class_index >= 0 && function.name >= 0)
        classes_[static_cast<size_t>(class_index)].methods[function.name] = index;
      functions_.push_back(std::move(function));
      inner = -1;
    } else if (tree[node].kind == NodeKind::kClass) {
      Class cls;
      cls.file = file;
      cls.node = node;
      cls.body = tree.child(node, Field::kBody);
      if (const int32_t name = tree.child(node, Field::kName); name != kNoNode) cls.name = intern(tree.text(name));
      if (const int32_t bases = tree.child(node, Field::kSuperclasses); bases != kNoNode) {
        for (int32_t at : tree.children(bases)) cls.bases.emplace_back(tree.text(at));
      }
      for (const std::string& base : cls.bases) {
        cls.is_module |= base == "Module" || (base.size() > 7 && base.compare(base.size() - 7, 7, ".Module") == 0) ||
                         base.rfind("nn.", 0) == 0;
        for (const Class& other : classes_) cls.is_module |= other.is_module && name(other.name) == base;
      }
      if (const int32_t parent = tree[node].parent; parent != kNoNode && tree[parent].kind == NodeKind::kDecorated) {
        cls.dataclass = tree.text(parent).substr(0, 200).find("dataclass") != std::string_view::npos;
      }
      inner = static_cast<int>(classes_.size());
      class_nodes_[static_cast<size_t>(file)][node] = inner;
      classes_.push_back(std::move(cls));
    }
    std::vector<int32_t> children = tree.children(node);
    // Last pushed is first taken: keep source order, so that a base class is known before what derives from it.
    for (auto at = children.rbegin(); at != children.rend(); ++at) open.push_back({*at, inner});
  }
}

int Program::function_at(int file, int32_t node) const {
  const auto& table = function_nodes_[static_cast<size_t>(file)];
  const auto found = table.find(node);
  return found == table.end() ? -1 : found->second;
}

int Program::class_at(int file, int32_t node) const {
  const auto& table = class_nodes_[static_cast<size_t>(file)];
  const auto found = table.find(node);
  return found == table.end() ? -1 : found->second;
}

int Program::unit_named(std::string_view module) const {
  for (size_t i = 0; i < units_.size(); ++i) {
    if (units_[i].module == module) return static_cast<int>(i);
  }
  return -1;
}

int Program::intern(std::string_view text) {
  auto [at, inserted] = ids_.try_emplace(std::string(text), static_cast<int>(texts_.size()));
  if (inserted) texts_.emplace_back(text);
  return at->second;
}

const std::vector<int>& Program::functions_named(int name) const {
  static const std::vector<int> none;
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? none : found->second;
}

}  // namespace fairway::audit::source
