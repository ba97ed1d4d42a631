/// How idle OpenMP threads wait.
#pragma once

namespace fairway::cli {

/// Threads that spin while they wait starve each other when the machine has other work (or several ranks): a training step then
/// takes up to twenty times as long. OpenMP reads its wait policy before main, so unless the user has chosen one, this sets a
/// short spin and starts the program again, once. Returns if there is nothing to do.
void choose_wait_policy(char** argv);

}  // namespace fairway::cli
