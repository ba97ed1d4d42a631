/// submission.json: any bytes give claims, with a problem where they are not JSON.
#include <cstdint>
#include <string>

#include "verifier/audit/read/submission_json.h"
#include "verifier/audit/read/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairway::audit;
  const Claims claims =
      read_submission_json("submission.json", decode_text(std::string(reinterpret_cast<const char*>(data), size)));
  if (!claims.present || claims.parsed != claims.problem.empty()) __builtin_trap();
  return 0;
}
