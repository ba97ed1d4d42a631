/// Logs: any bytes give runs whose facts lie inside the file.
#include <algorithm>
#include <cstdint>
#include <string>

#include "verifier/audit/read/log.h"
#include "verifier/audit/read/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairway::audit;
  const std::string text = decode_text(std::string(reinterpret_cast<const char*>(data), size));
  const int64_t lines = 1 + std::count(text.begin(), text.end(), '\n');
  std::vector<std::string> problems;
  for (const LoggedRun& run : read_log("train.log", text, problems)) {
    for (const ScoreLine& s : run.scores) {
      if (s.place.line < 1 || s.place.line > lines) __builtin_trap();
    }
    if (run.first_line < 1 || run.first_line > lines) __builtin_trap();
  }
  return 0;
}
