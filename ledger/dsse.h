/// DSSE envelopes (secure-systems-lab/dsse v1): a payload, its type, and signatures over both.
///
/// An envelope is itself canonical JSON, so that it has one text and its hash is its name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ledger/key.h"

namespace fairway::ledger {

inline constexpr std::string_view kInTotoPayloadType = "application/vnd.in-toto+json";

struct Envelope {
  struct SignatureEntry {
    std::string keyid;  ///< a hint, not authenticated
    std::string sig;    ///< the bytes
  };
  std::string payload_type;
  std::string payload;
  std::vector<SignatureEntry> signatures;
};

/// What is signed: "DSSEv1 " and type and payload, each behind its length.
std::string pre_authentication_encoding(std::string_view payload_type, std::string_view payload);

/// The hint for a key: SHA-256, in hexadecimal, of its SubjectPublicKeyInfo in DER.
std::string dsse_keyid(const PublicKey& key);

Envelope sign_envelope(std::string payload_type, std::string payload, const PrivateKey& key);

std::string envelope_json(const Envelope& envelope);

/// kData unless `text` is canonical JSON of an envelope with 1 to 16 signatures and no other keys.
Result<Envelope> parse_envelope(std::string_view text, const std::string& where);

/// kDisproved unless `key` has signed; keyids are not looked at.
Status verify_envelope(const Envelope& envelope, const PublicKey& key, const std::string& where);

}  // namespace fairway::ledger
