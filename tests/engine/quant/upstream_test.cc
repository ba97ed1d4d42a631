/// Archives that PyTorch wrote (tests/golden/make_upstream_artifacts.py), and archives and pickles that must be refused.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <zip.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/base/file.h"
#include "engine/quant/codec.h"
#include "engine/quant/upstream/artifact.h"
#include "engine/quant/upstream/pickle.h"
#include "engine/quant/upstream/torch_archive.h"
#include "tests/engine/quant/state_dicts.h"

namespace fairway::quant::upstream {
namespace {

using Bytes = std::vector<std::byte>;
constexpr uint64_t kMost = 1 << 20;

std::string golden(const std::string& name) { return std::string(FAIRWAY_SOURCE_DIR) + "/tests/golden/upstream/" + name; }

Bytes file(const std::string& name) {
  auto bytes = read_file(golden(name), kMost);
  EXPECT_TRUE(bytes) << bytes.error().message();
  return bytes ? *bytes : Bytes();
}

// The archive inside a file, whatever its codec.
Bytes archive_of(const Bytes& bytes) {
  if (is_archive(bytes)) return bytes;
  const auto codec = detect_codec(bytes);
  EXPECT_TRUE(codec.has_value());
  auto archive = decompress_at_most(*codec, bytes, kMost, "a");
  EXPECT_TRUE(archive) << archive.error().message();
  return archive ? *archive : Bytes();
}

nlohmann::json expected_of(const std::string& name) {
  const Bytes text = file("expected.json");
  return nlohmann::json::parse(reinterpret_cast<const char*>(text.data()), reinterpret_cast<const char*>(text.data() + text.size())).at(name);
}

TEST(UpstreamArtifact, PyTorchsOwnFilesGivePyTorchsOwnBits) {
  for (const char* name : {"per_row_int8.zlib", "per_row_int6.zst", "by_category.xz", "plain.pt"}) {
    const auto found = read_artifact(archive_of(file(name)), kMost, name);
    ASSERT_TRUE(found) << found.error().message();
    const auto expected = expected_of(name);
    EXPECT_EQ(found->size(), expected.size()) << name;
    for (const NamedTensor& t : *found) {
      const auto& e = expected.at(t.spec.name);
      EXPECT_EQ(t.spec.shape, e.at("shape").get<std::vector<int64_t>>()) << t.spec.name;
      const auto bits = e.at("bits").get<std::vector<uint32_t>>();
      ASSERT_EQ(t.values.size(), bits.size());
      for (size_t i = 0; i < bits.size(); ++i) {
        ASSERT_EQ(num::bits_of(t.values[i]), bits[i]) << name << " " << t.spec.name << " element " << i;
      }
    }
  }
}

TEST(UpstreamArtifact, OriginalDtypesComeBack) {
  const auto found = read_artifact(archive_of(file("per_row_int8.zlib")), kMost, "a");
  ASSERT_TRUE(found);
  for (const NamedTensor& t : *found) {
    EXPECT_EQ(t.spec.format, t.spec.name == "tok_emb.weight" ? FloatFormat::kBf16 : FloatFormat::kF32) << t.spec.name;
  }
}

TEST(UpstreamArtifact, EveryDtypeIsReadAndOnlyFloatsAreParameters) {
  const Bytes bytes = file("dtypes.pt");
  const auto archive = TorchArchive::open(bytes, "dtypes.pt");
  ASSERT_TRUE(archive) << archive.error().message();
  const auto* top = archive->pickle().get<Dict>(archive->pickle().top);
  ASSERT_NE(top, nullptr);
  EXPECT_EQ(top->items.size(), 10u);
  for (const auto& [key, value] : top->items) {
    const auto* tensor = archive->pickle().get<TensorRef>(value);
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(*archive->pickle().get<std::string>(key), dtype_name(tensor->storage.dtype));
    const auto elements = archive->elements(*tensor);
    ASSERT_TRUE(elements);
    EXPECT_EQ(elements->size(), 3 * dtype_size_bytes(tensor->storage.dtype));
  }
  const auto refused = read_artifact(bytes, kMost, "dtypes.pt");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("a parameter is float32, bfloat16 or float16"), std::string::npos);
}

TEST(UpstreamArtifact, MoreElementsThanTheModelHasAreRefused) {
  const auto refused = read_artifact(archive_of(file("plain.pt")), 100, "a");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("more elements than the model of this config has"), std::string::npos);
}

TEST(UpstreamArtifact, TruncatedFilesAreRefused) {
  for (const char* name : {"per_row_int8.zlib", "per_row_int6.zst", "by_category.xz", "plain.pt"}) {
    const Bytes whole = file(name);
    for (size_t size = 0; size < whole.size(); size += size < 64 || size + 64 > whole.size() ? 1 : 37) {
      const Bytes cut(whole.begin(), whole.begin() + static_cast<int64_t>(size));
      if (is_archive(cut)) {
        const auto result = read_artifact(cut, kMost, "a");
        ASSERT_FALSE(result) << name << " cut at " << size;
        EXPECT_EQ(result.error().code, Errc::kData);
      } else if (const auto codec = detect_codec(cut)) {
        const auto result = decompress_at_most(*codec, cut, kMost, "a");
        ASSERT_FALSE(result) << name << " cut at " << size;
        EXPECT_EQ(result.error().code, Errc::kData);
      }
    }
  }
}

// Checksums find what changes a value; what they do not cover (names, times) may be flipped without effect.
TEST(UpstreamArtifact, AFlippedBitIsRefusedOrChangesNoValue) {
  const Bytes whole = file("plain.pt");
  const auto original = read_artifact(whole, kMost, "a");
  ASSERT_TRUE(original);
  size_t refused = 0;
  for (size_t bit = 0; bit < 8 * whole.size(); bit += 7) {
    Bytes flipped = whole;
    flipped[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    const auto result = read_artifact(flipped, kMost, "a");
    if (!result) {
      ++refused;
      EXPECT_EQ(result.error().code, Errc::kData);
      EXPECT_EQ(result.error().message().find('\n'), std::string::npos);
      continue;
    }
    ASSERT_EQ(result->size(), original->size());
    for (size_t i = 0; i < result->size(); ++i) ASSERT_TRUE(same_bits((*result)[i].values, (*original)[i].values)) << "bit " << bit;
  }
  EXPECT_GT(refused, 1000u);
}

// ------------------------------------------------------------------------------------------------ archives made here

Bytes raw(std::string_view text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return Bytes(begin, begin + text.size());
}

struct Member {
  std::string name;
  Bytes content;
  bool compressed = false;
};

Bytes zip_of(const std::vector<Member>& members) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* out = zip_source_buffer_create(nullptr, 0, 0, &error);
  zip_source_keep(out);
  zip_t* archive = zip_open_from_source(out, ZIP_CREATE | ZIP_TRUNCATE, &error);
  for (const Member& m : members) {
    zip_source_t* content = zip_source_buffer(archive, m.content.data(), m.content.size(), 0);
    const zip_int64_t index = zip_file_add(archive, m.name.c_str(), content, ZIP_FL_ENC_UTF_8);
    zip_set_file_compression(archive, static_cast<zip_uint64_t>(index), m.compressed ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 9);
  }
  zip_close(archive);
  zip_stat_t stat;
  zip_source_stat(out, &stat);
  Bytes bytes(stat.size);
  zip_source_open(out);
  zip_source_read(out, bytes.data(), bytes.size());
  zip_source_close(out);
  zip_source_free(out);
  return bytes;
}

// {"t": tensor of float32, shape and stride as given, over `count` elements of storage 0}
std::string tensor_pickle(const std::string& numbers, int count) {
  std::string out = "\x80\x02}X\x01";
  out += std::string("\0\0\0t", 4);
  out += "ctorch._utils\n_rebuild_tensor_v2\n((X\x07";
  out += std::string("\0\0\0storage", 10);
  out += "ctorch\nFloatStorage\nX\x01";
  out += std::string("\0\0\0000X\x03\0\0\0cpu", 12);
  out += "K";
  out += static_cast<char>(count);
  out += "tQ" + numbers + "\x89}tRs.";
  return out;
}

Bytes floats(size_t count) {
  Bytes bytes(4 * count);
  for (size_t i = 0; i < count; ++i) {
    const float x = static_cast<float>(i);
    std::memcpy(bytes.data() + 4 * i, &x, 4);
  }
  return bytes;
}

std::string refusal(const std::vector<Member>& members) {
  const auto result = read_artifact(zip_of(members), kMost, "a.pt");
  EXPECT_FALSE(result);
  return result ? "" : result.error().message();
}

TEST(TorchArchive, AnArchiveMadeByHandIsRead) {
  const auto result = read_artifact(zip_of({{"x/data.pkl", raw(tensor_pickle(std::string("K\0K\x02K\x03\x86K\x03K\x01\x86", 12), 6))}, {"x/data/0", floats(6)}}), kMost, "a");
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ((*result)[0].spec.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ((*result)[0].values, (std::vector<float>{0, 1, 2, 3, 4, 5}));
}

TEST(TorchArchive, ViewsOutsideTheirStorageAreRefused) {
  const auto with = [](std::string numbers) {
    return refusal({{"x/data.pkl", raw(tensor_pickle(numbers, 6))}, {"x/data/0", floats(6)}});
  };
  EXPECT_NE(with(std::string("K\x01K\x02K\x03\x86K\x03K\x01\x86", 12)).find("leaves its 6 elements"), std::string::npos);
  EXPECT_NE(with(std::string("K\0K\x02K\x03\x86K\0K\x01\x86", 12)).find("repeats them"), std::string::npos);
  EXPECT_NE(with(std::string("K\x07K\0\x85K\x01\x85", 8)).find("does not fit"), std::string::npos);
  EXPECT_NE(with(std::string("K\0K\xff\x85K\x01\x85", 8)).find("does not fit"), std::string::npos);
}

TEST(TorchArchive, EachFaultOfTheZipIsNamed) {
  const std::string six = tensor_pickle(std::string("K\0K\x06\x85K\x01\x85", 8), 6);
  EXPECT_NE(refusal({{"x/data.pkl", raw(six), true}, {"x/data/0", floats(6)}}).find("x/data.pkl: compressed"), std::string::npos);
  EXPECT_NE(refusal({{"x/data.pkl", raw(six)}}).find("data/0: missing"), std::string::npos);
  EXPECT_NE(refusal({{"x/data.pkl", raw(six)}, {"x/data/0", floats(5)}}).find("20 bytes instead of 6 elements"), std::string::npos);
  EXPECT_NE(refusal({{"x/data/0", floats(6)}}).find("no data.pkl"), std::string::npos);
  EXPECT_NE(refusal({{"x/data.pkl", raw(six)}, {"y/data/0", floats(6)}}).find("y/data/0: outside"), std::string::npos);
  EXPECT_NE(refusal({{"x/data.pkl", raw(six)}, {"x/byteorder", raw("big")}}).find("not little"), std::string::npos);
  const auto no_zip = read_artifact(raw("PK\x03\x04 and nothing else"), kMost, "a.pt");
  ASSERT_FALSE(no_zip);
  EXPECT_NE(no_zip.error().message().find("a.pt: not a usable zip archive"), std::string::npos);
}

// --------------------------------------------------------------------------------------------------------- pickles

std::string pickle_fault(std::string_view program) {
  const auto result = read_pickle(raw(program), "p");
  EXPECT_FALSE(result);
  return result ? "" : result.error().message();
}

TEST(Pickle, AGlobalThatCouldDoSomethingIsRefusedByNameAndOffset) {
  EXPECT_TRUE(pickle_fault("\x80\x02" "cos\nsystem\n.").starts_with("p @ 0x2: the global os.system is not allowed"));
  EXPECT_TRUE(pickle_fault("\x80\x02}cbuiltins\neval\n.").starts_with("p @ 0x3: the global builtins.eval is not allowed"));
  EXPECT_NE(pickle_fault("\x80\x02" "ctorch\nFloatStorageX\n.").find("torch.FloatStorageX"), std::string::npos);
}

TEST(Pickle, OtherOpcodesAreRefusedByNameAndOffset) {
  EXPECT_TRUE(pickle_fault("\x80\x02}\x93.").starts_with("p @ 0x3: the opcode STACK_GLOBAL is not allowed"));
  EXPECT_TRUE(pickle_fault("\x80\x02i.").starts_with("p @ 0x2: the opcode INST is not allowed"));
  EXPECT_TRUE(pickle_fault("\x80\x02\x81").starts_with("p @ 0x2: the opcode NEWOBJ is not allowed"));
  EXPECT_TRUE(pickle_fault("\x80\x02\xff").starts_with("p @ 0x2: the opcode 0xff is not allowed"));
  EXPECT_TRUE(pickle_fault("\x80\x04.").starts_with("p @ 0x0: pickle protocol 4"));
}

TEST(Pickle, AStackThatDoesNotHoldWhatAnInstructionNeedsIsRefused) {
  for (const char* program : {"\x80\x02.", "\x80\x02s.", "\x80\x02R.", "\x80\x02\x86.", "\x80\x02u.", "\x80\x02}q.", "\x80\x02(}(s.",
                              "\x80\x02)}R.", "\x80\x02h\x05.", "\x80\x02K\x01Q.", "\x80\x02}]b.", "\x80\x02X\xff\xff\xff\xff.", "\x80\x02}", "", "x",
                              "\x80\x02}.}", "\x80\x02\x8a\x09" "123456789.", "\x80\x02}r\xff\xff\xff\xff."}) {
    EXPECT_TRUE(pickle_fault(program).starts_with("p @ 0x")) << program;
  }
}

TEST(Pickle, ASelfReferenceCostsNothing) {
  const auto list = read_pickle(raw("\x80\x02]q\x01h\x01" "a."), "p");
  ASSERT_TRUE(list) << list.error().message();
  const auto* items = list->get<List>(list->top);
  ASSERT_NE(items, nullptr);
  EXPECT_EQ(items->items, std::vector<Ref>{list->top});
}

TEST(Pickle, DeepNestingUsesNoCallStack) {
  std::string program = "\x80\x02";
  for (int i = 0; i < 100000; ++i) program += ']';
  for (int i = 0; i < 99999; ++i) program += 'a';
  program += '.';
  EXPECT_TRUE(read_pickle(raw(program), "p"));
}

TEST(Pickle, ArbitraryProgramsNeverCrash) {
  rc::check([] {
    const auto body = *rc::gen::container<std::string>(rc::gen::element<char>(
        '}', ']', ')', 'N', '(', 't', 'u', 's', 'e', 'a', 'q', 'h', 'K', 'R', 'b', 'Q', 'X', '\0', '\1', '\2', '.', static_cast<char>(0x85), static_cast<char>(0x8a)));
    const auto result = read_pickle(raw("\x80\x02" + body), "p");
    // A name of its own: RC_ASSERT evaluates both sides of an "or" to print them.
    const bool read_or_refused = result || result.error().code == Errc::kData;
    RC_ASSERT(read_or_refused);
  });
}

}  // namespace
}  // namespace fairway::quant::upstream
