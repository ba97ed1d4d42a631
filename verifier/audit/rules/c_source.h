/// Walking the syntax trees of C and C++ helpers.
#pragma once

#include <initializer_list>
#include <set>
#include <string>

#include "verifier/audit/rules/tree_walk.h"

namespace fairway::audit::rules {

/// The variable that a for loop counts, or empty.
inline std::string loop_variable(const Tree& tree, int32_t loop) {
  const int32_t update = tree.child(loop, Field::kUpdate);
  std::string name;
  if (update == kNoNode) return name;
  walk(tree, update, [&](int32_t node) {
    if (name.empty() && tree[node].kind == NodeKind::kIdentifier) name = tree.text(node);
    return true;
  });
  return name;
}

/// NAME of NAME[variable], else empty.
inline std::string array_at(const Tree& tree, int32_t node, const std::string& variable) {
  if (node == kNoNode || tree[node].kind != NodeKind::kSubscript) return "";
  const std::string_view text = tree.text(node);
  const size_t bracket = text.find('[');
  if (bracket == text.npos || text.substr(bracket) != "[" + variable + "]") return "";
  return std::string(text.substr(0, bracket));
}

/// Parameters of a function that are arrays of constants of one of the types: pointers, spans, vectors.
inline std::set<std::string> constant_arrays(const Tree& tree, int32_t function,
                                             std::initializer_list<std::string_view> types) {
  std::set<std::string> names;
  walk(tree, function, [&](int32_t node) {
    if (tree.type(node) == "parameter_declaration") {
      const std::string_view text = tree.text(node);
      const bool array =
          text.find('*') != text.npos || text.find("vector<") != text.npos || text.find("span<") != text.npos;
      bool wanted = array && text.find("const") != text.npos;
      bool typed = false;
      for (std::string_view type : types) typed |= text.find(type) != text.npos;
      wanted &= typed;
      if (wanted) {
        std::string last;
        walk(tree, node, [&](int32_t inner) {
          if (tree[inner].kind == NodeKind::kIdentifier) last = tree.text(inner);
          return true;
        });
        if (!last.empty()) names.insert(last);
      }
      return false;
    }
    return node == function || tree.type(node) != "compound_statement";
  });
  return names;
}

}  // namespace fairway::audit::rules
