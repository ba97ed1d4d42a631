#include "ledger/dsse.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/base/canonical_json.h"
#include "engine/base/sha256.h"
#include "ledger/base64.h"

namespace fairway::ledger {
namespace {

using nlohmann::json;

constexpr size_t kMaxSignatures = 16;
// SEQUENCE { SEQUENCE { OID 1.3.101.112 } BIT STRING } up to the key's 32 bytes (RFC 8410).
constexpr std::string_view kSpkiPrefix{"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", 12};

Error not_an_envelope(const std::string& where, std::string_view what) {
  return Error{Errc::kData, where, fmt::format("no DSSE envelope: {}", what)};
}

bool is_object_of(const json& value, std::initializer_list<const char*> strings, size_t others) {
  if (!value.is_object() || value.size() != strings.size() + others) return false;
  return std::all_of(strings.begin(), strings.end(),
                     [&](const char* key) { return value.contains(key) && value.at(key).is_string(); });
}

}  // namespace

std::string pre_authentication_encoding(std::string_view payload_type, std::string_view payload) {
  return fmt::format("DSSEv1 {} {} {} {}", payload_type.size(), payload_type, payload.size(), payload);
}

std::string dsse_keyid(const PublicKey& key) {
  Sha256 hash;
  hash.update(kSpkiPrefix.data(), kSpkiPrefix.size());
  hash.update(key.data(), key.size());
  return hex(hash.finish());
}

Envelope sign_envelope(std::string payload_type, std::string payload, const PrivateKey& key) {
  const Signature signature = key.sign(pre_authentication_encoding(payload_type, payload));
  return Envelope{
      std::move(payload_type),
      std::move(payload),
      {{dsse_keyid(key.public_key()), std::string(reinterpret_cast<const char*>(signature.data()), signature.size())}}};
}

std::string envelope_json(const Envelope& envelope) {
  json signatures = json::array();
  for (const auto& s : envelope.signatures) signatures.push_back({{"keyid", s.keyid}, {"sig", base64_encode(s.sig)}});
  // Three ASCII keys in the order of their bytes, and no numbers: what dump gives is canonical.
  return json{
      {"payload", base64_encode(envelope.payload)}, {"payloadType", envelope.payload_type}, {"signatures", signatures}}
      .dump();
}

Result<Envelope> parse_envelope(std::string_view text, const std::string& where) {
  FAIRWAY_ASSIGN(const json value, parse_canonical_json(text, where));
  if (!is_object_of(value, {"payload", "payloadType"}, 1) || !value.contains("signatures") ||
      !value.at("signatures").is_array()) {
    return not_an_envelope(where, "it needs payload, payloadType and signatures, and nothing else");
  }
  auto payload = base64_decode(value.at("payload").get_ref<const std::string&>());
  if (!payload) return not_an_envelope(where, "the payload is not base64");
  Envelope envelope{value.at("payloadType").get<std::string>(), std::move(*payload), {}};
  const json& signatures = value.at("signatures");
  if (signatures.empty() || signatures.size() > kMaxSignatures)
    return not_an_envelope(where, "1 to 16 signatures are allowed");
  for (const json& s : signatures) {
    if (!is_object_of(s, {"keyid", "sig"}, 0)) return not_an_envelope(where, "a signature needs keyid and sig");
    auto sig = base64_decode(s.at("sig").get_ref<const std::string&>());
    if (!sig) return not_an_envelope(where, "a signature is not base64");
    envelope.signatures.push_back({s.at("keyid").get<std::string>(), std::move(*sig)});
  }
  return envelope;
}

Status verify_envelope(const Envelope& envelope, const PublicKey& key, const std::string& where) {
  const std::string message = pre_authentication_encoding(envelope.payload_type, envelope.payload);
  for (const auto& s : envelope.signatures) {
    Signature signature{};
    if (s.sig.size() != signature.size()) continue;
    std::copy(s.sig.begin(), s.sig.end(), signature.begin());
    if (verify_ed25519(key, message, signature)) return {};
  }
  return Error{Errc::kDisproved, where, "the statement is not signed by the key given, or its signature is false"};
}

}  // namespace fairway::ledger
