/// A communicator that sums as NCCL does between GPUs, over one that knows nothing of devices.
#pragma once

#include "engine/base/check.h"
#include "engine/comm/communicator.h"
#include "tests/support/thread_communicator.h"

namespace fairway::test {

/// A sum is made from what is there when it begins and written when the sums finish; in between the array holds
/// rubbish. Who begins a sum too early, or reads or adds before the end, gets other bits.
class DeviceCommunicator : public comm::Communicator {
 public:
  /// The rank dies when it begins its sum number `dies_at`.
  explicit DeviceCommunicator(comm::Communicator& ranks, int64_t dies_at = -1) : ranks_(ranks), dies_at_(dies_at) {}
  int rank() const override { return ranks_.rank(); }
  int size() const override { return ranks_.size(); }
  void sum(std::span<int64_t> x) override { ranks_.sum(x); }
  int64_t max(int64_t x) override { return ranks_.max(x); }
  void broadcast(std::span<std::byte> bytes) override { ranks_.broadcast(bytes); }

  void begin_sum(kernels::Memory* memory, int64_t* x, size_t count) override {
    if (sums_++ == dies_at_) throw LostRank();
    // Every rank must sum the same array now.
    const int64_t n = static_cast<int64_t>(count), most = ranks_.max(n), least = -ranks_.max(-n);
    FAIRWAY_CHECK(most == n && least == n);
    Begun b{memory, x, std::vector<int64_t>(count)};
    const size_t bytes = count * sizeof(int64_t);
    if (memory != nullptr) {
      memory->copy_to_host(b.sum.data(), x, bytes);
    } else {
      std::copy_n(x, count, b.sum.begin());
    }
    write(b, std::vector<int64_t>(count, kRubbish));
    ranks_.sum(b.sum);
    begun_.push_back(std::move(b));
  }
  void finish_sums() override {
    for (const Begun& b : begun_) write(b, b.sum);
    begun_.clear();
  }
  /// How many sums this rank has begun.
  int64_t sums() const { return sums_; }

 private:
  static constexpr int64_t kRubbish = 0x123456789abcdef;
  struct Begun {
    kernels::Memory* memory;
    int64_t* x;
    std::vector<int64_t> sum;
  };
  static void write(const Begun& b, const std::vector<int64_t>& values) {
    if (b.memory != nullptr) return b.memory->copy_to_device(b.x, values.data(), values.size() * sizeof(int64_t));
    std::copy(values.begin(), values.end(), b.x);
  }

  comm::Communicator& ranks_;
  int64_t dies_at_, sums_ = 0;
  std::vector<Begun> begun_;
};

}  // namespace fairway::test
