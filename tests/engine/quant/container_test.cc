#include "engine/quant/container.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <bit>
#include <fstream>
#include <limits>
#include <sstream>

#include "engine/base/endian.h"
#include "engine/base/sha256.h"
#include "engine/quant/export_rules.h"
#include "tests/engine/quant/state_dicts.h"

namespace fairway::quant {
namespace {

using Bytes = std::vector<std::byte>;

// The worked example of FORMAT.md.
std::vector<PackedTensor> example_tensors() {
  PackedTensor w;
  w.entry = {{"w", {2, 3}, FloatFormat::kBf16}, Storage::kInt8Rows, 31};
  w.integers = {1, -1, 31, 0, -31, 2};
  w.half_bits = {num::to_fp16_bits(1.0f / 31.0f), num::to_fp16_bits(1.0f)};
  PackedTensor b;
  b.entry = {{"b", {2}, FloatFormat::kF32}, Storage::kFloat16, 0};
  b.half_bits = {num::to_fp16_bits(0.5f), num::to_fp16_bits(-2.0f)};
  PackedTensor g;
  g.entry = {{"g", {}, FloatFormat::kF32}, Storage::kFloat32, 0};
  g.floats = {1.5f};
  return {w, b, g};
}

std::vector<ContainerEntry> entries_of(const std::vector<PackedTensor>& tensors) {
  std::vector<ContainerEntry> entries;
  for (const PackedTensor& tensor : tensors) entries.push_back(tensor.entry);
  return entries;
}

Bytes example() {
  auto bytes = write_container(example_tensors());
  EXPECT_TRUE(bytes);
  return *bytes;
}

constexpr size_t kExampleTableEnd = 0x31;

std::string format_document() {
  std::ifstream file(FAIRWAY_SOURCE_DIR "/engine/quant/FORMAT.md");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(ContainerFormat, TheDocumentsExampleIsWhatTheWriterWrites) {
  std::string text = format_document();
  size_t begin = text.find("```hex\n");
  ASSERT_NE(begin, std::string::npos);
  begin += 7;
  std::istringstream lines(text.substr(begin, text.find("```", begin) - begin));
  Bytes documented;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word;
    words >> word;
    EXPECT_EQ(std::stoul(word, nullptr, 16), documented.size());
    while (words >> word) documented.push_back(static_cast<std::byte>(std::stoul(word, nullptr, 16)));
  }
  EXPECT_EQ(documented, example());
  EXPECT_NE(text.find(hex(sha256(documented))), std::string::npos) << hex(sha256(documented));
}

TEST(Container, TheExampleRestoresToTheDocumentedValuesInTheOrderAskedFor) {
  auto tensors = read_container(example(), entries_of(example_tensors()), "example");
  ASSERT_TRUE(tensors) << tensors.error().message();
  ASSERT_EQ(tensors->size(), 3u);
  EXPECT_EQ((*tensors)[0].spec.name, "w");
  EXPECT_EQ((*tensors)[0].values, (std::vector<float>{0.0322265625f, -0.0322265625f, 1.0f, 0.0f, -31.0f, 2.0f}));
  EXPECT_EQ((*tensors)[1].values, (std::vector<float>{0.5f, -2.0f}));
  EXPECT_EQ((*tensors)[2].values, (std::vector<float>{1.5f}));
}

TEST(Container, SizeIsKnownFromNamesAndShapes) {
  EXPECT_EQ(container_size_bytes(entries_of(example_tensors())), example().size());
  EXPECT_EQ(payload_size_bytes(entries_of(example_tensors())), 6u + 4u + 4u + 4u);
  EXPECT_EQ(container_size_bytes({}), 16u);
}

TEST(Container, AnEmptyContainerIsItsHeader) {
  auto bytes = write_container({});
  ASSERT_TRUE(bytes);
  EXPECT_EQ(bytes->size(), 16u);
  EXPECT_TRUE(read_container(*bytes, {}, "empty"));
}

TEST(Container, TheOrderOfTheInputChangesNoByte) {
  std::vector<PackedTensor> tensors = example_tensors();
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return a.entry.spec.name < b.entry.spec.name; });
  do {
    auto bytes = write_container(tensors);
    ASSERT_TRUE(bytes);
    EXPECT_EQ(*bytes, example());
  } while (std::next_permutation(tensors.begin(), tensors.end(),
                                 [](const auto& a, const auto& b) { return a.entry.spec.name < b.entry.spec.name; }));
}

TEST(Container, AWholeModelComesBackExactlyAndWritesToTheSameBytes) {
  ModelShape shape{2, 272, 136, 4, 544, 300};  // rows that are no multiple of anything; every matrix but k, v is large
  std::vector<NamedTensor> model;
  uint64_t seed = 0;
  for (const TensorSpec& spec : state_dict(shape)) model.push_back(random_tensor(spec, ++seed, 0.3f));
  for (const ExportScheme& scheme : {scheme_int8(), scheme_mixed_int6()}) {
    auto packed = export_tensors(views_of(model), scheme);
    ASSERT_TRUE(packed) << packed.error().message();
    auto bytes = write_container(*packed);
    ASSERT_TRUE(bytes);
    auto plan = plan_export(state_dict(shape), scheme);
    ASSERT_TRUE(plan);
    EXPECT_EQ(bytes->size(), container_size_bytes(*plan));
    auto restored = read_container(*bytes, *plan, "model");
    ASSERT_TRUE(restored) << restored.error().message();
    for (size_t i = 0; i < model.size(); ++i) {
      const NamedTensor& tensor = (*restored)[i];
      EXPECT_EQ(tensor.spec, model[i].spec);
      EXPECT_TRUE(same_bits(tensor.values, restore_tensor((*packed)[i]).values));
      for (float x : tensor.values) ASSERT_EQ(x, round_to_format(x, tensor.spec.format));
      if ((*plan)[i].storage == Storage::kFloat32) {
        EXPECT_TRUE(same_bits(tensor.values, model[i].values));
      }
    }
    auto again = read_packed(*bytes, "model");
    ASSERT_TRUE(again);
    auto rewritten = write_container(*again);
    ASSERT_TRUE(rewritten);
    EXPECT_EQ(*rewritten, *bytes);
  }
}

TEST(Container, TheExportOfAFixedModelHasTheRecordedDigests) {
  // The same on every compiler, instruction set and optimisation level; a change here changes the identity of
  // artifacts.
  std::vector<NamedTensor> model;
  uint64_t seed = 100;
  for (const TensorSpec& spec : state_dict({2, 272, 136, 4, 544, 300})) {
    ++seed;
    model.push_back(random_tensor(spec, seed, seed % 2 == 0 ? 0.3f : 1.7f));
  }
  auto digest = [&](const ExportScheme& scheme) {
    auto packed = export_tensors(views_of(model), scheme);
    EXPECT_TRUE(packed);
    auto bytes = write_container(*packed);
    EXPECT_TRUE(bytes);
    return hex(sha256(*bytes));
  };
  EXPECT_EQ(digest(scheme_int8()), "48ae5b0d94419723d71d0aac5a2edcbcab9e7d346ad271301f9e137490e9dac9");
  EXPECT_EQ(digest(scheme_mixed_int6()), "364dea45a640eb46bba7acc65525f7d269e8804e0631a018d7416572c988b1e9");
}

TEST(Container, TheRealBaselineTakesThePublishedPayloadPlusATableOfKilobytes) {
  std::vector<PackedTensor> packed;
  auto plan = plan_export(state_dict(baseline_shape()), scheme_int8());
  ASSERT_TRUE(plan);
  uint64_t table = 0;
  for (const ContainerEntry& entry : *plan) {
    std::vector<float> values(*element_count(entry.spec.shape), 0.25f);
    auto tensor = pack_tensor(entry, values, kExportQuantile);
    ASSERT_TRUE(tensor);
    packed.push_back(std::move(*tensor));
    table += 6 + entry.spec.name.size() + 4 * entry.spec.shape.size();
  }
  auto bytes = write_container(packed);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(bytes->size(), 16u + table + 17'178'912u);
  EXPECT_LT(table, 4096u);
  EXPECT_TRUE(read_container(*bytes, *plan, "baseline"));
}

TEST(ContainerWriter, RefusesWhatItsReaderWouldRefuse) {
  auto refused = [](auto change) {
    std::vector<PackedTensor> tensors = example_tensors();
    change(tensors);
    auto bytes = write_container(tensors);
    EXPECT_FALSE(bytes);
    return bytes ? std::string() : bytes.error().message();
  };
  EXPECT_NE(refused([](auto& t) { t[1].entry.spec.name = "g"; }).find("g: two tensors"), std::string::npos);
  refused([](auto& t) { t[0].entry.spec.name = ""; });
  refused([](auto& t) { t[0].entry.spec.name = "with space"; });
  refused([](auto& t) { t[0].entry.spec.name = std::string(256, 'x'); });
  refused([](auto& t) { t[0].integers[3] = 32; });
  refused([](auto& t) { t[0].integers[3] = -128; });
  refused([](auto& t) { t[0].half_bits[1] = 0x7c00; });
  refused([](auto& t) { t[0].half_bits[1] = 0x8000; });
  refused([](auto& t) { t[1].half_bits[0] = 0x7e00; });
  refused([](auto& t) { t[2].floats[0] = std::numeric_limits<float>::infinity(); });
  refused([](auto& t) { t[1].entry.limit = 5; });
}

TEST(ContainerReader, EveryTruncationIsAnError) {
  Bytes bytes = example();
  for (size_t size = 0; size < bytes.size(); ++size) {
    auto result = read_packed(std::span(bytes).first(size), "cut");
    ASSERT_FALSE(result) << size;
    EXPECT_EQ(result.error().code, Errc::kData);
    EXPECT_EQ(result.error().where.rfind("cut @ 0x", 0), 0u) << result.error().where;
    EXPECT_FALSE(read_container(std::span(bytes).first(size), entries_of(example_tensors()), "cut"));
  }
}

TEST(ContainerReader, TrailingBytesAreAnError) {
  Bytes bytes = example();
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(read_packed(bytes, "long"));
}

TEST(ContainerReader, EveryFlippedBitOfTheTableIsRefusedWhenTheModelIsKnown) {
  Bytes bytes = example();
  std::vector<ContainerEntry> expected = entries_of(example_tensors());
  for (size_t bit = 0; bit < 8 * kExampleTableEnd; ++bit) {
    Bytes changed = bytes;
    changed[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    EXPECT_FALSE(read_container(changed, expected, "flipped")) << "bit " << bit;
  }
}

TEST(ContainerReader, EveryFlippedBitIsRefusedOrWritesBackToTheFlippedBytes) {
  // Content bits may legitimately differ: then the digest of the container does. What is read is never anything else
  // than what stands there.
  Bytes bytes = example();
  int accepted = 0;
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    Bytes changed = bytes;
    changed[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    auto result = read_packed(changed, "flipped");
    if (!result) {
      EXPECT_EQ(result.error().code, Errc::kData);
      continue;
    }
    ++accepted;
    auto rewritten = write_container(*result);
    ASSERT_TRUE(rewritten);
    EXPECT_EQ(*rewritten, changed) << "bit " << bit;
  }
  EXPECT_GT(accepted, 50);
}

TEST(ContainerReader, ArbitraryBytesBehindAValidStartNeverCrash) {
  rc::check("read_packed answers on any bytes", [] {
    auto tail = *rc::gen::container<std::vector<uint8_t>>(rc::gen::arbitrary<uint8_t>());
    auto kept = *rc::gen::inRange<size_t>(0, example().size());
    Bytes bytes = example();
    bytes.resize(kept);
    for (uint8_t b : tail) bytes.push_back(std::byte{b});
    auto result = read_packed(bytes, "fuzz");
    if (result) RC_ASSERT(*write_container(*result) == bytes);
  });
}

struct Fault {
  const char* name;
  size_t offset;
  Bytes replacement;
  const char* message;
};

Bytes raw(std::initializer_list<int> values) {
  Bytes bytes;
  for (int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

TEST(ContainerReader, EachFaultIsNamedAtItsOffset) {
  const Fault faults[] = {
      {"magic", 0, raw({'X'}), "m @ 0x0: not a container"},
      {"version", 8, raw({2}), "m @ 0x8: container version 2 is unknown"},
      {"repeated name", 0x1d, raw({'b'}), "m @ 0x1b: name b does not follow b"},
      {"unsorted name", 0x1d, raw({'a'}), "m @ 0x1b: name a does not follow b"},
      {"control character", 0x1d, raw({'\n'}), "m @ 0x1b: a tensor's name must be printable"},
      {"storage", 0x25, raw({9}), "m @ 0x22: unknown storage 9"},
      {"limit 0", 0x26, raw({0}), "m @ 0x22: limit 0 is outside"},
      {"limit 128", 0x26, raw({128}), "m @ 0x22: limit 128 is outside"},
      {"format", 0x27, raw({0}), "m @ 0x22: unknown original format 0"},
      {"no rows", 0x29, raw({0, 0, 0, 0}), "m @ 0x22: int8 rows need a matrix"},
      {"rows overflow", 0x29, raw({255, 255, 255, 255, 255, 255, 255, 255}), "m @ 0x22: shape [4294967295,4294967295]"},
      {"one row more", 0x29, raw({3}), "m @ 0x31: the table is followed by 18 bytes instead of 23"},
      {"too many rows", 0x29, raw({100}), "m @ 0x22: tensor w needs 500 bytes"},
      {"integer", 0x33, raw({32}), "m @ 0x33: integer 32 of tensor w exceeds its limit 31"},
      {"infinite scale", 0x37, raw({0x00, 0x7c}), "m @ 0x37: scale 0 of tensor w"},
      {"negative scale", 0x39, raw({0x00, 0xbc}), "m @ 0x39: scale 1 of tensor w"},
      {"NaN value", 0x3d, raw({0x01, 0x7c}), "m @ 0x3d: value 1 of tensor b"},
      {"infinite value", 0x3f, raw({0x00, 0x00, 0x80, 0x7f}), "m @ 0x3f: value 0 of tensor g"},
  };
  for (const Fault& fault : faults) {
    Bytes bytes = example();
    std::copy(fault.replacement.begin(), fault.replacement.end(), bytes.begin() + static_cast<int64_t>(fault.offset));
    auto result = read_packed(bytes, "m");
    ASSERT_FALSE(result) << fault.name;
    EXPECT_EQ(result.error().message().rfind(fault.message, 0), 0u) << fault.name << ": " << result.error().message();
  }
}

TEST(ContainerReader, AHugeCountOfEntriesIsRefusedWithoutMemoryForThem) {
  Bytes bytes = example();
  store_le32(bytes.data() + 12, 0xffffffff);
  EXPECT_FALSE(read_packed(bytes, "m"));
}

TEST(ContainerReader, ADifferentModelIsRefusedByName) {
  std::vector<ContainerEntry> expected = entries_of(example_tensors());
  auto refused = [&](auto change) {
    std::vector<ContainerEntry> changed = expected;
    change(changed);
    auto result = read_container(example(), changed, "m");
    EXPECT_FALSE(result);
    return result ? std::string() : result.error().message();
  };
  EXPECT_NE(refused([](auto& e) { e[0].spec.name = "v"; }).find("asks for v"), std::string::npos);
  refused([](auto& e) { e[0].spec.shape = {3, 2}; });
  refused([](auto& e) { e[0].spec.format = FloatFormat::kF32; });
  refused([](auto& e) { e[0].limit = 127; });
  refused([](auto& e) { e.pop_back(); });
  refused([](auto& e) { e.push_back({{"x", {1}, FloatFormat::kF32}, Storage::kFloat32, 0}); });
  refused([](auto& e) { e[2] = e[1]; });
}

TEST(ContainerReader, RestoredOverflowOfBinary16IsAnError) {
  PackedTensor w;
  w.entry = {{"w", {1, 1}, FloatFormat::kF16}, Storage::kInt8Rows, 127};
  w.integers = {127};
  w.half_bits = {num::to_fp16_bits(60000.0f)};
  auto bytes = write_container(std::vector<PackedTensor>{w});
  ASSERT_TRUE(bytes);
  EXPECT_FALSE(read_container(*bytes, std::vector<ContainerEntry>{w.entry}, "m"));
}

}  // namespace
}  // namespace fairway::quant
