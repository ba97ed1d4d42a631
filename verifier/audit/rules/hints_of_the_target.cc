/// R6: hints whose gate reads the token being predicted, in a C or C++ helper.
///
/// A helper walks the tokens, writes a hint for position i and then takes token i into its state. Legal: the hint
/// depends on the state alone. Illegal: whether or what it writes at [i] depends on token i itself. Which channels were
/// used stands in the logs as counts of gates ("within_gate=0").
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

#include "verifier/audit/rules/c_source.h"
#include "verifier/audit/rules/rule.h"

namespace fairway::audit::rules {
namespace {

struct Gate {
  std::string channel;  ///< the first word of the array written: "within"
  verifier::Evidence condition, source;
};

/// Parameters that point to constant 16- or 32-bit numbers: the tokens.
std::set<std::string> token_arrays(const Tree& tree, int32_t function) {
  return constant_arrays(tree, function, {"int16", "int32", "int64"});
}

void gates_in_loop(const Tree& tree, int32_t loop, const std::set<std::string>& tokens, const std::string& file,
                   std::vector<Gate>& gates) {
  const std::string variable = loop_variable(tree, loop);
  const int32_t body = tree.child(loop, Field::kBody);
  if (variable.empty() || body == kNoNode) return;
  // What is made from tokens[i] before anything is written.
  std::set<std::string> of_token;
  verifier::Evidence source{file, 0, 0};
  walk(tree, body, [&](int32_t node) {
    if (tree.type(node) == "init_declarator") {
      const int32_t value = tree.child(node, Field::kValue);
      const int32_t name = tree.child(node, Field::kDeclarator);
      if (value == kNoNode || name == kNoNode) return true;
      bool reads = mentions(tree, value, of_token);
      walk(tree, value, [&](int32_t inner) {
        reads |= tokens.count(array_at(tree, inner, variable)) > 0;
        return true;
      });
      if (reads) {
        of_token.insert(std::string(tree.text(name)));
        if (source.line == 0) source.line = tree[node].line;
        source.end_line = tree[node].line;
      }
    }
    return true;
  });
  if (of_token.empty()) return;
  walk(tree, body, [&](int32_t node) {
    if (tree[node].kind != NodeKind::kIf || !mentions(tree, tree.child(node, Field::kCondition), of_token)) return true;
    walk(tree, node, [&](int32_t inner) {
      if (tree[inner].kind != NodeKind::kAssignment) return true;
      const std::string array = array_at(tree, tree.child(inner, Field::kLeft), variable);
      if (array.empty() || tokens.count(array) > 0) return true;
      const int32_t condition = tree.child(node, Field::kCondition);
      gates.push_back(
          {array.substr(0, array.find('_')), {file, tree[condition].line, tree[condition].end_line}, source});
      return true;
    });
    return true;
  });
}

/// True if the run printed a score that the submission claims, of a seed or of all.
bool claimed(const Claims& claims, const LoggedRun& run) {
  constexpr double kPrinted = 6e-5;  // scores are printed with four decimals or more
  for (const ScoreLine& score : run.scores) {
    if (!score.val_bpb) continue;
    if (claims.val_bpb && std::fabs(*score.val_bpb - claims.val_bpb->value) < kPrinted) return true;
    for (const auto& [seed, bpb] : claims.seed_bpb) {
      if (std::fabs(*score.val_bpb - bpb) < kPrinted) return true;
    }
  }
  return false;
}

/// What the logs of the claimed runs (of all, if none can be told) print for the gate of that channel.
struct LoggedGates {
  int64_t largest = -1;   ///< -1: nothing
  bool disagree = false;  ///< some runs used it, some did not, and the claim does not tell them apart
};

LoggedGates logged_gates(const Facts& facts, const std::string& channel) {
  const bool told = std::any_of(facts.runs.begin(), facts.runs.end(),
                                [&](const LoggedRun& run) { return claimed(facts.claims, run); });
  LoggedGates result;
  int64_t smallest = -1;
  for (const LoggedRun& run : facts.runs) {
    if (told && !claimed(facts.claims, run)) continue;
    for (const LogMarker& marker : run.markers) {
      const size_t at = marker.text.find(channel + "_gate=");
      if (at == std::string::npos) continue;
      const int64_t count = std::strtoll(marker.text.c_str() + at + channel.size() + 6, nullptr, 10);
      result.largest = std::max(result.largest, count);
      smallest = smallest < 0 ? count : std::min(smallest, count);
    }
  }
  result.disagree = result.largest > 0 && smallest == 0;
  return result;
}

}  // namespace

void hints_of_the_target(const Context& context, std::vector<Finding>& findings) {
  for (const SourceFile& file : context.facts.sources) {
    if (file.language != Language::kC && file.language != Language::kCpp) continue;
    const Tree tree = Tree::parse(file.text, file.language);
    if (tree.empty()) continue;
    std::vector<Gate> gates;
    walk(tree, 0, [&](int32_t node) {
      if (tree[node].kind != NodeKind::kFunction) return true;
      const std::set<std::string> tokens = token_arrays(tree, node);
      if (tokens.empty()) return false;
      walk(tree, node, [&](int32_t inner) {
        if (tree[inner].kind == NodeKind::kFor) gates_in_loop(tree, inner, tokens, file.name, gates);
        return true;
      });
      return false;
    });
    std::set<std::string> seen;
    for (const Gate& gate : gates) {
      if (!seen.insert(gate.channel).second) continue;
      const LoggedGates logged = logged_gates(context.facts, gate.channel);
      if (logged.largest == 0) continue;  // present, and off in every logged run
      Finding finding;
      finding.id = "legality.causal";
      finding.evidence = {gate.source, gate.condition};
      finding.message = "whether the helper gives a \"" + gate.channel +
                        "\" hint for a position depends on the token at that position";
      if (logged.disagree) {
        finding.message += "; some logs count open gates of it and some none. Which runs are the claimed ones?";
      } else if (logged.largest > 0) {
        finding.level = verifier::Verdict::kFail;
        finding.message += "; the logs count " + std::to_string(logged.largest) + " open gates of it";
      } else {
        finding.message += ". No log says how often it was used: does the reported score use these hints?";
      }
      findings.push_back(std::move(finding));
    }
  }
}

}  // namespace fairway::audit::rules
