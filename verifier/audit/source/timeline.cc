#include "verifier/audit/source/timeline.h"

#include <algorithm>
#include <cctype>

namespace fairway::audit::source {

bool Timeline::inside(int loop, int outer) const {
  for (; loop != -1; loop = loops[static_cast<size_t>(loop)].parent) {
    if (loop == outer) return true;
  }
  return false;
}

int Timeline::common_loop(const Event& a, const Event& b) const {
  for (int loop = a.loop; loop != -1; loop = loops[static_cast<size_t>(loop)].parent) {
    if (inside(b.loop, loop)) return loop;
  }
  return -1;
}

bool Timeline::exclusive(const Event& a, const Event& b) {
  if (a.entry != b.entry) return true;
  for (const auto& [branch, arm] : a.arms) {
    for (const auto& [other_branch, other_arm] : b.arms) {
      if (branch == other_branch && arm != other_arm) return true;
    }
  }
  return false;
}

verifier::Evidence Timeline::evidence(const Span& span) const {
  return {files[static_cast<size_t>(span.file)], span.line, span.end_line > span.line ? span.end_line : 0};
}

std::vector<verifier::Evidence> Timeline::call_chain(const Event& event, int levels) const {
  std::vector<verifier::Evidence> calls;
  for (int at = event.invocation; at != -1 && levels > 0; --levels) {
    const Invocation& invocation = invocations[static_cast<size_t>(at)];
    calls.push_back(evidence(invocation.call));
    at = invocation.parent;
  }
  return calls;
}

std::string tag_of(std::string text) {
  size_t cut = std::string::npos;
  for (const char* word : {"val_loss", "val_bpb", "bpb"}) cut = std::min(cut, text.find(word));
  if (cut != std::string::npos) text.resize(cut);
  while (!text.empty() && (std::isspace(static_cast<unsigned char>(text.back())) || text.back() == ':' ||
                           text.back() == '|' || text.back() == '_'))
    text.pop_back();
  size_t begin = 0;
  while (begin < text.size() && std::isspace(static_cast<unsigned char>(text[begin]))) ++begin;
  return text.substr(begin);
}

}  // namespace fairway::audit::source
