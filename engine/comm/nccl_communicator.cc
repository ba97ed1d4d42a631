#include "engine/comm/nccl_communicator.h"

#include <cuda_runtime.h>
#include <nccl.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <thread>

#include "kernels/cuda/check.h"

namespace fairway::comm {
namespace {

void check(ncclResult_t code, const char* call) {
  if (code != ncclSuccess && code != ncclInProgress) throw cuda::DeviceError(std::string("NCCL: ") + ncclGetErrorString(code) + " from " + call);
}
#define FAIRWAY_NCCL(call) check((call), #call)

class Nccl : public NcclCommunicator {
 public:
  Nccl(cuda::Device& device, const ncclUniqueId& id, int rank, int size) : device_(device), staging_(device, "NCCL's staging"), rank_(rank), size_(size) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;  // so that a rank that is lost can be noticed
    FAIRWAY_NCCL(ncclCommInitRankConfig(&comm_, size, id, rank, &config));
    wait_for_nccl("ncclCommInitRankConfig");
  }
  ~Nccl() override {
    if (comm_ != nullptr) ncclCommAbort(comm_);
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void sum(std::span<int64_t> x) override { staged(x.data(), x.size() * sizeof(int64_t), ncclInt64, ncclSum); }
  int64_t max(int64_t x) override {
    staged(&x, sizeof x, ncclInt64, ncclMax);
    return x;
  }
  void broadcast(std::span<std::byte> bytes) override {
    for (size_t at = 0; at < bytes.size(); at += kStagingBytes) {
      const size_t n = std::min(kStagingBytes, bytes.size() - at);
      staging_.upload(bytes.data() + at, n);
      FAIRWAY_NCCL(ncclBroadcast(staging_.data(), staging_.data(), n, ncclInt8, 0, comm_, device_.stream()));
      wait();
      staging_.download(bytes.data() + at);
    }
  }
  void sum_on_device(int64_t* x, int64_t count) override {
    FAIRWAY_NCCL(ncclAllReduce(x, x, static_cast<size_t>(count), ncclInt64, ncclSum, comm_, device_.stream()));
    wait_for_nccl("ncclAllReduce");
  }
  void wait() override {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    for (;;) {
      const cudaError_t state = cudaStreamQuery(device_.stream());
      if (state == cudaSuccess) return;
      if (state != cudaErrorNotReady) FAIRWAY_CUDA(state);
      ncclResult_t of_comm = ncclSuccess;
      FAIRWAY_NCCL(ncclCommGetAsyncError(comm_, &of_comm));
      if (of_comm != ncclSuccess && of_comm != ncclInProgress) lost(ncclGetErrorString(of_comm));
      if (std::chrono::steady_clock::now() > deadline) lost("a collective call did not end in time");
      std::this_thread::yield();
    }
  }

 private:
  static constexpr size_t kStagingBytes = size_t{64} << 20;

  [[noreturn]] void lost(const std::string& why) {
    ncclCommAbort(std::exchange(comm_, nullptr));
    throw cuda::DeviceError("rank " + std::to_string(rank_) + " stops because another rank was lost or failed (" + why +
                            "); start again, the run goes on from its last checkpoint");
  }
  /// A call of a communicator that does not block is done when its state is no longer "in progress".
  void wait_for_nccl(const char* call) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    for (ncclResult_t state = ncclInProgress; state == ncclInProgress; std::this_thread::yield()) {
      FAIRWAY_NCCL(ncclCommGetAsyncError(comm_, &state));
      if (state != ncclSuccess && state != ncclInProgress) lost(std::string(call) + ": " + ncclGetErrorString(state));
      if (std::chrono::steady_clock::now() > deadline) lost(std::string(call) + " did not end in time");
    }
  }
  void staged(void* x, size_t bytes, ncclDataType_t type, ncclRedOp_t operation) {
    for (size_t at = 0; at < bytes; at += kStagingBytes) {
      const size_t n = std::min(kStagingBytes, bytes - at);
      std::byte* from = static_cast<std::byte*>(x) + at;
      staging_.upload(from, n);
      FAIRWAY_NCCL(ncclAllReduce(staging_.data(), staging_.data(), n / sizeof(int64_t), type, operation, comm_, device_.stream()));
      wait_for_nccl("ncclAllReduce");
      wait();
      staging_.download(from);
    }
  }

  cuda::Device& device_;
  cuda::DeviceBuffer<std::byte> staging_;
  ncclComm_t comm_ = nullptr;
  int rank_, size_;
};

}  // namespace

Result<std::unique_ptr<NcclCommunicator>> create_nccl_communicator(cuda::Device& device, Communicator& meeting, std::string_view identity) {
  // The line of rank 0, cut or filled to one size; whoever differs says so to all.
  std::byte line[256] = {};
  std::memcpy(line, identity.data(), std::min(identity.size(), sizeof line));
  std::byte first[sizeof line];
  std::memcpy(first, line, sizeof line);
  meeting.broadcast(first);
  const bool same = std::memcmp(first, line, sizeof line) == 0;
  FAIRWAY_TRY(agree(meeting, same ? Status() : Status(Error{Errc::kData, "rank " + std::to_string(meeting.rank()),
                                                            "this rank is another build than rank 0: \"" + std::string(identity) + "\"; start one build everywhere"})));
  ncclUniqueId id{};
  if (meeting.is_root()) FAIRWAY_NCCL(ncclGetUniqueId(&id));
  meeting.broadcast(std::as_writable_bytes(std::span(&id, 1)));
  return std::unique_ptr<NcclCommunicator>(std::make_unique<Nccl>(device, id, meeting.rank(), meeting.size()));
}

Result<std::unique_ptr<NcclCommunicator>> create_nccl_communicator(cuda::Device& device, const StoreAddress& store, std::string_view identity) {
  ncclUniqueId id{};
  if (store.rank == 0) FAIRWAY_NCCL(ncclGetUniqueId(&id));
  FAIRWAY_TRY(share_through_store(store, identity, std::as_writable_bytes(std::span(&id, 1)), std::chrono::minutes(2)));
  return std::unique_ptr<NcclCommunicator>(std::make_unique<Nccl>(device, id, store.rank, store.size));
}

}  // namespace fairway::comm
