#include "ledger/key.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

namespace fairway::ledger {
namespace {

constexpr uint64_t kMaxKeyFileBytes = 16384;

struct KeyDeleter {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct ContextDeleter {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
struct BioDeleter {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using KeyPointer = std::unique_ptr<EVP_PKEY, KeyDeleter>;
using ContextPointer = std::unique_ptr<EVP_MD_CTX, ContextDeleter>;
using BioPointer = std::unique_ptr<BIO, BioDeleter>;

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

struct PassphraseRequest {
  const PrivateKey::Passphrase* source;
  bool asked = false, answered = false;
};

int answer_passphrase(char* buffer, int size, int /*writing*/, void* data) {
  auto& request = *static_cast<PassphraseRequest*>(data);
  request.asked = true;
  std::optional<std::string> text = *request.source ? (*request.source)() : std::nullopt;
  if (!text || text->size() > static_cast<size_t>(size)) return -1;
  request.answered = true;
  std::memcpy(buffer, text->data(), text->size());
  OPENSSL_cleanse(text->data(), text->size());
  return static_cast<int>(text->size());
}

}  // namespace

bool verify_ed25519(const PublicKey& key, std::string_view message, const Signature& signature) {
  static const bool ready = sodium_init() >= 0;
  FAIRWAY_CHECK(ready);
  static_assert(crypto_sign_BYTES == std::tuple_size_v<Signature> &&
                crypto_sign_PUBLICKEYBYTES == std::tuple_size_v<PublicKey>);
  return crypto_sign_verify_detached(signature.data(), bytes_of(message), message.size(), key.data()) == 0;
}

struct PrivateKey::State {
  KeyPointer key;
};

PrivateKey::PrivateKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
PrivateKey::PrivateKey(PrivateKey&&) noexcept = default;
PrivateKey& PrivateKey::operator=(PrivateKey&&) noexcept = default;
PrivateKey::~PrivateKey() = default;

PrivateKey PrivateKey::generate() {
  KeyPointer key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  FAIRWAY_CHECK(key != nullptr);
  return PrivateKey(std::make_unique<State>(State{std::move(key)}));
}

PrivateKey PrivateKey::from_seed(const std::array<uint8_t, 32>& seed) {
  KeyPointer key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
  FAIRWAY_CHECK(key != nullptr);
  return PrivateKey(std::make_unique<State>(State{std::move(key)}));
}

Result<PrivateKey> PrivateKey::load(const std::string& path, const Passphrase& passphrase) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && (status.st_mode & 077) != 0) {
    return Error{Errc::kData, path, "the key file may be read by others; run `chmod 600` on it, or make a new key"};
  }
  FAIRWAY_ASSIGN(auto bytes, read_file(path, kMaxKeyFileBytes));
  const BioPointer bio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
  FAIRWAY_CHECK(bio != nullptr);
  PassphraseRequest request{&passphrase};
  KeyPointer key(PEM_read_bio_PrivateKey(bio.get(), nullptr, answer_passphrase, &request));
  OPENSSL_cleanse(bytes.data(), bytes.size());
  if (!key) {
    if (request.asked && !request.answered)
      return Error{Errc::kData, path, "the key is encrypted; give its passphrase"};
    if (request.asked) return Error{Errc::kData, path, "the passphrase does not open this key"};
    return Error{Errc::kData, path, "no private key in PEM; `fairway ledger init` makes one"};
  }
  if (EVP_PKEY_get_id(key.get()) != EVP_PKEY_ED25519) return Error{Errc::kData, path, "the key is not an Ed25519 key"};
  return PrivateKey(std::make_unique<State>(State{std::move(key)}));
}

Status PrivateKey::save(const std::string& path, std::string_view passphrase, FileSystem& system) const {
  const BioPointer bio(BIO_new(BIO_s_secmem()));
  FAIRWAY_CHECK(bio != nullptr);
  const EVP_CIPHER* cipher = passphrase.empty() ? nullptr : EVP_aes_256_cbc();
  FAIRWAY_CHECK(PEM_write_bio_PKCS8PrivateKey(bio.get(), state_->key.get(), cipher, passphrase.data(),
                                              static_cast<int>(passphrase.size()), nullptr, nullptr) == 1);
  char* text = nullptr;
  const long size_bytes = BIO_get_mem_data(bio.get(), &text);
  const int fd = system.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0 && errno == EEXIST) return Error{Errc::kUsage, path, "exists; a key file is never replaced"};
  if (fd < 0) return io_error(path, "create", errno);
  const auto bytes = std::as_bytes(std::span(text, static_cast<size_t>(size_bytes)));
  int error_number = 0;
  if (!system.write_all(fd, bytes) || system.fsync(fd) != 0) error_number = errno;
  if (system.close(fd) != 0 && error_number == 0) error_number = errno;
  if (error_number != 0) {
    system.unlink(path);
    return io_error(path, "write", error_number);
  }
  return sync_directory(parent_directory(path), system);
}

PublicKey PrivateKey::public_key() const {
  PublicKey key{};
  size_t size_bytes = key.size();
  FAIRWAY_CHECK(EVP_PKEY_get_raw_public_key(state_->key.get(), key.data(), &size_bytes) == 1);
  FAIRWAY_CHECK(size_bytes == key.size());
  return key;
}

Signature PrivateKey::sign(std::string_view message) const {
  const ContextPointer context(EVP_MD_CTX_new());
  FAIRWAY_CHECK(context != nullptr);
  FAIRWAY_CHECK(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, state_->key.get()) == 1);
  Signature signature{};
  size_t size_bytes = signature.size();
  FAIRWAY_CHECK(EVP_DigestSign(context.get(), signature.data(), &size_bytes, bytes_of(message), message.size()) == 1);
  FAIRWAY_CHECK(size_bytes == signature.size());
  return signature;
}

}  // namespace fairway::ledger
