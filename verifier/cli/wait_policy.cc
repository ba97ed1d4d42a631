#include "verifier/cli/wait_policy.h"

#include <unistd.h>

#include <cstdlib>
#include <initializer_list>

namespace fairway::cli {

void choose_wait_policy(char** argv) {
  for (const char* name : {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}) {
    if (std::getenv(name) != nullptr) return;
  }
  setenv("GOMP_SPINCOUNT", "10000", 1);  // libgomp: some tens of microseconds
  setenv("KMP_BLOCKTIME", "0", 1);       // libomp: milliseconds
  execv("/proc/self/exe", argv);
  // Without /proc the program goes on, only slower on a busy machine.
}

}  // namespace fairway::cli
