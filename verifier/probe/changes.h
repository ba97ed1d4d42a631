/// What probes do to a stream of tokens, the same for evaluations of ours and programs of others: where it is cut and
/// what stands there instead. Everything is drawn from one printed seed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/num/philox.h"

namespace fairway::verifier {

/// Streams of random words that the seed opens; one per use.
enum class DrawFor : uint32_t {
  kCut = 0,
  kReplacement = 1,
  kTarget = 2,
  kSwap = 3,
  kDocument = 4,
  kOrder = 5,
  kText = 6,
  kPoor = 7
};

num::Philox draw_words(uint64_t seed, DrawFor use, uint64_t index, uint64_t inner);
/// The first of them.
uint32_t draw(uint64_t seed, DrawFor use, uint64_t index, uint64_t inner = 0);

/// Brings `items` into an order drawn by lot; `index` numbers the orders of a seed. (Fisher and Yates.)
template <class Items>
void shuffle(Items& items, uint64_t seed, uint64_t index) {
  for (size_t i = items.size(); i > 1; --i) {
    std::iter_swap(items.begin() + static_cast<std::ptrdiff_t>(i - 1),
                   items.begin() + static_cast<std::ptrdiff_t>(draw(seed, DrawFor::kOrder, index, i) % i));
  }
}

/// The place of cut i of `count` among `places` >= 2: one in each of equal parts, never the very first place. From four
/// cuts on, the first lies at a distance from the start, and the last at a distance from the end, whose logarithm is
/// uniform: what happens only there has a chance to be seen.
uint64_t cut_place(uint64_t seed, uint64_t i, uint64_t count, uint64_t places);

enum class Change {
  kRandom,  ///< other tokens, half of them drawn from the stream itself, half from the vocabulary; at odd cuts all of
            ///< them from two items: poor text changes maxima and other extremes
  kShift,   ///< the tokens that stood one place later
  kDuplicate,  ///< a copy of what came before
};
const char* change_name(Change change);

struct Replacement {
  uint64_t seed = 0, cut = 0;
  uint32_t vocab = 2;
  int32_t boundary = -1;  ///< a token that stays where it is and is put nowhere else; -1: none
};

/// `tokens` with those that `changed` marks replaced. With kRandom none of these stays as it was, unless `boundary`
/// leaves no choice.
std::vector<uint16_t> changed_stream(std::span<const uint16_t> tokens, const std::vector<bool>& changed, Change change,
                                     const Replacement& replacement);

}  // namespace fairway::verifier
