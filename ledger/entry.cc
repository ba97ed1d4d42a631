#include "ledger/entry.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/base/canonical_json.h"

namespace fairway::ledger {
namespace {

Result<Statement> read_statement(std::string_view text, const std::string& where) {
  FAIRWAY_ASSIGN(const auto value, parse_canonical_json(text, where));
  return statement_from_json(value, where);
}

}  // namespace

Result<std::string> make_entry(std::string_view statement_text, const PrivateKey& key, const std::string& where) {
  FAIRWAY_ASSIGN(const auto statement, read_statement(statement_text, where));
  (void)statement;  // only its shape matters here; the text is signed as it is
  std::string entry = envelope_json(sign_envelope(std::string(kInTotoPayloadType), std::string(statement_text), key));
  if (entry.size() > kMaxEntryBytes) {
    return Error{Errc::kData, where,
                 fmt::format("makes an entry of {} bytes, {} are allowed; move what is large into evidence",
                             entry.size(), kMaxEntryBytes)};
  }
  return entry;
}

Result<std::string> make_entry(const Statement& statement, const PrivateKey& key, const std::string& where) {
  FAIRWAY_ASSIGN(const auto text, canonical_json(to_json(statement), where));
  return make_entry(text, key, where);
}

Result<Statement> read_entry(std::string_view entry, const PublicKey& signer, const std::string& where) {
  FAIRWAY_ASSIGN(const Envelope envelope, parse_envelope(entry, where));
  if (envelope.payload_type != kInTotoPayloadType) {
    return Error{Errc::kData, where, fmt::format("the payload type must be {}", kInTotoPayloadType)};
  }
  FAIRWAY_TRY(verify_envelope(envelope, signer, where));
  return read_statement(envelope.payload, where);
}

}  // namespace fairway::ledger
