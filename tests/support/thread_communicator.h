/// Ranks as threads of one process: what MPI does, where a test can see it.
#pragma once

#include <algorithm>
#include <barrier>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/comm/communicator.h"
#include "kernels/cpu/parallel.h"

namespace fairway::test {

/// Calls body(communicator) once per rank, concurrently, and returns when all have. Every rank runs its loops on one thread.
///
/// Ranks must make the same collective calls; one that leaves early makes the others wait for ever (ctest's timeout ends that).
inline void on_ranks(int size, const std::function<void(comm::Communicator&)>& body) {
  struct Shared {
    explicit Shared(int size) : barrier(size) {}
    std::barrier<> barrier;
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
      body(rank);
    });
  }
  for (std::thread& t : threads) t.join();
}

}  // namespace fairway::test
