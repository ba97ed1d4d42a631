/// Shards made on the spot, and the published inputs beside the source folder where a machine has them.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "engine/data/shard.h"
#include "tests/engine/base/temporary_directory.h"

namespace fairway::data::test {

using fairway::test::slurp;
using fairway::test::spill;
using fairway::test::TemporaryDirectory;

/// Path of a published input, or nothing on machines without the folder.
inline std::optional<std::string> shared_file(const std::string& name) {
  const std::string path = FAIRWAY_SOURCE_DIR "/../shared/" + name;
  if (!std::filesystem::exists(path)) return std::nullopt;
  return path;
}

#define FAIRWAY_SHARED_OR_SKIP(variable, name)                                 \
  const auto variable##_found = ::fairway::data::test::shared_file(name);      \
  if (!variable##_found) GTEST_SKIP() << "../shared/" << name << " is absent"; \
  const std::string variable = *variable##_found

inline std::string little_endian(uint32_t value, int size) {
  std::string text;
  for (int i = 0; i < size; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}

/// The bytes of a shard, written out without the code under test.
inline std::string shard_bytes(const std::vector<uint16_t>& tokens, uint32_t magic = 20240520, uint32_t version = 1) {
  std::string text =
      little_endian(magic, 4) + little_endian(version, 4) + little_endian(static_cast<uint32_t>(tokens.size()), 4);
  text.resize(1024, '\0');
  for (const uint16_t token : tokens) text += little_endian(token, 2);
  return text;
}

/// Writes one shard per element of `sizes`, holding the numbers 0, 1, 2, ... modulo `vocab_size` across them all.
inline std::vector<std::string> counting_shards(const TemporaryDirectory& directory, const std::vector<int>& sizes,
                                                int vocab_size) {
  std::vector<std::string> paths;
  int next = 0;
  for (const int size : sizes) {
    std::vector<uint16_t> tokens;
    for (int i = 0; i < size; ++i) tokens.push_back(static_cast<uint16_t>(next++ % vocab_size));
    paths.push_back(directory / shard_name("count", static_cast<int64_t>(paths.size())));
    spill(paths.back(), shard_bytes(tokens));
  }
  return paths;
}

}  // namespace fairway::data::test
