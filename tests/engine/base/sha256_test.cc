#include "engine/base/sha256.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <vector>

#include "tests/engine/base/temporary_directory.h"

namespace fairway {
namespace {

// FIPS 180-4 examples and the empty message.
TEST(Sha256, PublishedVectors) {
  EXPECT_EQ(hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex(sha256(std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

RC_GTEST_PROP(Sha256, CuttingTheMessageChangesNothing, (const std::vector<std::string>& parts)) {
  std::string whole;
  Sha256 hash;
  for (const std::string& part : parts) {
    whole += part;
    hash.update(part.data(), part.size());
  }
  RC_ASSERT(hash.finish() == sha256(whole));
}

TEST(Sha256, AfterFinishANewMessageStarts) {
  Sha256 hash;
  hash.update("xyz", 3);
  static_cast<void>(hash.finish());
  hash.update("abc", 3);
  EXPECT_EQ(hash.finish(), sha256("abc"));
}

TEST(Sha256File, EqualsTheDigestOfTheBytesAcrossReadBoundaries) {
  const test::TemporaryDirectory directory;
  for (const size_t size : {size_t{0}, size_t{1}, (size_t{1} << 20) - 1, size_t{1} << 20, (size_t{1} << 20) + 1}) {
    std::string content(size, 'x');
    for (size_t i = 0; i < size; i += 977) content[i] = static_cast<char>(i);
    test::spill(directory / "f", content);
    const auto digest = sha256_file(directory / "f");
    ASSERT_TRUE(digest) << digest.error().message();
    EXPECT_EQ(*digest, sha256(content)) << size;
  }
}

TEST(Sha256File, MissingFileIsNamed) {
  const auto digest = sha256_file("/nonexistent/file");
  ASSERT_FALSE(digest);
  EXPECT_EQ(digest.error().code, Errc::kNoInput);
  EXPECT_EQ(digest.error().where, "/nonexistent/file");
}

std::vector<Digest> numbered_leaves(size_t count) {
  std::vector<Digest> leaves;
  for (size_t i = 0; i < count; ++i) leaves.push_back(sha256("leaf " + std::to_string(i)));
  return leaves;
}

std::string text(const Digest& digest) { return {reinterpret_cast<const char*>(digest.data()), digest.size()}; }

// RFC 6962, section 2.1, word for word, with k found by trying powers of two.
Digest expected_root(const std::vector<Digest>& leaves) {
  if (leaves.empty()) return sha256("");
  if (leaves.size() == 1) return leaves[0];
  size_t k = 1;
  while (2 * k < leaves.size()) k *= 2;
  const auto middle = leaves.begin() + static_cast<std::ptrdiff_t>(k);
  return sha256("\x01" + text(expected_root({leaves.begin(), middle})) + text(expected_root({middle, leaves.end()})));
}

TEST(MerkleRoot, FollowsTheRecursiveDefinitionForEveryCountTo70) {
  for (size_t count = 0; count <= 70; ++count) {
    const std::vector<Digest> leaves = numbered_leaves(count);
    EXPECT_EQ(merkle_root(leaves), expected_root(leaves)) << count;
  }
}

TEST(MerkleRoot, SmallTreesWrittenOut) {
  const std::vector<Digest> l = numbered_leaves(5);
  EXPECT_EQ(hex(merkle_root({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(merkle_root(std::span(l).first(1)), l[0]);
  const Digest l01 = sha256("\x01" + text(l[0]) + text(l[1]));
  const Digest l23 = sha256("\x01" + text(l[2]) + text(l[3]));
  EXPECT_EQ(merkle_root(std::span(l).first(2)), l01);
  EXPECT_EQ(merkle_root(std::span(l).first(3)), sha256("\x01" + text(l01) + text(l[2])));
  const Digest l0123 = sha256("\x01" + text(l01) + text(l23));
  EXPECT_EQ(merkle_root(l), sha256("\x01" + text(l0123) + text(l[4])));
}

// The single-entry log with an empty entry has this root in every RFC 6962 test suite: SHA-256 of one zero byte.
TEST(MerkleRoot, LeafOfTheEmptyEntry) {
  const std::vector<Digest> leaves = {merkle_leaf({})};
  EXPECT_EQ(hex(merkle_root(leaves)), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
}

TEST(MerkleRoot, DependsOnTheOrderOfLeaves) {
  std::vector<Digest> leaves = numbered_leaves(4);
  const Digest root = merkle_root(leaves);
  std::swap(leaves[1], leaves[2]);
  EXPECT_NE(merkle_root(leaves), root);
}

}  // namespace
}  // namespace fairway
