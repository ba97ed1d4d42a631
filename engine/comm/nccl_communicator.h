/// The NCCL communicator: int64 sums and maxima between GPUs (NUMERICS.md, N7). Integer addition makes the algorithm,
/// the protocol and the number of ranks irrelevant to the bits.
///
/// Ranks meet over the communicator they were started with (MPI) or over the TCP store; builds that differ are refused
/// there. A rank that is lost, or an error of NCCL's own, aborts the communicator and is a cuda::DeviceError on every
/// rank that notices, within `kPatience`.
#pragma once

#include <chrono>
#include <memory>
#include <string_view>

#include "engine/comm/communicator.h"
#include "engine/comm/tcp_store.h"
#include "kernels/cuda/device.h"

namespace fairway::comm {

/// How long a collective call may take.
constexpr std::chrono::minutes kPatience{10};

/// Collective over `meeting`. Sums begun on the device run on a stream of their own, beside what its stream does
/// afterwards. Error kData if version lines differ.
Result<std::unique_ptr<Communicator>> create_nccl_communicator(cuda::Device& device, Communicator& meeting,
                                                               std::string_view identity);

/// Collective over the ranks of the store.
Result<std::unique_ptr<Communicator>> create_nccl_communicator(cuda::Device& device, const StoreAddress& store,
                                                               std::string_view identity);

}  // namespace fairway::comm
