#include "engine/base/endian.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>

namespace fairway {
namespace {

constexpr std::array<std::byte, 8> kBytes = {std::byte{0x01}, std::byte{0x82}, std::byte{0x03}, std::byte{0x84},
                                             std::byte{0x05}, std::byte{0x86}, std::byte{0x07}, std::byte{0x88}};

TEST(Endian, FirstByteIsTheLowestAtCompileTime) {
  static_assert(load_le16(kBytes.data()) == 0x8201);
  static_assert(load_le32(kBytes.data()) == 0x84038201);
  static_assert(load_le64(kBytes.data()) == 0x8807860584038201);
  static_assert(load_le_f32(std::array{std::byte{0}, std::byte{0}, std::byte{0xc0}, std::byte{0xbf}}.data()) == -1.5f);
}

RC_GTEST_PROP(Endian, StoreThenLoadAtAnyAlignmentGivesTheValueBackAndTouchesNoNeighbour, (uint64_t value)) {
  std::array<std::byte, 12> buffer;
  for (size_t shift = 1; shift < 4; ++shift) {
    buffer.fill(std::byte{0xaa});
    store_le64(buffer.data() + shift, value);
    RC_ASSERT(load_le64(buffer.data() + shift) == value);
    RC_ASSERT(buffer[shift - 1] == std::byte{0xaa});
    RC_ASSERT(buffer[shift + 8] == std::byte{0xaa});
    buffer.fill(std::byte{0xaa});
    store_le32(buffer.data() + shift, static_cast<uint32_t>(value));
    RC_ASSERT(load_le32(buffer.data() + shift) == static_cast<uint32_t>(value));
    RC_ASSERT(buffer[shift + 4] == std::byte{0xaa});
    buffer.fill(std::byte{0xaa});
    store_le16(buffer.data() + shift, static_cast<uint16_t>(value));
    RC_ASSERT(load_le16(buffer.data() + shift) == static_cast<uint16_t>(value));
    RC_ASSERT(buffer[shift + 2] == std::byte{0xaa});
  }
}

TEST(Endian, FloatKeepsTheBitsOfANan) {
  std::array<std::byte, 4> buffer;
  store_le32(buffer.data(), 0x7fa12345u);
  const float value = load_le_f32(buffer.data());
  std::array<std::byte, 4> again;
  store_le_f32(again.data(), value);
  EXPECT_EQ(again, buffer);
}

}  // namespace
}  // namespace fairway
