/// Sources: any bytes, as Python and as C, end in checks whose evidence lies inside the file.
#include <algorithm>
#include <cstdint>
#include <string>

#include "verifier/audit/source_audit.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairway::audit;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const int64_t lines = 1 + std::count(text.begin(), text.end(), '\n');
  Facts facts;
  facts.sources.push_back({"train_gpt.py", "train_gpt.py", Language::kPython, false, text});
  facts.sources.push_back({"hints.c", "hints.c", Language::kC, false, text});
  facts.readme = text;
  for (const fairway::verifier::Check& check : audit_source(facts)) {
    for (const fairway::verifier::Evidence& e : check.evidence) {
      if (e.line < 1 || e.line > lines || e.end_line > lines) __builtin_trap();
    }
  }
  return 0;
}
