/// Whatever the bytes, the ledger's readers return a value or an error; and what they accept is what they would write.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "engine/base/canonical_json.h"
#include "ledger/dsse.h"
#include "ledger/policy.h"
#include "ledger/proof.h"
#include "ledger/statement.h"
#include "ledger/tile.h"

using namespace fairway;
using namespace fairway::ledger;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 9) {
    case 0:
      if (const auto note = parse_note(text, "f")) FAIRWAY_CHECK(format_note(*note) == text);
      break;
    case 1:
      if (const auto checkpoint = parse_checkpoint(text, "f")) FAIRWAY_CHECK(checkpoint->text() == text);
      break;
    case 2:
      if (const auto proof = parse_inclusion_proof(text, "f")) FAIRWAY_CHECK(format_proof(*proof) == text);
      break;
    case 3:
      if (const auto proof = parse_consistency_proof(text, "f")) FAIRWAY_CHECK(format_proof(*proof) == text);
      break;
    case 4:
      if (const auto envelope = parse_envelope(text, "f")) FAIRWAY_CHECK(envelope_json(*envelope) == text);
      break;
    case 5:
      if (const auto key = parse_vkey(text, "f")) FAIRWAY_CHECK(format_vkey(*key) == text);
      break;
    case 6:
      (void)parse_policy(text, "f");
      break;
    case 7:
      if (const auto value = parse_canonical_json(text, "f")) {
        const auto statement = statement_from_json(*value, "f");
        FAIRWAY_CHECK(!statement || *canonical_json(to_json(*statement), "f") == text);
      }
      break;
    default:
      (void)decode_bundle(text, 3, "f");
  }
  return 0;
}
