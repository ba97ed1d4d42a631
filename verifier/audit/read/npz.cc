#include "verifier/audit/read/npz.h"

#include <algorithm>
#include <string>

#include "verifier/audit/read/decompress.h"
#include "verifier/audit/read/text.h"

namespace fairway::audit {
namespace {

using namespace std::string_view_literals;

/// Little-endian; the caller has checked that the bytes are there.
uint64_t little(std::string_view s, size_t at, size_t width) {
  uint64_t v = 0;
  for (size_t i = 0; i < width; ++i) v |= static_cast<uint64_t>(static_cast<unsigned char>(s[at + i])) << (8 * i);
  return v;
}

struct Member {
  std::string_view name, data;
  bool deflated = false;
  size_t next = 0;  ///< where the following header starts
};

/// A local file header of a zip archive (APPNOTE 4.3.7); sizes may stand in the zip64 field (4.5.3), as NumPy writes
/// them.
std::optional<Member> member_at(std::string_view zip, size_t at) {
  if (at > zip.size() || zip.size() - at < 30 || !zip.substr(at).starts_with("PK\x03\x04"sv)) return std::nullopt;
  const uint64_t method = little(zip, at + 8, 2), name_length = little(zip, at + 26, 2),
                 extra_length = little(zip, at + 28, 2);
  uint64_t packed = little(zip, at + 18, 4);
  const size_t name_at = at + 30, extra_at = name_at + name_length, data_at = extra_at + extra_length;
  if (data_at > zip.size() || (method != 0 && method != 8)) return std::nullopt;
  for (size_t e = extra_at; packed == 0xFFFFFFFF && e + 4 <= data_at;) {
    const uint64_t id = little(zip, e, 2), length = little(zip, e + 2, 2);
    if (e + 4 + length > data_at) break;
    if (id == 1 && length >= 16) packed = little(zip, e + 12, 8);
    e += 4 + length;
  }
  if (packed > zip.size() - data_at) return std::nullopt;
  return Member{zip.substr(name_at, name_length), zip.substr(data_at, packed), method == 8, data_at + packed};
}

/// The values of a .npy file of format 1 to 3: a header that is a Python dictionary, then the array.
std::optional<std::vector<int64_t>> integers_of(std::string_view npy, size_t max_values) {
  if (npy.size() < 12 || !npy.starts_with("\x93NUMPY"sv)) return std::nullopt;
  const size_t width_of_length = npy[6] == 1 ? 2 : 4;
  const size_t header_length = little(npy, 8, width_of_length), data_at = 8 + width_of_length + header_length;
  if (header_length > npy.size() || data_at > npy.size()) return std::nullopt;
  const std::string_view header = npy.substr(8 + width_of_length, header_length);
  const size_t descr = header.find("'descr': '"), shape = header.find("'shape': (");
  if (descr == std::string_view::npos || shape == std::string_view::npos || descr + 13 > header.size())
    return std::nullopt;
  const char order = header[descr + 10], kind = header[descr + 11];
  const size_t width = static_cast<size_t>(header[descr + 12] - '0');
  size_t length = 0;
  const auto count = integer_at(header.substr(shape + 10), &length);
  const bool flat = count && header.substr(shape + 10 + length).starts_with(",)");
  if (order == '>' || (kind != 'i' && kind != 'u' && kind != 'b') ||
      (width != 1 && width != 2 && width != 4 && width != 8) || !flat)
    return std::nullopt;
  const auto n = static_cast<size_t>(*count);
  if (n > max_values || n * width > npy.size() - data_at) return std::nullopt;
  std::vector<int64_t> out(n);
  for (size_t i = 0; i < n; ++i) {
    const uint64_t v = little(npy, data_at + i * width, width);
    const unsigned unused = static_cast<unsigned>(64 - 8 * width);
    out[i] = kind == 'i' ? static_cast<int64_t>(v << unused) >> unused : static_cast<int64_t>(v);
  }
  return out;
}

}  // namespace

std::optional<std::vector<int64_t>> read_npz_integers(std::string_view archive, std::string_view name,
                                                      size_t max_values) {
  size_t at = 0;
  for (int members = 0; members < 64; ++members) {
    const auto member = member_at(archive, at);
    if (!member) return std::nullopt;
    at = member->next;
    if (member->name != std::string(name) + ".npy") continue;
    if (!member->deflated) return integers_of(member->data, max_values);
    const auto plain = decompress_deflate(member->data, max_values * 8 + 4096);
    return plain && !plain->too_large ? integers_of(plain->bytes, max_values) : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace fairway::audit
