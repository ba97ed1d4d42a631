/// How an error that a device tells late gets the name of the operation that met it.
#pragma once

#include "engine/base/result.h"
#include "kernels/executor.h"

namespace fairway::model {

/// The error of a device that told of a failure and, watched, does not fail.
inline Error failure_not_repeated() {
  return {Errc::kInternal, "--device cuda", "a failure did not repeat: this device does not compute the same twice"};
}

/// Runs `work`, which must start from what it has not changed. If the executor tells afterwards that a value could not
/// be used, once more with a look after every call; the error is then that of the CPU.
template <class Work>
Status checked(kernels::Executor& executor, const Work& work) {
  Status status = work();
  if (executor.sound()) return status;
  executor.watch(true);
  FAIRWAY_TRY(work());
  return failure_not_repeated();
}

}  // namespace fairway::model
