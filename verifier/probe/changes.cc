#include "verifier/probe/changes.h"

#include <algorithm>
#include <cmath>

namespace fairway::verifier {
namespace {

/// 1 .. size, its logarithm uniform.
uint64_t log_uniform(uint32_t word, uint64_t size) {
  const double exponent = static_cast<double>(num::uniform_of(word));
  return std::clamp<uint64_t>(static_cast<uint64_t>(std::pow(static_cast<double>(size) + 1.0, exponent)), 1, size);
}

}  // namespace

num::Philox draw_words(uint64_t seed, DrawFor use, uint64_t index, uint64_t inner) {
  return num::philox(seed, index << 40 | inner, static_cast<uint32_t>(use), num::kPurposeProbe);
}

uint32_t draw(uint64_t seed, DrawFor use, uint64_t index, uint64_t inner) {
  return draw_words(seed, use, index, inner).word[0];
}

uint64_t cut_place(uint64_t seed, uint64_t i, uint64_t count, uint64_t places) {
  const uint64_t begin = places * i / count, size = std::max<uint64_t>(places * (i + 1) / count - begin, 1);
  const uint32_t word = draw(seed, DrawFor::kCut, i);
  uint64_t place = begin + word % size;
  if (count >= 4 && i == 0) place = log_uniform(word, size);
  if (count >= 4 && i + 1 == count) place = places - log_uniform(word, size);
  return std::clamp<uint64_t>(place, 1, places - 1);
}

const char* change_name(Change change) {
  switch (change) {
    case Change::kRandom:
      return "random tokens";
    case Change::kShift:
      return "shifted by one";
    case Change::kDuplicate:
      return "a copy of what came before";
  }
  return "";
}

std::vector<uint16_t> changed_stream(std::span<const uint16_t> tokens, const std::vector<bool>& changed, Change change,
                                     const Replacement& replacement) {
  std::vector<uint16_t> out(tokens.begin(), tokens.end()), before;
  std::vector<size_t> places;
  for (size_t t = 0; t < out.size(); ++t) {
    if (changed[t]) {
      places.push_back(t);
    } else if (tokens[t] != replacement.boundary) {
      before.push_back(tokens[t]);
    }
  }
  const uint32_t vocab = replacement.vocab;
  auto other = [&](uint16_t token, uint32_t word) {
    return static_cast<uint16_t>((token + 1u + word % std::max(vocab - 1, 1u)) % vocab);
  };
  const bool poor = replacement.cut % 2 == 1;
  const num::Philox pair = draw_words(replacement.seed, DrawFor::kPoor, replacement.cut, 0);
  const uint16_t items[2] = {
      static_cast<uint16_t>(pair.word[0] % vocab),
      static_cast<uint16_t>((pair.word[0] % vocab + 1u + pair.word[1] % std::max(vocab - 1, 1u)) % vocab)};
  for (size_t i = 0; i < places.size(); ++i) {
    const uint16_t old = tokens[places[i]];
    const num::Philox word = draw_words(replacement.seed, DrawFor::kReplacement, replacement.cut, i);
    uint16_t token = other(old, word.word[0]);
    if (change == Change::kRandom && poor) {
      const uint16_t one = items[word.word[1] % 2];
      token = one != old ? one : items[(word.word[1] + 1) % 2];
    } else if (change == Change::kRandom && word.word[1] % 2 == 0) {
      const uint16_t seen = tokens[word.word[2] % tokens.size()];
      if (seen != old) token = seen;
    }
    if (change == Change::kShift && i + 1 < places.size()) token = tokens[places[i + 1]];
    if (change == Change::kDuplicate && !before.empty()) token = before[i % before.size()];
    if (token == replacement.boundary) token = static_cast<uint16_t>((token + 1u) % vocab);
    if (token == old && change == Change::kRandom && vocab > 2) token = other(token, word.word[3]);
    out[places[i]] = token == replacement.boundary ? static_cast<uint16_t>((token + 1u) % vocab) : token;
  }
  return out;
}

}  // namespace fairway::verifier
