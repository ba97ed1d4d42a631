/// Walking syntax trees.
#pragma once

#include <algorithm>
#include <set>
#include <string>

#include "verifier/audit/source/syntax.h"

namespace fairway::audit::rules {

using source::Field;
using source::kNoNode;
using source::NodeKind;
using source::Tree;

/// Visits a node and, where `visit` gives true, what is below it, in order of the text.
template <class Visit>
void walk(const Tree& tree, int32_t root, Visit visit) {
  std::vector<int32_t> open = {root};
  while (!open.empty()) {
    const int32_t node = open.back();
    open.pop_back();
    if (!visit(node)) continue;
    const auto first = static_cast<std::ptrdiff_t>(open.size());
    for (int32_t at = tree[node].first_child; at != kNoNode; at = tree[at].next) {
      if (tree[at].kind != NodeKind::kToken) open.push_back(at);
    }
    std::reverse(open.begin() + first, open.end());
  }
}

/// True if one of the names stands somewhere below.
inline bool mentions(const Tree& tree, int32_t root, const std::set<std::string>& names) {
  bool found = false;
  if (root == kNoNode) return false;
  walk(tree, root, [&](int32_t node) {
    found |= tree[node].kind == NodeKind::kIdentifier && names.count(std::string(tree.text(node))) > 0;
    return !found;
  });
  return found;
}

/// Every identifier below, attributes included.
inline std::set<std::string> identifiers(const Tree& tree, int32_t root) {
  std::set<std::string> names;
  if (root == kNoNode) return names;
  walk(tree, root, [&](int32_t node) {
    if (tree[node].kind == NodeKind::kIdentifier) names.insert(std::string(tree.text(node)));
    return true;
  });
  return names;
}

/// What stands behind the last point of a name: "scaled_dot_product_attention".
inline std::string_view last_name(std::string_view written) { return written.substr(written.rfind('.') + 1); }

}  // namespace fairway::audit::rules
