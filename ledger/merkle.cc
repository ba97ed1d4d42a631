#include "ledger/merkle.h"

#include <fmt/format.h>

#include <bit>

namespace fairway::ledger {
namespace {

// One hash object per thread: making one costs more than hashing a short message.
Sha256& hasher() {
  thread_local Sha256 hash;
  return hash;
}

/// The root over [begin, end), a range as the recursion of RFC 6962 makes them: begin is a multiple of the largest
/// power of two that is at most end - begin.
Result<Digest> range_root(NodeSource& nodes, uint64_t begin, uint64_t end) {
  const uint64_t count = end - begin;
  if (std::has_single_bit(count)) {
    const unsigned level = static_cast<unsigned>(std::countr_zero(count));
    return nodes.node(level, begin >> level);
  }
  const uint64_t split = begin + std::bit_floor(count);
  FAIRWAY_ASSIGN(const Digest left, range_root(nodes, begin, split));
  FAIRWAY_ASSIGN(const Digest right, range_root(nodes, split, end));
  return node_hash(left, right);
}

/// Where RFC 6962 splits `count` > 1 leaves: the largest power of two below the count.
uint64_t left_count(uint64_t count) { return std::bit_floor(count - 1); }

Error disproved(std::string what) { return Error{Errc::kDisproved, "", std::move(what)}; }

}  // namespace

Digest leaf_hash(std::string_view entry) {
  const uint8_t prefix = 0x00;
  Sha256& hash = hasher();
  hash.update(&prefix, 1);
  hash.update(entry.data(), entry.size());
  return hash.finish();
}

Digest node_hash(const Digest& left, const Digest& right) {
  uint8_t message[1 + 2 * sizeof(Digest)];
  message[0] = 0x01;
  std::copy(left.begin(), left.end(), message + 1);
  std::copy(right.begin(), right.end(), message + 1 + sizeof(Digest));
  Sha256& hash = hasher();
  hash.update(message, sizeof message);
  return hash.finish();
}

Result<Digest> tree_root(NodeSource& nodes, uint64_t size) {
  if (size == 0) return Frontier().root();
  return range_root(nodes, 0, size);
}

Result<std::vector<Digest>> inclusion_proof(NodeSource& nodes, uint64_t index, uint64_t size) {
  FAIRWAY_CHECK(index < size);
  std::vector<Digest> proof;  // from the root downwards; turned at the end
  uint64_t begin = 0, end = size;
  while (end - begin > 1) {
    const uint64_t split = begin + left_count(end - begin);
    const bool in_left = index < split;
    FAIRWAY_ASSIGN(const Digest sibling, in_left ? range_root(nodes, split, end) : range_root(nodes, begin, split));
    proof.push_back(sibling);
    (in_left ? end : begin) = split;
  }
  return std::vector<Digest>(proof.rbegin(), proof.rend());
}

Result<std::vector<Digest>> consistency_proof(NodeSource& nodes, uint64_t old_size, uint64_t size) {
  FAIRWAY_CHECK(old_size <= size);
  std::vector<Digest> proof;
  if (old_size == 0 || old_size == size) return proof;
  uint64_t begin = 0, end = size;
  while (end != old_size) {
    const uint64_t split = begin + left_count(end - begin);
    const bool in_left = old_size <= split;
    FAIRWAY_ASSIGN(const Digest sibling, in_left ? range_root(nodes, split, end) : range_root(nodes, begin, split));
    proof.push_back(sibling);
    (in_left ? end : begin) = split;
  }
  // The part that both trees share is known to whoever holds the old root only if it is the whole old tree.
  if (begin != 0) {
    FAIRWAY_ASSIGN(const Digest shared, range_root(nodes, begin, end));
    proof.push_back(shared);
  }
  return std::vector<Digest>(proof.rbegin(), proof.rend());
}

Status verify_inclusion(const Digest& leaf, uint64_t index, uint64_t size, std::span<const Digest> proof,
                        const Digest& root) {
  if (index >= size) return disproved(fmt::format("index {} is not in a tree of {} entries", index, size));
  // RFC 9162, 2.1.3.2: the node's index and that of the last node, level by level.
  uint64_t node = index, last = size - 1;
  Digest hash = leaf;
  for (const Digest& sibling : proof) {
    if (last == 0) return disproved("the inclusion proof is longer than the tree is high");
    if ((node & 1) != 0 || node == last) {
      hash = node_hash(sibling, hash);
      while ((node & 1) == 0 && node != 0) {
        node >>= 1;
        last >>= 1;
      }
    } else {
      hash = node_hash(hash, sibling);
    }
    node >>= 1;
    last >>= 1;
  }
  if (last != 0) return disproved("the inclusion proof is shorter than the tree is high");
  if (hash != root) return disproved("the inclusion proof does not lead from the entry to the root");
  return {};
}

Status verify_consistency(uint64_t old_size, const Digest& old_root, uint64_t size, const Digest& root,
                          std::span<const Digest> proof) {
  if (size < old_size) {
    return disproved(fmt::format("rolled back: {} entries where there were {} before", size, old_size));
  }
  if (old_size == size && old_root != root) {
    return disproved(fmt::format("forked: two different trees of {} entries", size));
  }
  if (old_size == 0 && old_root != Frontier().root()) return disproved("the root of an empty tree is another one");
  if (old_size == 0 || old_size == size) {
    if (!proof.empty()) return disproved("a consistency proof where none is needed must be empty");
    return {};
  }
  // RFC 9162, 2.1.4.2: both roots are rebuilt from the same hashes.
  uint64_t node = old_size - 1, last = size - 1;
  while ((node & 1) != 0) {
    node >>= 1;
    last >>= 1;
  }
  Digest old_hash = old_root;  // the first hash, unless the old tree is complete and so is itself the first
  size_t used = 0;
  if (!std::has_single_bit(old_size)) {
    if (proof.empty()) return disproved("the consistency proof is empty");
    old_hash = proof[used++];
  }
  Digest hash = old_hash;
  for (; used < proof.size(); ++used) {
    const Digest& sibling = proof[used];
    if (last == 0) return disproved("the consistency proof is longer than the tree is high");
    if ((node & 1) != 0 || node == last) {
      old_hash = node_hash(sibling, old_hash);
      hash = node_hash(sibling, hash);
      while ((node & 1) == 0 && node != 0) {
        node >>= 1;
        last >>= 1;
      }
    } else {
      hash = node_hash(hash, sibling);
    }
    node >>= 1;
    last >>= 1;
  }
  if (last != 0) return disproved("the consistency proof is shorter than the tree is high");
  if (old_hash != old_root || hash != root) {
    return disproved(fmt::format("forked: the tree of {} entries is not a prefix of the tree of {}", old_size, size));
  }
  return {};
}

Result<Frontier> Frontier::load(NodeSource& nodes, uint64_t size) {
  Frontier frontier;
  frontier.size_ = size;
  uint64_t begin = 0;
  for (int level = 63; level >= 0; --level) {
    if ((size >> level & 1) == 0) continue;
    FAIRWAY_ASSIGN(const Digest subtree, nodes.node(static_cast<unsigned>(level), begin >> level));
    frontier.subtrees_.push_back(subtree);
    begin += uint64_t{1} << level;
  }
  return frontier;
}

void Frontier::append(const Digest& leaf, const NodeSink& completed) {
  Digest hash = leaf;
  if (completed) completed(0, hash);
  unsigned level = 0;
  for (uint64_t rest = size_; (rest & 1) != 0; rest >>= 1) {
    hash = node_hash(subtrees_.back(), hash);
    subtrees_.pop_back();
    ++level;
    if (completed) completed(level, hash);
  }
  subtrees_.push_back(hash);
  ++size_;
}

Digest Frontier::root() const {
  if (subtrees_.empty()) return sha256(std::string_view());
  Digest hash = subtrees_.back();
  for (size_t i = subtrees_.size() - 1; i-- > 0;) hash = node_hash(subtrees_[i], hash);
  return hash;
}

}  // namespace fairway::ledger
