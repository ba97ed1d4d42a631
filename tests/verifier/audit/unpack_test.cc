/// The packed scripts were made by Python (packed/make.py); each must give program.py back.
#include "verifier/audit/read/unpack.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <zlib.h>

#include <fstream>
#include <sstream>

#include "tests/verifier/audit/memory_folder.h"
#include "verifier/audit/audit.h"
#include "verifier/audit/limits.h"
#include "verifier/audit/read/decompress.h"

namespace fairway::audit {
namespace {

std::string file(const std::string& name) {
  std::ifstream in(std::string(FAIRWAY_SOURCE_DIR) + "/tests/verifier/audit/packed/" + name, std::ios::binary);
  EXPECT_TRUE(in) << name;
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

TEST(Unpack, EveryFormOfPackingGivesTheProgramBack) {
  const std::string program = file("program.py");
  for (const char* name : {"xz_one_line.py", "xz_nine.py", "xz_compile.py", "raw_lzma2.py", "alone.py",
                           "zlib_base85.py", "deflate_base64.py", "gzip_ascii85.py", "brotli_base85.py",
                           "concatenated.py", "joined_list.py", "variable.py", "linecache.py"}) {
    const UnpackResult r = unpack_source(file(name));
    ASSERT_EQ(r.sources.size(), 1u) << name << (r.problems.empty() ? "" : ": " + r.problems[0]);
    EXPECT_EQ(r.sources[0].text, program) << name;
    EXPECT_TRUE(r.problems.empty()) << name;
    EXPECT_GE(r.sources[0].line, 1) << name;
  }
}

TEST(Unpack, WhatIsPackedInsidePackedComesOutToo) {
  const UnpackResult r = unpack_source(file("nested.py"));
  ASSERT_EQ(r.sources.size(), 2u);
  EXPECT_NE(r.sources[0].text.find("zlib"), std::string::npos);
  EXPECT_EQ(r.sources[1].text, file("program.py"));
}

TEST(Unpack, ACompressedFileBesideTheScriptIsASource) {
  MemoryFolder folder("records/x",
                      {{"train_gpt.py", "import lzma\nexec(lzma.decompress(open('side.lzma','rb').read()))\n"},
                       {"side.lzma", file("side.lzma")}});
  const Facts facts = read_facts(folder);
  ASSERT_EQ(facts.sources.size(), 2u);
  EXPECT_EQ(facts.sources[1].name, "side.lzma!unpacked");
  EXPECT_EQ(facts.sources[1].text, file("program.py"));
}

TEST(Unpack, APlainScriptHasNothingToUnpack) { EXPECT_TRUE(unpack_source(file("program.py")).sources.empty()); }

std::string base64(std::string_view bytes) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t v = 0;
    for (size_t k = 0; k < 3; ++k) v = v << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) out += i + k <= bytes.size() ? kAlphabet[v >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::string deflated(const std::string& bytes) {
  uLongf size = compressBound(bytes.size());
  std::string out(size, 0);
  EXPECT_EQ(
      compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()),
      Z_OK);
  out.resize(size);
  return out;
}

TEST(Unpack, WhatComesOutIsBounded) {
  const std::string bomb = deflated(std::string(64 << 20, 'x'));
  const UnpackResult r = unpack_source("exec(zlib.decompress(base64.b64decode(\"" + base64(bomb) + "\")))");
  EXPECT_TRUE(r.sources.empty());
  ASSERT_EQ(r.problems.size(), 1u);
  EXPECT_NE(r.problems[0].find(std::to_string(limits::kUnpackedBytes)), std::string::npos) << r.problems[0];
  EXPECT_EQ(decompress(bomb, 1000)->bytes.size(), 1000u);
}

TEST(Unpack, NestingIsBounded) {
  std::string source = "import x\n" + std::string(300, '#');
  for (int i = 0; i < limits::kUnpackDepth + 3; ++i) {
    std::string noise;  // keeps each layer above the shortest packed string
    for (int k = 0; k < 400; ++k) noise += static_cast<char>('a' + (k * k + i * 7) % 26);
    source = "exec(zlib.decompress(base64.b64decode(\"" + base64(deflated(source + "#" + noise)) + "\")))\n";
  }
  const UnpackResult r = unpack_source(source);
  EXPECT_EQ(r.sources.size(), static_cast<size_t>(limits::kUnpackDepth));
  ASSERT_FALSE(r.problems.empty());
  EXPECT_NE(r.problems[0].find("more than"), std::string::npos);
}

TEST(Unpack, DamagedStringsAreReportedWhereTheyAreExecuted) {
  std::string source = file("xz_one_line.py");
  source.erase(source.find("b85decode(\"") + 200, 50);
  const UnpackResult r = unpack_source(source);
  EXPECT_TRUE(r.sources.empty());
  EXPECT_EQ(r.problems.size(), 1u);
}

RC_GTEST_PROP(Unpack, AnyLiteralIsReadWithoutHarm, (const std::string& text)) {
  unpack_source("exec(zlib.decompress(b85decode(b\"" + text + std::string(200, 'a') + "\")))");
  if (const auto out = decompress(text, 10)) RC_ASSERT(out->bytes.size() <= 10);
}

}  // namespace
}  // namespace fairway::audit
