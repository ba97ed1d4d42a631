#include "engine/quant/safetensors.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "engine/base/endian.h"
#include "tests/engine/quant/state_dicts.h"

namespace fairway::quant {
namespace {

using Bytes = std::vector<std::byte>;

Bytes file_of(const std::string& header, size_t data_size, uint64_t claimed_header_size) {
  Bytes bytes(8 + header.size() + data_size);
  store_le64(bytes.data(), claimed_header_size);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  return bytes;
}
Bytes file_of(const std::string& header, size_t data_size) { return file_of(header, data_size, header.size()); }

// What the published Python package (0.8.0) writes for these four tensors and {"format": "pt"}.
constexpr char kPublishedHeader[] =
    R"({"__metadata__":{"format":"pt"},"m":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
    R"("z":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},"w.b":{"dtype":"BF16","shape":[2,1],"data_offsets":[12,16]},)"
    R"("a":{"dtype":"F16","shape":[3],"data_offsets":[16,22]}}   )";
constexpr unsigned char kPublishedData[] = {0x00, 0x00, 0x80, 0x3e, 0x00, 0x00, 0xc0, 0x3f, 0x00, 0x00, 0x00,
                                            0xc0, 0x80, 0x3f, 0x00, 0xbf, 0x00, 0x38, 0x00, 0x3c, 0x00, 0xc4};

Bytes published_file() {
  Bytes bytes = file_of(kPublishedHeader, sizeof kPublishedData);
  std::memcpy(bytes.data() + bytes.size() - sizeof kPublishedData, kPublishedData, sizeof kPublishedData);
  return bytes;
}

std::vector<NamedTensor> published_tensors() {  // sorted by name
  return {{{"a", {3}, FloatFormat::kF16}, {0.5f, 1.0f, -4.0f}},
          {{"m", {}, FloatFormat::kF32}, {0.25f}},
          {{"w.b", {2, 1}, FloatFormat::kBf16}, {1.0f, -0.5f}},
          {{"z", {2}, FloatFormat::kF32}, {1.5f, -2.0f}}};
}

TEST(Safetensors, WritesTheBytesOfThePublishedWriter) {
  auto bytes = write_safetensors(views_of(published_tensors()), {{"format", "pt"}});
  ASSERT_TRUE(bytes);
  EXPECT_EQ(*bytes, published_file());
}

TEST(Safetensors, ReadsTheBytesOfThePublishedWriter) {
  auto file = read_safetensors(published_file(), "w.safetensors");
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ(file->metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  std::vector<NamedTensor> expected = published_tensors();
  ASSERT_EQ(file->tensors.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(file->tensors[i].spec, expected[i].spec);
    EXPECT_TRUE(same_bits(file->tensors[i].values, expected[i].values)) << expected[i].spec.name;
  }
}

// A second, naive reader of what our writer produces: finds a tensor's entry as text and decodes its data by hand.
std::vector<double> naive_read(const Bytes& bytes, const std::string& name) {
  uint64_t header_size = 0;
  for (int i = 7; i >= 0; --i)
    header_size = 256 * header_size + std::to_integer<uint64_t>(bytes[static_cast<size_t>(i)]);
  std::string header(reinterpret_cast<const char*>(bytes.data()) + 8, header_size);
  size_t at = header.find("\"" + name + "\":{");
  EXPECT_NE(at, std::string::npos);
  std::string entry = header.substr(at, header.find('}', at) - at);
  unsigned long begin = 0, end = 0;
  EXPECT_EQ(std::sscanf(entry.c_str() + entry.find("data_offsets"), "data_offsets\":[%lu,%lu]", &begin, &end), 2);
  bool wide = entry.find("\"F32\"") != std::string::npos;
  bool brain = entry.find("\"BF16\"") != std::string::npos;
  int exponent_bits = wide || brain ? 8 : 5;
  int mantissa_bits = wide ? 23 : brain ? 7 : 10;
  size_t size = wide ? 4 : 2;
  std::vector<double> values;
  for (size_t p = 8 + header_size + begin; p < 8 + header_size + end; p += size) {
    uint32_t u = 0;
    for (size_t i = size; i-- > 0;) u = u << 8 | std::to_integer<uint32_t>(bytes[p + i]);
    int exponent = static_cast<int>(u >> mantissa_bits) & ((1 << exponent_bits) - 1);
    double mantissa = std::ldexp(u & ((1u << mantissa_bits) - 1), -mantissa_bits);
    int bias = (1 << (exponent_bits - 1)) - 1;
    double value = exponent == 0 ? std::ldexp(mantissa, 1 - bias) : std::ldexp(1 + mantissa, exponent - bias);
    values.push_back(u >> (8 * size - 1) != 0 ? -value : value);
  }
  return values;
}

TEST(Safetensors, AStateDictIsReadBackByUsAndByANaiveReader) {
  std::vector<NamedTensor> model;
  uint64_t seed = 0;
  for (const TensorSpec& spec : state_dict({3, 24, 8, 3, 40, 50})) model.push_back(random_tensor(spec, ++seed, 0.5f));
  model.push_back(random_tensor({"half", {5, 1, 3}, FloatFormat::kF16}, 99, 1e-4f));  // subnormals among them
  model.push_back(random_tensor({"empty", {0, 24}, FloatFormat::kF32}, 98, 1.0f));
  auto bytes = write_safetensors(views_of(model), {});
  ASSERT_TRUE(bytes);
  uint64_t header_size = load_le64(bytes->data());
  EXPECT_EQ((8 + header_size) % 8, 0u) << "the data must be aligned";
  auto file = read_safetensors(*bytes, "w");
  ASSERT_TRUE(file) << file.error().message();
  ASSERT_EQ(file->tensors.size(), model.size());
  for (const NamedTensor& tensor : model) {
    std::vector<double> naive = naive_read(*bytes, tensor.spec.name);
    EXPECT_EQ(naive, std::vector<double>(tensor.values.begin(), tensor.values.end())) << tensor.spec.name;
    bool found = false;
    for (const NamedTensor& read : file->tensors) {
      if (read.spec == tensor.spec) found = same_bits(read.values, tensor.values);
    }
    EXPECT_TRUE(found) << tensor.spec.name;
  }
}

TEST(Safetensors, ValuesAreRoundedToTheirFormatOnWriting) {
  std::vector<NamedTensor> tensors = {{{"b", {2}, FloatFormat::kBf16}, {1.00390625f, 3.1415927f}},
                                      {{"h", {2}, FloatFormat::kF16}, {0.1f, 1e6f}}};
  auto bytes = write_safetensors(views_of(tensors), {});
  ASSERT_TRUE(bytes);
  auto file = read_safetensors(*bytes, "w");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->tensors[0].values, (std::vector<float>{1.0f, 3.140625f}));
  EXPECT_EQ(file->tensors[1].values[0], 0.0999755859375f);
  EXPECT_EQ(file->tensors[1].values[1], std::numeric_limits<float>::infinity());
}

TEST(Safetensors, MetadataWithAnyTextComesBack) {
  rc::check("metadata is kept", [] {
    auto key = *rc::gen::string<std::string>();
    auto value = *rc::gen::string<std::string>();
    for (std::string* text : {&key, &value}) {
      for (char& c : *text) c = static_cast<char>(c & 0x7f);  // ASCII is UTF-8, control characters included
    }
    auto bytes = write_safetensors({}, {{key, value}});
    RC_ASSERT(static_cast<bool>(bytes));
    auto file = read_safetensors(*bytes, "w");
    RC_ASSERT(static_cast<bool>(file));
    RC_ASSERT(file->metadata.at(key) == value);
  });
}

TEST(SafetensorsWriter, RefusesRepeatedReservedAndUndecodableNames) {
  std::vector<float> values = {1.0f};
  TensorView one{{"x", {1}, FloatFormat::kF32}, values};
  EXPECT_FALSE(write_safetensors(std::vector<TensorView>{one, one}, {}));
  TensorView reserved{{"__metadata__", {1}, FloatFormat::kF32}, values};
  EXPECT_FALSE(write_safetensors(std::vector<TensorView>{reserved}, {}));
  TensorView broken{{"\xff\xfe", {1}, FloatFormat::kF32}, values};
  auto result = write_safetensors(std::vector<TensorView>{broken}, {});
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().what.find("UTF-8"), std::string::npos);
}

std::string entry(const std::string& name, const std::string& rest) { return fmt::format("\"{}\":{{{}}}", name, rest); }
std::string object(const std::string& first) { return fmt::format("{{{}}}", first); }
std::string object(const std::string& first, const std::string& second) {
  return fmt::format("{{{},{}}}", first, second);
}

TEST(SafetensorsReader, EachFaultIsRefusedWithItsReason) {
  const std::string good = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";
  ASSERT_TRUE(read_safetensors(file_of(object(entry("a", good)), 4), "f"));
  ASSERT_TRUE(read_safetensors(file_of("{}", 0), "f"));
  ASSERT_TRUE(read_safetensors(file_of("{}     ", 0), "f"));
  struct Fault {
    std::string header;
    size_t data_size;
    const char* reason;
  };
  auto one = [](const char* rest) { return object(entry("a", rest)); };
  const Fault faults[] = {
      {"", 0, "does not start with {"},
      {"   ", 0, "does not start with {"},
      {" {}", 0, "does not start with {"},
      {"[]", 0, "does not start with {"},
      {"{", 0, "not one JSON object"},
      {"{}x", 0, "not one JSON object"},
      {"{} {}", 0, "not valid JSON"},
      {std::string("{}\0{}", 5), 0, "not one JSON object"},
      {"{\"a\":1}", 0, "unexpected a number"},
      {"{\"a\":\"x\"}", 0, "unexpected a string"},
      {"{\"a\":[]}", 0, "unexpected an array"},
      {"{\"a\":null}", 0, "unexpected null"},
      {"{\"a\":true}", 0, "unexpected a boolean"},
      {"{\"a\":{}}", 0, "lacks one of"},
      {object(entry("a", good), entry("a", good)), 4, "the name a occurs twice"},
      {"{\"__metadata__\":{\"k\":1}}", 0, "unexpected a number"},
      {"{\"__metadata__\":{\"k\":{}}}", 0, "unexpected an object"},
      {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "occurs twice"},
      {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "occurs twice"},
      {one(R"("dtype":"I64","shape":[1],"data_offsets":[0,8])"), 8, "dtype I64 is not supported"},
      {one(R"("dtype":"f32","shape":[1],"data_offsets":[0,4])"), 4, "dtype f32 is not supported"},
      {one(R"("dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4])"), 4, "occurs twice"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4],"extra":1)"), 4, "unknown key extra"},
      {one(R"("dtype":"F32","shape":[1])"), 0, "lacks one of"},
      {one(R"("dtype":"F32","shape":[[1]],"data_offsets":[0,4])"), 4, "unexpected an array"},
      {one(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"), 4, "negative number"},
      {one(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])"), 4, "not an integer"},
      {one(R"("dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4])"), 4, "not an integer"},
      {one(R"("dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4])"), 4, "dimension beyond"},
      {one(R"("dtype":"F32","shape":[4611686018427387905,4],"data_offsets":[0,16])"), 16, "does not fit"},
      {one(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"), 4, "does not fit 4 bytes"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[0,5])"), 5, "does not fit 5 bytes"},
      {one(R"("dtype":"F16","shape":[1],"data_offsets":[0,4])"), 4, "does not fit"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[0])"), 4, "two numbers"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4,8])"), 4, "third data offset"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])"), 4, "outside"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])"), 3, "outside"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])"), 5, "belong to no tensor"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"), 8, "a gap or an overlap"},
      {object(entry("a", good), entry("b", R"("dtype":"F32","shape":[1],"data_offsets":[2,6])")), 6,
       "a gap or an overlap"},
      {object(entry("a", good), entry("b", good)), 4, "a gap or an overlap"},
      {"{\"\xff\":{}}", 0, "not valid JSON"},
  };
  for (const Fault& fault : faults) {
    auto result = read_safetensors(file_of(fault.header, fault.data_size), "w.safetensors");
    ASSERT_FALSE(result) << fault.header;
    EXPECT_EQ(result.error().code, Errc::kData);
    EXPECT_EQ(result.error().where.rfind("w.safetensors", 0), 0u);
    EXPECT_NE(result.error().what.find(fault.reason), std::string::npos) << fault.header << ": " << result.error().what;
  }
}

TEST(SafetensorsReader, HeaderLengthsBeyondTheFileOrTheLimitAreRefused) {
  EXPECT_FALSE(read_safetensors({}, "f"));
  EXPECT_FALSE(read_safetensors(file_of("{}", 0, 3), "f"));
  for (uint64_t claimed : {kMaxSafetensorsHeaderBytes, kMaxSafetensorsHeaderBytes + 1, uint64_t{UINT64_MAX}}) {
    EXPECT_FALSE(read_safetensors(file_of("{}", 0, claimed), "f"));
  }
}

TEST(SafetensorsReader, DeepNestingNeitherCrashesNorIsAccepted) {
  for (const char* bracket : {"[", "{\"a\":"}) {
    std::string header = "{\"a\":";
    for (int i = 0; i < 1'000'000; ++i) header += bracket;
    EXPECT_FALSE(read_safetensors(file_of(header + "}", 0), "f"));
  }
}

TEST(SafetensorsReader, HostileNamesAreMadePrintableInMessages) {
  auto result = read_safetensors(file_of("{\"\\u001b[2J\":{}}", 0), "f");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message().find('\x1b'), std::string::npos);
  EXPECT_NE(result.error().message().find("\\x1b"), std::string::npos);
}

TEST(SafetensorsReader, EveryTruncationIsAnError) {
  Bytes bytes = published_file();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(read_safetensors(std::span(bytes).first(size), "cut")) << size;
  }
}

TEST(SafetensorsReader, EveryFlippedBitIsRefusedOrReadAsWhatItSays) {
  Bytes bytes = published_file();
  size_t data_begin = bytes.size() - sizeof kPublishedData;
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    Bytes changed = bytes;
    changed[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    auto file = read_safetensors(changed, "flipped");
    if (bit / 8 >= data_begin) {
      ASSERT_TRUE(file) << "any data is data";
    } else if (file) {
      // A changed name, dimension of equal product, format of equal size or metadata text: still four tensors of 8
      // values.
      size_t values = 0;
      for (const NamedTensor& tensor : file->tensors) values += tensor.values.size();
      EXPECT_EQ(file->tensors.size(), 4u);
      EXPECT_EQ(values, 8u) << "bit " << bit;
    }
  }
}

TEST(SafetensorsReader, ArbitraryHeadersNeverCrash) {
  rc::check("read_safetensors answers on any header", [] {
    auto pieces = *rc::gen::container<std::vector<std::string>>(
        rc::gen::element<std::string>("{", "}", "[", "]", ",", ":", "\"a\"", "\"dtype\"", "\"F32\"", "\"shape\"",
                                      "\"data_offsets\"", "0", "4", "-1", "1e9", "null", "\"__metadata__\"", " "));
    std::string header = "{";
    for (const std::string& piece : pieces) header += piece;
    auto result = read_safetensors(file_of(header, 4), "fuzz");
    if (!result) RC_ASSERT(result.error().code == Errc::kData);
  });
}

}  // namespace
}  // namespace fairway::quant
