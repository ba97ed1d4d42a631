/// The ranks of a run on GPUs, each with one of its own.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "engine/comm/communicator.h"
#include "engine/comm/tcp_store.h"
#include "kernels/executor.h"

namespace fairway::comm {

/// True if the build has NCCL.
bool built_with_nccl();

/// Collective over the ranks of `store`, or, without one, of `meeting`. NCCL between their GPUs where the build has it;
/// else `meeting` itself, whose sums go through the host with the same bits. One rank: `meeting`. `executor` is that of
/// this rank's GPU (cuda_executor.h) and must outlive the communicator. Errors: kData if builds differ, kUnavailable if
/// ranks of a store cannot meet or the build lacks NCCL.
Result<std::unique_ptr<Communicator>> create_device_communicator(kernels::Executor& executor,
                                                                 std::unique_ptr<Communicator> meeting,
                                                                 const std::optional<StoreAddress>& store,
                                                                 std::string_view identity);

}  // namespace fairway::comm
