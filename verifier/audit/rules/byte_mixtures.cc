/// R5: a token's probability spread over its bytes and mixed with a byte model there. The mixture is over bytes given
/// the token split that the true token has, so it is no distribution over tokens.
///
/// In a script the mixture is followed to the score. A C helper is called through a library file, where no flow can be
/// followed: dividing a loss per token by a count of bytes there is a question.
#include "verifier/audit/rules/c_source.h"
#include "verifier/audit/rules/rule.h"

namespace fairway::audit::rules {
namespace {

/// Names declared in the body of a loop.
std::set<std::string> declared_in(const Tree& tree, int32_t body) {
  std::set<std::string> names;
  walk(tree, body, [&](int32_t node) {
    const int32_t name = tree.type(node) == "init_declarator" ? tree.child(node, Field::kDeclarator) : kNoNode;
    if (name != kNoNode) names.insert(std::string(tree.text(name)));
    return true;
  });
  return names;
}

/// Lines where an element of an array of losses, at the loop's position, is divided by something of that position.
void shares_in_loop(const Tree& tree, int32_t loop, const std::set<std::string>& losses, const std::string& file,
                    std::vector<verifier::Evidence>& places) {
  const std::string variable = loop_variable(tree, loop);
  const int32_t body = tree.child(loop, Field::kBody);
  if (variable.empty() || body == kNoNode) return;
  std::set<std::string> of_position = declared_in(tree, body);
  of_position.insert(variable);
  walk(tree, body, [&](int32_t node) {
    if (tree[node].kind != NodeKind::kBinary) return true;
    const int32_t op = tree.child(node, Field::kOperator);
    const int32_t left = tree.child(node, Field::kLeft), right = tree.child(node, Field::kRight);
    if (op == kNoNode || tree.text(op) != "/" || left == kNoNode || right == kNoNode) return true;
    bool loss = false;
    walk(tree, left, [&](int32_t inner) {
      loss |= losses.count(array_at(tree, inner, variable)) > 0;
      return true;
    });
    if (loss && mentions(tree, right, of_position)) places.push_back({file, tree[node].line, 0});
    return true;
  });
}

bool mixes(const std::string& text) {
  return text.find("exp(") != std::string::npos &&
         (text.find("log(") != std::string::npos || text.find("log1p(") != std::string::npos);
}

}  // namespace

void byte_mixtures(const Context& context, std::vector<Finding>& findings) {
  add_construct(context, source::EventKind::kPerByteMix, "legality.normalized",
                "the model's probability of a token is spread evenly over the token's bytes and mixed with another "
                "model byte by byte; the mixture is not a distribution over the vocabulary",
                findings);
  for (const SourceFile& file : context.facts.sources) {
    if ((file.language != Language::kC && file.language != Language::kCpp) || !mixes(file.text)) continue;
    const Tree tree = Tree::parse(file.text, file.language);
    if (tree.empty()) continue;
    std::vector<verifier::Evidence> places;
    walk(tree, 0, [&](int32_t node) {
      if (tree[node].kind != NodeKind::kFunction) return true;
      const std::set<std::string> losses = constant_arrays(tree, node, {"double", "float"});
      walk(tree, node, [&](int32_t inner) {
        if (tree[inner].kind == NodeKind::kFor && !losses.empty())
          shares_in_loop(tree, inner, losses, file.name, places);
        return true;
      });
      return false;
    });
    if (places.empty()) continue;
    Finding finding;
    finding.id = "legality.normalized";
    finding.message =
        "a helper spreads a value per token over a count and mixes by logarithms, as byte models are mixed in. Is the "
        "reported score that of the mixture?";
    finding.evidence = std::move(places);
    findings.push_back(std::move(finding));
  }
}

}  // namespace fairway::audit::rules
