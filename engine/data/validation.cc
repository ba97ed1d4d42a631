#include "engine/data/validation.h"

#include <fmt/format.h>

#include "engine/base/check.h"
#include "engine/data/shard.h"

namespace fairway::data {

Result<ValidationSet> ValidationSet::load(std::span<const std::string> paths, int32_t vocab_size, int64_t seq_len) {
  FAIRWAY_CHECK(seq_len > 0);
  FAIRWAY_ASSIGN(const std::vector<Shard> shards, open_shards(paths, vocab_size));
  size_t token_count = 0;
  for (const Shard& shard : shards) token_count += static_cast<size_t>(shard.token_count());
  const int64_t usable = (static_cast<int64_t>(token_count) - 1) / seq_len * seq_len;
  if (usable == 0) {
    return Error{Errc::kData, paths.front(),
                 fmt::format("the validation split holds {} tokens, too few for one row of {} predictions; shorten the "
                             "evaluation's rows or add data",
                             token_count, seq_len)};
  }
  std::vector<uint16_t> tokens(token_count);
  std::span<uint16_t> rest(tokens);
  for (const Shard& shard : shards) {
    const auto count = static_cast<size_t>(shard.token_count());
    FAIRWAY_TRY(shard.read(0, rest.first(count)));
    rest = rest.subspan(count);
  }
  return ValidationSet(std::move(tokens), usable);
}

}  // namespace fairway::data
