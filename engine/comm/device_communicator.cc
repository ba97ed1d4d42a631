#include "engine/comm/device_communicator.h"

#if defined(FAIRWAY_WITH_NCCL)
#include "engine/comm/nccl_communicator.h"
#include "kernels/cuda/cuda_executor.h"
#endif

namespace fairway::comm {

bool built_with_nccl() {
#if defined(FAIRWAY_WITH_NCCL)
  return true;
#else
  return false;
#endif
}

Result<std::unique_ptr<Communicator>> create_device_communicator([[maybe_unused]] kernels::Executor& executor,
                                                                 std::unique_ptr<Communicator> meeting,
                                                                 const std::optional<StoreAddress>& store,
                                                                 std::string_view identity) {
  const bool alone = store ? store->size == 1 : meeting->size() == 1;
  if (alone) return meeting;
#if defined(FAIRWAY_WITH_NCCL)
  cuda::Device& device = cuda::device_of(executor);
  if (store) return create_nccl_communicator(device, *store, identity);
  return create_nccl_communicator(device, *meeting, identity);
#else
  if (store) return Error{Errc::kUnavailable, "WORLD_SIZE", "this build has no NCCL; start ranks with mpirun"};
  FAIRWAY_TRY(same_build(*meeting, identity));
  return meeting;
#endif
}

}  // namespace fairway::comm
