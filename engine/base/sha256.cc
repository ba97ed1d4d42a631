#include "engine/base/sha256.h"

#include <openssl/evp.h>

#include <bit>
#include <vector>

#include "engine/base/check.h"

namespace fairway {

struct Sha256::State {
  State() : context(EVP_MD_CTX_new()) {
    FAIRWAY_CHECK(context != nullptr);
    start();
  }
  ~State() { EVP_MD_CTX_free(context); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  // The algorithm is fetched once: in OpenSSL 3 an implicit fetch per message costs more than a short message itself.
  void start() {
    static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    FAIRWAY_CHECK(algorithm != nullptr);
    FAIRWAY_CHECK(EVP_DigestInit_ex(context, algorithm, nullptr) == 1);
  }
  EVP_MD_CTX* context;
};

std::string hex(const Digest& digest) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * digest.size());
  for (const uint8_t byte : digest) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::optional<Digest> digest_from_hex(std::string_view text) {
  Digest digest{};
  if (text.size() != 2 * digest.size()) return std::nullopt;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool decimal = c >= '0' && c <= '9';
    if (!decimal && !(c >= 'a' && c <= 'f')) return std::nullopt;
    digest[i / 2] = static_cast<uint8_t>(digest[i / 2] * 16 + (decimal ? c - '0' : c - 'a' + 10));
  }
  return digest;
}

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> bytes) { update(bytes.data(), bytes.size()); }

void Sha256::update(const void* data, size_t size_bytes) {
  if (size_bytes == 0) return;
  FAIRWAY_CHECK(EVP_DigestUpdate(state_->context, data, size_bytes) == 1);
}

Digest Sha256::finish() {
  Digest digest;
  unsigned int size_bytes = 0;
  FAIRWAY_CHECK(EVP_DigestFinal_ex(state_->context, digest.data(), &size_bytes) == 1);
  FAIRWAY_CHECK(size_bytes == digest.size());
  state_->start();
  return digest;
}

Digest sha256(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

Digest sha256(std::string_view bytes) { return sha256(std::as_bytes(std::span(bytes))); }

Result<Digest> sha256_file(const std::string& path, FileSystem& system) {
  FAIRWAY_ASSIGN(InputFile file, InputFile::open(path, system));
  Sha256 hash;
  std::vector<std::byte> piece(size_t{1} << 20);
  for (;;) {
    FAIRWAY_ASSIGN(const size_t count, file.read(piece));
    if (count == 0) return hash.finish();
    hash.update(piece.data(), count);
  }
}

Digest merkle_leaf(std::span<const std::byte> data) {
  const uint8_t prefix = 0x00;
  Sha256 hash;
  hash.update(&prefix, 1);
  hash.update(data);
  return hash.finish();
}

namespace {

Digest merkle_subtree(Sha256& hash, std::span<const Digest> leaves) {
  if (leaves.size() == 1) return leaves[0];
  const size_t split = std::bit_floor(leaves.size() - 1);
  const Digest left = merkle_subtree(hash, leaves.first(split));
  const Digest right = merkle_subtree(hash, leaves.subspan(split));
  const uint8_t prefix = 0x01;
  hash.update(&prefix, 1);
  hash.update(left.data(), left.size());
  hash.update(right.data(), right.size());
  return hash.finish();
}

}  // namespace

Digest merkle_root(std::span<const Digest> leaves) {
  Sha256 hash;
  return leaves.empty() ? hash.finish() : merkle_subtree(hash, leaves);
}

}  // namespace fairway
