#include "verifier/audit/source/syntax.h"

#include <tree_sitter/api.h>

#include <array>
#include <memory>
#include <unordered_map>

extern "C" {
const TSLanguage* tree_sitter_python(void);
const TSLanguage* tree_sitter_c(void);
const TSLanguage* tree_sitter_cpp(void);
}

namespace fairway::audit::source {
namespace {

const std::unordered_map<std::string_view, NodeKind>& kinds_by_name() {
  static const std::unordered_map<std::string_view, NodeKind> table = {
      {"ERROR", NodeKind::kError},
      {"module", NodeKind::kModule},
      {"translation_unit", NodeKind::kModule},
      {"block", NodeKind::kBlock},
      {"compound_statement", NodeKind::kBlock},
      {"expression_statement", NodeKind::kExpressionStatement},
      {"assignment", NodeKind::kAssignment},
      {"augmented_assignment", NodeKind::kAugmentedAssignment},
      {"assignment_expression", NodeKind::kAssignment},
      {"named_expression", NodeKind::kNamedExpression},
      {"return_statement", NodeKind::kReturn},
      {"if_statement", NodeKind::kIf},
      {"elif_clause", NodeKind::kElif},
      {"else_clause", NodeKind::kElse},
      {"for_statement", NodeKind::kFor},
      {"while_statement", NodeKind::kWhile},
      {"with_statement", NodeKind::kWith},
      {"with_item", NodeKind::kWithItem},
      {"try_statement", NodeKind::kTry},
      {"except_clause", NodeKind::kExcept},
      {"except_group_clause", NodeKind::kExcept},
      {"finally_clause", NodeKind::kFinally},
      {"break_statement", NodeKind::kBreak},
      {"continue_statement", NodeKind::kContinue},
      {"raise_statement", NodeKind::kRaise},
      {"delete_statement", NodeKind::kDelete},
      {"global_statement", NodeKind::kGlobal},
      {"nonlocal_statement", NodeKind::kNonlocal},
      {"import_statement", NodeKind::kImport},
      {"import_from_statement", NodeKind::kImportFrom},
      {"aliased_import", NodeKind::kAliasedImport},
      {"dotted_name", NodeKind::kDottedName},
      {"function_definition", NodeKind::kFunction},
      {"class_definition", NodeKind::kClass},
      {"decorated_definition", NodeKind::kDecorated},
      {"decorator", NodeKind::kDecorator},
      {"parameters", NodeKind::kParameters},
      {"lambda_parameters", NodeKind::kParameters},
      {"default_parameter", NodeKind::kDefaultParameter},
      {"typed_default_parameter", NodeKind::kDefaultParameter},
      {"list_splat_pattern", NodeKind::kSplatPattern},
      {"dictionary_splat_pattern", NodeKind::kSplatPattern},
      {"identifier", NodeKind::kIdentifier},
      {"attribute", NodeKind::kAttribute},
      {"field_expression", NodeKind::kAttribute},
      {"subscript", NodeKind::kSubscript},
      {"subscript_expression", NodeKind::kSubscript},
      {"slice", NodeKind::kSlice},
      {"call", NodeKind::kCall},
      {"call_expression", NodeKind::kCall},
      {"argument_list", NodeKind::kArguments},
      {"keyword_argument", NodeKind::kKeywordArgument},
      {"list_splat", NodeKind::kSplat},
      {"dictionary_splat", NodeKind::kSplat},
      {"binary_operator", NodeKind::kBinary},
      {"binary_expression", NodeKind::kBinary},
      {"unary_operator", NodeKind::kUnary},
      {"unary_expression", NodeKind::kUnary},
      {"not_operator", NodeKind::kNot},
      {"boolean_operator", NodeKind::kBoolean},
      {"comparison_operator", NodeKind::kComparison},
      {"conditional_expression", NodeKind::kConditional},
      {"lambda", NodeKind::kLambda},
      {"tuple", NodeKind::kTuple},
      {"expression_list", NodeKind::kTuple},
      {"pattern_list", NodeKind::kTuple},
      {"tuple_pattern", NodeKind::kTuple},
      {"list_pattern", NodeKind::kTuple},
      {"list", NodeKind::kList},
      {"set", NodeKind::kSet},
      {"dictionary", NodeKind::kDict},
      {"pair", NodeKind::kPair},
      {"list_comprehension", NodeKind::kComprehension},
      {"set_comprehension", NodeKind::kComprehension},
      {"dictionary_comprehension", NodeKind::kComprehension},
      {"generator_expression", NodeKind::kComprehension},
      {"for_in_clause", NodeKind::kForIn},
      {"if_clause", NodeKind::kIfClause},
      {"parenthesized_expression", NodeKind::kParenthesised},
      {"string", NodeKind::kString},
      {"string_start", NodeKind::kStringStart},
      {"string_content", NodeKind::kStringContent},
      {"interpolation", NodeKind::kInterpolation},
      {"concatenated_string", NodeKind::kConcatenatedString},
      {"integer", NodeKind::kNumber},
      {"float", NodeKind::kNumber},
      {"number_literal", NodeKind::kNumber},
      {"true", NodeKind::kTrue},
      {"false", NodeKind::kFalse},
      {"none", NodeKind::kNone},
      {"yield", NodeKind::kYield},
      {"await", NodeKind::kAwait},
      {"match_statement", NodeKind::kMatch},
      {"case_clause", NodeKind::kCase},
  };
  return table;
}

const std::unordered_map<std::string_view, Field>& fields_by_name() {
  static const std::unordered_map<std::string_view, Field> table = {
      {"name", Field::kName},
      {"body", Field::kBody},
      {"condition", Field::kCondition},
      {"consequence", Field::kConsequence},
      {"alternative", Field::kAlternative},
      {"left", Field::kLeft},
      {"right", Field::kRight},
      {"value", Field::kValue},
      {"object", Field::kObject},
      {"attribute", Field::kAttribute},
      {"function", Field::kFunction},
      {"arguments", Field::kArguments},
      {"subscript", Field::kSubscript},
      {"operator", Field::kOperator},
      {"operators", Field::kOperators},
      {"argument", Field::kArgument},
      {"parameters", Field::kParameters},
      {"superclasses", Field::kSuperclasses},
      {"definition", Field::kDefinition},
      {"type", Field::kType},
      {"module_name", Field::kModuleName},
      {"alias", Field::kAlias},
      {"key", Field::kKey},
      {"expression", Field::kExpression},
      {"declarator", Field::kDeclarator},
      {"index", Field::kIndex},
      {"initializer", Field::kInitializer},
      {"update", Field::kUpdate},
      {"size", Field::kSize},
  };
  return table;
}

/// What a grammar's numbers mean to us, looked up once per grammar.
struct Grammar {
  const TSLanguage* language = nullptr;
  std::vector<NodeKind> kinds;
  std::vector<bool> drop;  // comments
  std::vector<Field> fields;
};

Grammar load(const TSLanguage* language) {
  Grammar grammar;
  grammar.language = language;
  const uint32_t count = ts_language_symbol_count(language);
  grammar.kinds.resize(count, NodeKind::kOther);
  grammar.drop.resize(count, false);
  for (uint32_t symbol = 0; symbol < count; ++symbol) {
    const std::string_view name = ts_language_symbol_name(language, static_cast<TSSymbol>(symbol));
    if (ts_language_symbol_type(language, static_cast<TSSymbol>(symbol)) != TSSymbolTypeRegular) {
      grammar.kinds[symbol] = NodeKind::kToken;
      continue;
    }
    if (auto found = kinds_by_name().find(name); found != kinds_by_name().end()) grammar.kinds[symbol] = found->second;
    grammar.drop[symbol] = name == "comment";
  }
  const uint32_t field_count = ts_language_field_count(language);
  grammar.fields.resize(field_count + 1, Field::kNone);
  for (uint32_t id = 1; id <= field_count; ++id) {
    const std::string_view name = ts_language_field_name_for_id(language, static_cast<TSFieldId>(id));
    if (auto found = fields_by_name().find(name); found != fields_by_name().end()) grammar.fields[id] = found->second;
  }
  return grammar;
}

const Grammar& grammar_of(Language language) {
  static const Grammar python = load(tree_sitter_python());
  static const Grammar c = load(tree_sitter_c());
  static const Grammar cpp = load(tree_sitter_cpp());
  return language == Language::kC ? c : language == Language::kCpp ? cpp : python;
}

constexpr TSSymbol kErrorSymbol = static_cast<TSSymbol>(-1);

}  // namespace

Tree Tree::parse(std::string_view text, Language language, const SyntaxLimits& limits) {
  Tree tree;
  tree.source_ = text;
  tree.language_ = language;
  if (language == Language::kShell) return tree;
  if (text.size() > limits.text_bytes) {
    tree.problem_ = "longer than " + std::to_string(limits.text_bytes) + " bytes, not parsed";
    return tree;
  }
  const Grammar& grammar = grammar_of(language);
  std::unique_ptr<TSParser, decltype(&ts_parser_delete)> parser(ts_parser_new(), &ts_parser_delete);
  if (!ts_parser_set_language(parser.get(), grammar.language)) {
    tree.problem_ = "the grammar does not fit this tree-sitter library";
    return tree;
  }
  ts_parser_set_timeout_micros(parser.get(), limits.parse_microseconds);
  std::unique_ptr<TSTree, decltype(&ts_tree_delete)> parsed(
      ts_parser_parse_string(parser.get(), nullptr, text.data(), static_cast<uint32_t>(text.size())), &ts_tree_delete);
  if (!parsed) {
    tree.problem_ = "took longer than " + std::to_string(limits.parse_microseconds / 1000) + " ms to parse";
    return tree;
  }

  tree.nodes_.reserve(text.size() / 3 + 16);
  TSTreeCursor cursor = ts_tree_cursor_new(ts_tree_root_node(parsed.get()));
  std::vector<int32_t> last_child;  // per open level: its last child so far
  std::vector<int32_t> open;        // per open level: the node itself
  int deeper = 0;                   // levels below the depth bound, not kept
  bool more = true;
  while (more) {
    const TSNode raw = ts_tree_cursor_current_node(&cursor);
    const TSSymbol symbol = ts_node_symbol(raw);
    const bool error = symbol == kErrorSymbol || ts_node_is_missing(raw);
    const Field field = grammar.fields[ts_tree_cursor_current_field_id(&cursor)];
    // Of tokens only operators mean something: dropping commas and brackets halves the tree.
    const bool token = symbol != kErrorSymbol && grammar.kinds[symbol] == NodeKind::kToken;
    const bool dropped = symbol != kErrorSymbol &&
                         (grammar.drop[symbol] || (token && field != Field::kOperator && field != Field::kOperators));
    if (error && tree.error_lines_.size() < 16) tree.error_lines_.push_back(ts_node_start_point(raw).row + 1);
    int32_t index = kNoNode;
    if (!dropped && deeper == 0) {
      index = static_cast<int32_t>(tree.nodes_.size());
      Node node;
      node.kind = symbol == kErrorSymbol ? NodeKind::kError : grammar.kinds[symbol];
      node.symbol = symbol;
      node.field = field;
      node.begin = ts_node_start_byte(raw);
      node.end = ts_node_end_byte(raw);
      node.line = ts_node_start_point(raw).row + 1;
      node.end_line = ts_node_end_point(raw).row + 1;
      if (!open.empty()) {
        node.parent = open.back();
        int32_t& last = last_child.back();
        (last == kNoNode ? tree.nodes_[static_cast<size_t>(open.back())].first_child
                         : tree.nodes_[static_cast<size_t>(last)].next) = index;
        last = index;
      }
      tree.nodes_.push_back(node);
      if (tree.nodes_.size() >= limits.nodes) {
        tree.problem_ = "more than " + std::to_string(limits.nodes) + " syntax nodes; the rest was not read";
        break;
      }
    }
    if (!dropped && ts_tree_cursor_goto_first_child(&cursor)) {
      if (deeper > 0 || static_cast<int>(open.size()) >= limits.depth) {
        if (tree.problem_.empty()) {
          tree.problem_ = "nested deeper than " + std::to_string(limits.depth) + " levels at line " +
                          std::to_string(ts_node_start_point(raw).row + 1) + "; what lies below was not read";
        }
        ++deeper;
      } else {
        open.push_back(index);
        last_child.push_back(kNoNode);
      }
      continue;
    }
    while (!(more = ts_tree_cursor_goto_next_sibling(&cursor))) {
      if (!ts_tree_cursor_goto_parent(&cursor)) break;
      if (deeper > 0) {
        --deeper;
      } else {
        open.pop_back();
        last_child.pop_back();
      }
    }
  }
  ts_tree_cursor_delete(&cursor);
  return tree;
}

std::string_view Tree::text(int32_t index) const {
  const Node& node = (*this)[index];
  return source_.substr(node.begin, node.end - node.begin);
}

std::string_view Tree::type(int32_t index) const {
  const TSSymbol symbol = (*this)[index].symbol;
  return symbol == kErrorSymbol ? "ERROR" : ts_language_symbol_name(grammar_of(language_).language, symbol);
}

int32_t Tree::child(int32_t index, Field field) const {
  for (int32_t at = (*this)[index].first_child; at != kNoNode; at = (*this)[at].next) {
    if ((*this)[at].field == field) return at;
  }
  return kNoNode;
}

std::vector<int32_t> Tree::children(int32_t index) const {
  std::vector<int32_t> result;
  for (int32_t at = (*this)[index].first_child; at != kNoNode; at = (*this)[at].next) {
    if ((*this)[at].kind != NodeKind::kToken) result.push_back(at);
  }
  return result;
}

}  // namespace fairway::audit::source
