/// Merkle trees of RFC 6962, section 2.1: roots, inclusion and consistency proofs, and their verification.
///
/// A tree is named by its size. The node (level, index) covers the leaves [index << level, (index + 1) << level); it is
/// complete in every tree of at least (index + 1) << level leaves, and its hash is the same in all of them. Proofs are
/// computed from complete nodes, wherever they come from; they are verified from hashes alone.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "engine/base/sha256.h"

namespace fairway::ledger {

/// SHA-256(0x00 || entry).
Digest leaf_hash(std::string_view entry);
/// SHA-256(0x01 || left || right).
Digest node_hash(const Digest& left, const Digest& right);

/// A store of the hashes of complete nodes.
class NodeSource {
 public:
  virtual ~NodeSource() = default;
  /// The node must be complete in the tree the source stands for.
  virtual Result<Digest> node(unsigned level, uint64_t index) = 0;
};

/// The root of the first `size` leaves; SHA-256 of nothing for size 0.
Result<Digest> tree_root(NodeSource& nodes, uint64_t size);

/// The siblings on the way from leaf `index` to the root of the tree of `size` leaves, the leaf's own first
/// (RFC 6962, 2.1.1). Needs index < size.
Result<std::vector<Digest>> inclusion_proof(NodeSource& nodes, uint64_t index, uint64_t size);

/// Shows that the tree of `old_size` leaves is a prefix of the tree of `size` leaves (RFC 6962, 2.1.2); empty when
/// old_size is 0 or equals size. Needs old_size <= size.
Result<std::vector<Digest>> consistency_proof(NodeSource& nodes, uint64_t old_size, uint64_t size);

/// kDisproved unless `proof` leads from `leaf` at `index` to `root`; a proof longer or shorter than the tree is high
/// disproves too.
Status verify_inclusion(const Digest& leaf, uint64_t index, uint64_t size, std::span<const Digest> proof,
                        const Digest& root);

/// kDisproved unless `proof` shows that the older tree is a prefix of the newer one. The sentence tells a rollback
/// (size < old_size) from a fork.
Status verify_consistency(uint64_t old_size, const Digest& old_root, uint64_t size, const Digest& root,
                          std::span<const Digest> proof);

/// The right edge of a growing tree: the roots of its maximal complete subtrees, at most 64 hashes.
class Frontier {
 public:
  using NodeSink = std::function<void(unsigned level, const Digest& hash)>;

  /// The frontier of a stored tree.
  static Result<Frontier> load(NodeSource& nodes, uint64_t size);

  /// Adds one leaf. Every node that becomes complete goes to `completed` (if there is one), the leaf first; a node of a
  /// level always comes after its left neighbour.
  void append(const Digest& leaf, const NodeSink& completed = nullptr);

  uint64_t size() const { return size_; }
  Digest root() const;

 private:
  uint64_t size_ = 0;
  std::vector<Digest> subtrees_;  // largest first, one per set bit of size_
};

}  // namespace fairway::ledger
