/// The NCCL communicator: int64 sums and maxima between GPUs (NUMERICS.md, N7). Integer addition makes the algorithm, the protocol and the
/// number of ranks irrelevant to the bits.
///
/// Ranks meet over the communicator they were started with (MPI) or over the TCP store; builds that differ are refused there. A rank that is lost, or an
/// error of NCCL's own, aborts the communicator and is a cuda::DeviceError on every rank that notices, within `kPatience`.
#pragma once

#include <chrono>
#include <memory>
#include <string_view>

#include "engine/comm/communicator.h"
#include "engine/comm/tcp_store.h"
#include "kernels/cuda/device.h"

namespace fairway::comm {

class NcclCommunicator : public Communicator {
 public:
  /// How long a collective call may take.
  static constexpr std::chrono::minutes kPatience{10};

  /// x[i] = sum over ranks of x[i], in device memory, queued on the device's stream.
  virtual void sum_on_device(int64_t* x, int64_t count) = 0;
  /// Waits for what was queued. Throws cuda::DeviceError if a rank was lost.
  virtual void wait() = 0;
};

/// Collective over `meeting`. Error kData if version lines differ.
Result<std::unique_ptr<NcclCommunicator>> create_nccl_communicator(cuda::Device& device, Communicator& meeting, std::string_view identity);

/// Collective over the ranks of the store.
Result<std::unique_ptr<NcclCommunicator>> create_nccl_communicator(cuda::Device& device, const StoreAddress& store, std::string_view identity);

}  // namespace fairway::comm
