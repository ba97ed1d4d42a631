/// Ranks as threads of one process: what MPI does, where a test can see it.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "engine/comm/communicator.h"
#include "kernels/cpu/parallel.h"

namespace fairway::test {

/// Thrown by a body, its rank dies; every other rank gets it from the collective call it waits in, or from its next.
struct LostRank : std::runtime_error {
  LostRank() : std::runtime_error("a rank was lost") {}
};

/// std::barrier, except that `abandon` ends the wait of all, now and later, with LostRank.
class Barrier {
 public:
  explicit Barrier(int size) : size_(size) {}
  void arrive_and_wait() {
    std::unique_lock lock(mutex_);
    if (abandoned_) throw LostRank();
    const uint64_t round = round_;
    if (++arrived_ == size_) {
      arrived_ = 0;
      ++round_;
      changed_.notify_all();
      return;
    }
    changed_.wait(lock, [&] { return round_ != round || abandoned_; });
    if (round_ == round) throw LostRank();
  }
  void abandon() {
    std::lock_guard lock(mutex_);
    abandoned_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int size_, arrived_ = 0;
  uint64_t round_ = 0;
  bool abandoned_ = false;
};

/// Calls body(communicator) once per rank, concurrently, and returns when all have. Every rank runs its loops on one thread.
///
/// Ranks must make the same collective calls; one that returns early makes the others wait for ever (ctest's timeout ends that).
inline void on_ranks(int size, const std::function<void(comm::Communicator&)>& body) {
  struct Shared {
    explicit Shared(int size) : barrier(size) {}
    Barrier barrier;
    std::mutex mutex;
    std::vector<int64_t> numbers;
    std::span<const std::byte> bytes;
  };
  class Rank : public comm::Communicator {
   public:
    Rank(Shared& shared, int rank, int size) : shared_(shared), rank_(rank), size_(size) {}
    int rank() const override { return rank_; }
    int size() const override { return size_; }
    void sum(std::span<int64_t> x) override {
      combine(x, [](int64_t a, int64_t b) { return a + b; });
    }
    int64_t max(int64_t x) override {
      combine(std::span(&x, 1), [](int64_t a, int64_t b) { return std::max(a, b); });
      return x;
    }
    void broadcast(std::span<std::byte> bytes) override {
      if (rank_ == 0) shared_.bytes = bytes;
      shared_.barrier.arrive_and_wait();
      if (rank_ != 0) std::memcpy(bytes.data(), shared_.bytes.data(), bytes.size());
      shared_.barrier.arrive_and_wait();
    }

   private:
    void combine(std::span<int64_t> x, int64_t (*f)(int64_t, int64_t)) {
      {
        // Whoever comes first starts the sum: the order of ranks is left to chance on purpose.
        std::lock_guard lock(shared_.mutex);
        if (shared_.numbers.empty()) {
          shared_.numbers.assign(x.begin(), x.end());
        } else {
          for (size_t i = 0; i < x.size(); ++i) shared_.numbers[i] = f(shared_.numbers[i], x[i]);
        }
      }
      shared_.barrier.arrive_and_wait();
      std::copy(shared_.numbers.begin(), shared_.numbers.end(), x.begin());
      shared_.barrier.arrive_and_wait();
      if (rank_ == 0) shared_.numbers.clear();
      shared_.barrier.arrive_and_wait();
    }
    Shared& shared_;
    int rank_, size_;
  };
  Shared shared(size);
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      kernels::set_thread_count(1);
      Rank rank(shared, r, size);
      try {
        body(rank);
      } catch (const LostRank&) {
        shared.barrier.abandon();
      }
    });
  }
  for (std::thread& t : threads) t.join();
}

}  // namespace fairway::test
