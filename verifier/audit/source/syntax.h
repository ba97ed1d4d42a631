/// Syntax trees of submitted sources: tree-sitter's concrete tree, flattened into one array of nodes.
///
/// Goals: any bytes give a tree (errors are nodes, listed by line); depth, size and time are bounded; one pass over the
/// text. Non-goals: name resolution or meaning (program.h), anything but Python, C and C++.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "verifier/audit/facts.h"

namespace fairway::audit::source {

/// Kinds that the interpreter tells apart; everything else is kOther and walked through its children.
enum class NodeKind : uint8_t {
  kOther,
  kError,
  kToken,  ///< an operator or keyword; only those that carry meaning are kept
  kModule,
  kBlock,
  kExpressionStatement,
  kAssignment,
  kAugmentedAssignment,
  kNamedExpression,
  kReturn,
  kIf,
  kElif,
  kElse,
  kFor,
  kWhile,
  kWith,
  kWithItem,
  kTry,
  kExcept,
  kFinally,
  kBreak,
  kContinue,
  kRaise,
  kDelete,
  kGlobal,
  kNonlocal,
  kImport,
  kImportFrom,
  kAliasedImport,
  kDottedName,
  kFunction,
  kClass,
  kDecorated,
  kDecorator,
  kParameters,
  kDefaultParameter,
  kSplatPattern,
  kIdentifier,
  kAttribute,
  kSubscript,
  kSlice,
  kCall,
  kArguments,
  kKeywordArgument,
  kSplat,
  kBinary,
  kUnary,
  kNot,
  kBoolean,
  kComparison,
  kConditional,
  kLambda,
  kTuple,
  kList,
  kSet,
  kDict,
  kPair,
  kComprehension,
  kForIn,
  kIfClause,
  kParenthesised,
  kString,
  kStringStart,
  kStringContent,
  kInterpolation,
  kConcatenatedString,
  kNumber,
  kTrue,
  kFalse,
  kNone,
  kYield,
  kAwait,
  kMatch,
  kCase,
};

/// The role of a node in its parent.
enum class Field : uint8_t {
  kNone,
  kName,
  kBody,
  kCondition,
  kConsequence,
  kAlternative,
  kLeft,
  kRight,
  kValue,
  kObject,
  kAttribute,
  kFunction,
  kArguments,
  kSubscript,
  kOperator,
  kOperators,
  kArgument,
  kParameters,
  kSuperclasses,
  kDefinition,
  kType,
  kModuleName,
  kAlias,
  kKey,
  kExpression,
  kDeclarator,
  kIndex,
  kInitializer,
  kUpdate,
  kSize,
};

constexpr int32_t kNoNode = -1;

struct Node {
  NodeKind kind = NodeKind::kOther;
  Field field = Field::kNone;
  uint16_t symbol = 0;  ///< the grammar's own number; Tree::type names it
  uint32_t begin = 0, end = 0;
  uint32_t line = 1, end_line = 1;
  int32_t parent = kNoNode, first_child = kNoNode, next = kNoNode;
};

/// Bounds of one source text; crossing one cuts the tree there and is said in Tree::problem.
struct SyntaxLimits {
  uint32_t text_bytes = 4u << 20;
  uint32_t nodes = 2'000'000;
  int depth = 200;
  uint64_t parse_microseconds = 2'000'000;
};

class Tree {
 public:
  /// Never fails: what cannot be read is an empty tree with a problem.
  static Tree parse(std::string_view text, Language language, const SyntaxLimits& limits = {});

  const std::vector<Node>& nodes() const { return nodes_; }
  const Node& operator[](int32_t index) const { return nodes_[static_cast<size_t>(index)]; }
  bool empty() const { return nodes_.empty(); }
  Language language() const { return language_; }
  std::string_view text(int32_t index) const;
  /// The grammar's name of the node's kind: "call_expression".
  std::string_view type(int32_t index) const;

  /// The first child in that role, or kNoNode.
  int32_t child(int32_t index, Field field) const;
  /// Children without tokens and comments, in order.
  std::vector<int32_t> children(int32_t index) const;

  /// Lines (from 1) where the grammar did not fit, at most 16.
  const std::vector<uint32_t>& error_lines() const { return error_lines_; }
  /// Which bound was crossed, or empty.
  const std::string& problem() const { return problem_; }

 private:
  std::string_view source_;
  Language language_ = Language::kPython;
  std::vector<Node> nodes_;
  std::vector<uint32_t> error_lines_;
  std::string problem_;
};

}  // namespace fairway::audit::source
