#include "ledger/merkle.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <optional>

#include "tests/ledger/support.h"

namespace fairway::ledger {
namespace {

using test::MemoryTree;
using test::message;
using test::test_leaves;

constexpr uint64_t kMaxSize = 600;

/// MTH, PATH and SUBPROOF of RFC 6962, section 2.1, word for word, with the roots of ranges remembered.
class Definition {
 public:
  explicit Definition(std::vector<Digest> leaves)
      : leaves_(std::move(leaves)), roots_((leaves_.size() + 1) * (leaves_.size() + 1)) {}

  Digest root(uint64_t begin, uint64_t end) {
    if (begin == end) return sha256(std::string_view());
    auto& known = roots_[begin * (leaves_.size() + 1) + end];
    if (!known) {
      const uint64_t k = split(end - begin);
      known = end - begin == 1 ? leaves_[begin] : pair(root(begin, begin + k), root(begin + k, end));
    }
    return *known;
  }

  std::vector<Digest> path(uint64_t m, uint64_t begin, uint64_t end) {
    if (end - begin == 1) return {};
    const uint64_t k = split(end - begin);
    auto out = m < k ? path(m, begin, begin + k) : path(m - k, begin + k, end);
    out.push_back(m < k ? root(begin + k, end) : root(begin, begin + k));
    return out;
  }

  std::vector<Digest> subproof(uint64_t m, uint64_t begin, uint64_t end, bool is_whole) {
    if (m == end - begin) return is_whole ? std::vector<Digest>{} : std::vector<Digest>{root(begin, end)};
    const uint64_t k = split(end - begin);
    auto out = m <= k ? subproof(m, begin, begin + k, is_whole) : subproof(m - k, begin + k, end, false);
    out.push_back(m <= k ? root(begin + k, end) : root(begin, begin + k));
    return out;
  }

 private:
  static uint64_t split(uint64_t n) {
    uint64_t k = 1;
    while (k * 2 < n) k *= 2;
    return k;
  }
  static Digest pair(const Digest& left, const Digest& right) {
    const std::string text = "\x01" + std::string(left.begin(), left.end()) + std::string(right.begin(), right.end());
    return sha256(std::string_view(text));
  }

  std::vector<Digest> leaves_;
  std::vector<std::optional<Digest>> roots_;
};

TEST(Merkle, RootsAreThoseOfTheCertificateTransparencyTestVectors) {
  // Inputs and roots of the reference tests of Certificate Transparency (and of its later implementations).
  const std::vector<std::string> inputs = {"",
                                           std::string("\x00", 1),
                                           "\x10",
                                           "\x20\x21",
                                           "\x30\x31",
                                           "\x40\x41\x42\x43",
                                           "\x50\x51\x52\x53\x54\x55\x56\x57",
                                           "\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f"};
  const std::vector<std::string> roots = {"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                                          "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                                          "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                                          "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                                          "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                                          "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                                          "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                                          "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                                          "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
  std::vector<Digest> leaves;
  for (const std::string& input : inputs) leaves.push_back(leaf_hash(input));
  MemoryTree tree(leaves);
  Frontier frontier;
  for (size_t size = 0; size <= inputs.size(); ++size) {
    EXPECT_EQ(hex(*tree_root(tree, size)), roots[size]) << size;
    EXPECT_EQ(hex(frontier.root()), roots[size]) << size;
    if (size < inputs.size()) frontier.append(leaves[size]);
  }
}

TEST(Merkle, EveryInclusionProofUpToSize600IsTheDefinitionsAndVerifies) {
  Definition definition(test_leaves(kMaxSize));
  MemoryTree tree(test_leaves(kMaxSize));
  for (uint64_t size = 1; size <= kMaxSize; ++size) {
    const Digest root = definition.root(0, size);
    ASSERT_EQ(*tree_root(tree, size), root);
    for (uint64_t index = 0; index < size; ++index) {
      const auto proof = inclusion_proof(tree, index, size);
      ASSERT_TRUE(proof);
      ASSERT_EQ(*proof, definition.path(index, 0, size)) << index << " in " << size;
      const Status status = verify_inclusion(tree.leaves()[index], index, size, *proof, root);
      ASSERT_TRUE(status) << index << " in " << size << ": " << message(status);
    }
  }
}

TEST(Merkle, EveryConsistencyProofUpToSize600IsTheDefinitionsAndVerifies) {
  Definition definition(test_leaves(kMaxSize));
  MemoryTree tree(test_leaves(kMaxSize));
  for (uint64_t size = 0; size <= kMaxSize; ++size) {
    for (uint64_t old_size = 0; old_size <= size; ++old_size) {
      const auto proof = consistency_proof(tree, old_size, size);
      ASSERT_TRUE(proof);
      if (old_size != 0) {
        ASSERT_EQ(*proof, definition.subproof(old_size, 0, size, true)) << old_size << " in " << size;
      }
      const Status status =
          verify_consistency(old_size, definition.root(0, old_size), size, definition.root(0, size), *proof);
      ASSERT_TRUE(status) << old_size << " in " << size << ": " << message(status);
    }
  }
}

TEST(Merkle, NoOtherInclusionProofVerifies) {
  constexpr uint64_t kSize = 40;
  MemoryTree tree(test_leaves(kSize));
  for (uint64_t size = 1; size <= kSize; ++size) {
    const Digest root = *tree_root(tree, size);
    for (uint64_t index = 0; index < size; ++index) {
      const auto proof = *inclusion_proof(tree, index, size);
      const Digest leaf = tree.leaves()[index];
      const auto refused = [&](const Digest& l, uint64_t i, uint64_t n, const std::vector<Digest>& p, const Digest& r) {
        const Status status = verify_inclusion(l, i, n, p, r);
        return !status && status.error().code == Errc::kDisproved;
      };
      for (uint64_t other = 0; other < kSize; ++other) {
        if (other != index) {
          EXPECT_TRUE(refused(leaf, other, size, proof, root)) << index << " as " << other << " of " << size;
        }
        if (other != index) {
          EXPECT_TRUE(refused(tree.leaves()[other], index, size, proof, root));
        }
      }
      EXPECT_TRUE(refused(leaf, index, index, proof, root));
      for (size_t i = 0; i < proof.size(); ++i) {
        auto changed = proof;
        changed[i][i] ^= 1;
        EXPECT_TRUE(refused(leaf, index, size, changed, root));
        changed = proof;
        changed.erase(changed.begin() + static_cast<ptrdiff_t>(i));
        EXPECT_TRUE(refused(leaf, index, size, changed, root));
      }
      auto longer = proof;
      longer.push_back(root);
      EXPECT_TRUE(refused(leaf, index, size, longer, root));
      Digest other_root = root;
      other_root[31] ^= 0x80;
      EXPECT_TRUE(refused(leaf, index, size, proof, other_root));
    }
  }
}

TEST(Merkle, NoOtherConsistencyProofVerifies) {
  constexpr uint64_t kSize = 40;
  MemoryTree tree(test_leaves(kSize));
  std::vector<Digest> roots;
  for (uint64_t size = 0; size <= kSize; ++size) roots.push_back(*tree_root(tree, size));
  for (uint64_t size = 1; size <= kSize; ++size) {
    for (uint64_t old_size = 1; old_size <= size; ++old_size) {
      const auto proof = *consistency_proof(tree, old_size, size);
      const auto verifies = [&](uint64_t m, const Digest& r, uint64_t n, const Digest& s,
                                const std::vector<Digest>& p) {
        return static_cast<bool>(verify_consistency(m, r, n, s, p));
      };
      EXPECT_FALSE(verifies(old_size, roots[old_size - 1], size, roots[size], proof));
      EXPECT_FALSE(verifies(old_size, roots[old_size], size, roots[size - 1], proof));
      if (old_size < size) {
        EXPECT_FALSE(verifies(size, roots[size], old_size, roots[old_size], proof));
      }
      for (size_t i = 0; i < proof.size(); ++i) {
        auto changed = proof;
        changed[i][0] ^= 1;
        EXPECT_FALSE(verifies(old_size, roots[old_size], size, roots[size], changed));
        changed = proof;
        changed.erase(changed.begin() + static_cast<ptrdiff_t>(i));
        EXPECT_FALSE(verifies(old_size, roots[old_size], size, roots[size], changed));
      }
      auto longer = proof;
      longer.push_back(roots[size]);
      EXPECT_FALSE(verifies(old_size, roots[old_size], size, roots[size], longer));
    }
  }
}

TEST(Merkle, ARollbackAndAForkAreToldApart) {
  MemoryTree tree(test_leaves(9)), other({leaf_hash("x"), leaf_hash("y"), leaf_hash("z")});
  const auto says = [](const Status& status, const char* word) {
    return !status && status.error().what.starts_with(word);
  };
  EXPECT_TRUE(says(verify_consistency(9, *tree_root(tree, 9), 3, *tree_root(tree, 3), {}), "rolled back"));
  EXPECT_TRUE(says(verify_consistency(3, *tree_root(tree, 3), 3, *tree_root(other, 3), {}), "forked"));
  EXPECT_TRUE(says(verify_consistency(3, *tree_root(other, 3), 9, *tree_root(tree, 9), *consistency_proof(tree, 3, 9)),
                   "forked"));
}

RC_GTEST_PROP(Frontier, LoadedFromATreeItGoesOnLikeOneThatGrewFromNothing, ()) {
  const auto size = *rc::gen::inRange<uint64_t>(0, 2000), more = *rc::gen::inRange<uint64_t>(0, 300);
  MemoryTree tree(test_leaves(size + more));
  auto loaded = Frontier::load(tree, size);
  RC_ASSERT(static_cast<bool>(loaded));
  for (uint64_t i = size; i < size + more; ++i) loaded->append(tree.leaves()[i]);
  RC_ASSERT(loaded->size() == size + more);
  RC_ASSERT(loaded->root() == merkle_root(tree.leaves()));
}

TEST(Frontier, ReportsEveryCompleteNodeOnceInOrder) {
  MemoryTree tree(test_leaves(100));
  Frontier frontier;
  std::map<unsigned, uint64_t> next;
  for (uint64_t i = 0; i < 100; ++i) {
    frontier.append(tree.leaves()[i],
                    [&](unsigned level, const Digest& hash) { EXPECT_EQ(hash, *tree.node(level, next[level]++)); });
  }
  for (unsigned level = 0; level < 7; ++level) EXPECT_EQ(next[level], 100u >> level) << level;
}

}  // namespace
}  // namespace fairway::ledger
