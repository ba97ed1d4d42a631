/// FAIRWAY_CHECK: an invariant of ours. Active in every build; aborts with the expression and the place.
/// Never for input: what the world gets wrong is an Error (result.h).
#pragma once

#include <cstdio>
#include <cstdlib>

namespace fairway {
[[noreturn]] inline void check_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "fairway: internal error: %s does not hold at %s:%d\n", expression, file, line);
  std::abort();
}
}  // namespace fairway

#define FAIRWAY_CHECK(expression) \
  ((expression) ? (void)0 : ::fairway::check_failed(#expression, __FILE__, __LINE__))
