#include "engine/comm/nccl_communicator.h"

#include <cuda_runtime.h>
#include <nccl.h>

#include <algorithm>
#include <string>
#include <thread>

#include "kernels/cuda/check.h"

namespace fairway::comm {
namespace {

void check(ncclResult_t code, const char* call) {
  if (code != ncclSuccess && code != ncclInProgress)
    throw cuda::DeviceError(std::string("NCCL: ") + ncclGetErrorString(code) + " from " + call);
}
#define FAIRWAY_NCCL(call) check((call), #call)

class Nccl : public Communicator {
 public:
  Nccl(cuda::Device& device, const ncclUniqueId& id, int rank, int size, int local_rank)
      : device_(device), staging_(device, "NCCL's staging"), rank_(rank), size_(size), local_rank_(local_rank) {
    FAIRWAY_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    FAIRWAY_CUDA(cudaEventCreateWithFlags(&queued_, cudaEventDisableTiming));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;  // so that a rank that is lost can be noticed
    FAIRWAY_NCCL(ncclCommInitRankConfig(&comm_, size, id, rank, &config));
    wait_for_nccl("ncclCommInitRankConfig");
  }
  ~Nccl() override {
    // Errors cannot be thrown from here; whatever failed before was reported by the call that met it.
    if (comm_ != nullptr) ncclCommAbort(comm_);
    cudaEventDestroy(queued_);
    cudaStreamDestroy(stream_);
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_rank() const override { return local_rank_; }
  const char* sums_over() const override { return "NCCL, beside the backward pass"; }

  void sum(std::span<int64_t> x) override { staged(x.data(), x.size() * sizeof(int64_t), ncclInt64, ncclSum); }
  int64_t max(int64_t x) override {
    staged(&x, sizeof x, ncclInt64, ncclMax);
    return x;
  }
  void broadcast(std::span<std::byte> bytes) override {
    for (size_t at = 0; at < bytes.size(); at += kStagingBytes) {
      const size_t n = std::min(kStagingBytes, bytes.size() - at);
      staging_.upload(bytes.data() + at, n);
      follow_device();
      FAIRWAY_NCCL(ncclBroadcast(staging_.data(), staging_.data(), n, ncclInt8, 0, comm_, stream_));
      wait_for_nccl("ncclBroadcast");
      wait();
      staging_.download(bytes.data() + at);
    }
  }
  void begin_sum(kernels::Memory* memory, int64_t* x, size_t count) override {
    if (memory != &device_) return Communicator::begin_sum(memory, x, count);
    follow_device();
    FAIRWAY_NCCL(ncclAllReduce(x, x, count, ncclInt64, ncclSum, comm_, stream_));
    wait_for_nccl("ncclAllReduce");
  }
  void finish_sums() override {
    wait();
    Communicator::finish_sums();
  }

 private:
  static constexpr size_t kStagingBytes = size_t{64} << 20;

  /// What is put on this stream next comes after all that the device's own has queued.
  void follow_device() {
    FAIRWAY_CUDA(cudaEventRecord(queued_, device_.stream()));
    FAIRWAY_CUDA(cudaStreamWaitEvent(stream_, queued_, 0));
  }
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
  /// Until the stream has done what was put on it. Whoever waited for the device alone would not learn of a lost rank.
  void wait() {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    for (;;) {
      const cudaError_t state = cudaStreamQuery(stream_);
      if (state == cudaSuccess) return;
      if (state != cudaErrorNotReady) FAIRWAY_CUDA(state);
      ncclResult_t of_comm = ncclSuccess;
      FAIRWAY_NCCL(ncclCommGetAsyncError(comm_, &of_comm));
      if (of_comm != ncclSuccess && of_comm != ncclInProgress) lost(ncclGetErrorString(of_comm));
      if (std::chrono::steady_clock::now() > deadline) lost("a collective call did not end in time");
      std::this_thread::yield();
    }
  }
  void staged(void* x, size_t bytes, ncclDataType_t type, ncclRedOp_t operation) {
    for (size_t at = 0; at < bytes; at += kStagingBytes) {
      const size_t n = std::min(kStagingBytes, bytes - at);
      std::byte* from = static_cast<std::byte*>(x) + at;
      staging_.upload(from, n);
      follow_device();
      FAIRWAY_NCCL(
          ncclAllReduce(staging_.data(), staging_.data(), n / sizeof(int64_t), type, operation, comm_, stream_));
      wait_for_nccl("ncclAllReduce");
      wait();
      staging_.download(from);
    }
  }

  cuda::Device& device_;
  cuda::DeviceBuffer<std::byte> staging_;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t queued_ = nullptr;
  ncclComm_t comm_ = nullptr;
  int rank_, size_, local_rank_;
};

}  // namespace

Result<std::unique_ptr<Communicator>> create_nccl_communicator(cuda::Device& device, Communicator& meeting,
                                                               std::string_view identity) {
  FAIRWAY_TRY(same_build(meeting, identity));
  ncclUniqueId id{};
  if (meeting.is_root()) FAIRWAY_NCCL(ncclGetUniqueId(&id));
  meeting.broadcast(std::as_writable_bytes(std::span(&id, 1)));
  return std::unique_ptr<Communicator>(
      std::make_unique<Nccl>(device, id, meeting.rank(), meeting.size(), meeting.local_rank()));
}

Result<std::unique_ptr<Communicator>> create_nccl_communicator(cuda::Device& device, const StoreAddress& store,
                                                               std::string_view identity) {
  ncclUniqueId id{};
  if (store.rank == 0) FAIRWAY_NCCL(ncclGetUniqueId(&id));
  FAIRWAY_TRY(share_through_store(store, identity, std::as_writable_bytes(std::span(&id, 1)), std::chrono::minutes(2)));
  return std::unique_ptr<Communicator>(std::make_unique<Nccl>(device, id, store.rank, store.size, store.local_rank));
}

}  // namespace fairway::comm
