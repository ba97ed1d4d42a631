#include "verifier/audit/source/syntax.h"

#include <gtest/gtest.h>

namespace fairway::audit::source {
namespace {

TEST(Syntax, ErrorsAreLinesAndTheRestIsRead) {
  const std::string text = "a = 1\nb = = 2\ndef f():\n  return 3\n";
  const Tree tree = Tree::parse(text, Language::kPython);
  ASSERT_FALSE(tree.error_lines().empty());
  EXPECT_EQ(tree.error_lines()[0], 2u);
  bool function = false;
  for (const Node& node : tree.nodes()) function |= node.kind == NodeKind::kFunction && node.line == 3;
  EXPECT_TRUE(function);
}

TEST(Syntax, NestedQuotesInFormattedStrings) {
  const std::string text = "log(f\"shards: {len(list(Path(d).glob(\"fineweb_train_*.bin\")))}\")\n";
  EXPECT_TRUE(Tree::parse(text, Language::kPython).error_lines().empty());
}

TEST(Syntax, BoundsAreNamed) {
  const std::string deep = std::string(500, '(') + "1" + std::string(500, ')') + "\n";
  EXPECT_NE(Tree::parse(deep, Language::kPython).problem().find("deeper than 200"), std::string::npos);
  SyntaxLimits limits;
  limits.text_bytes = 10;
  const Tree cut = Tree::parse("a = 1 + 2 + 3 + 4\n", Language::kPython, limits);
  EXPECT_TRUE(cut.empty());
  EXPECT_NE(cut.problem().find("longer than 10 bytes"), std::string::npos);
  limits = {};
  limits.nodes = 5;
  EXPECT_NE(Tree::parse("a = 1\nb = 2\nc = 3\n", Language::kPython, limits).problem().find("more than 5"),
            std::string::npos);
}

TEST(Syntax, AnyBytesGiveATree) {
  std::string bytes;
  for (int i = 0; i < 4096; ++i) bytes += static_cast<char>((i * 7919) % 256);
  for (Language language : {Language::kPython, Language::kC, Language::kCpp}) {
    const Tree tree = Tree::parse(bytes, language);
    for (const Node& node : tree.nodes()) EXPECT_LE(node.begin, node.end);
  }
}

}  // namespace
}  // namespace fairway::audit::source
