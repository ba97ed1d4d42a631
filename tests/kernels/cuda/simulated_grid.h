/// The grid of kernels/cuda/grid.h on a CPU, for tests: every thread is a fiber, blocks and threads run in an order drawn from a seed.
///
/// What it finds, beside wrong results: an access outside the memory that was declared, a read of what nobody wrote, two accesses to one
/// byte that nothing orders of which one writes (between threads of a block, and between blocks of a launch), a read of a copy that
/// was not waited for, a misaligned access, a barrier or a warp-wide operation that not all threads reach. The first finding is kept.
/// Not modelled: caches, memory models weaker than "a barrier orders everything", bank conflicts, time.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/cuda/grid.h"

namespace fairway::test {

using cuda::kWarp;

class Simulation;

/// Handed to a body; one per thread.
class SimulatedGrid {
 public:
  SimulatedGrid(Simulation& simulation, int64_t block, int64_t blocks, int thread)
      : simulation_(simulation), block_(block), blocks_(blocks), thread_(thread) {}
  int64_t block() const { return block_; }
  int64_t blocks() const { return blocks_; }
  int thread() const { return thread_; }
  template <class S>
  S& shared();
  template <class T>
  T load(const T* p);
  template <class T>
  void store(T* p, T v);
  void atomic_add(int64_t* p, int64_t v) { atomic(p, [v](int64_t x) { return static_cast<int64_t>(static_cast<uint64_t>(x) + static_cast<uint64_t>(v)); }); }
  void atomic_max(uint32_t* p, uint32_t v) { atomic(p, [v](uint32_t x) { return std::max(x, v); }); }
  void atomic_max(int32_t* p, int32_t v) { atomic(p, [v](int32_t x) { return std::max(x, v); }); }
  void atomic_or(uint32_t* p, uint32_t v) { atomic(p, [v](uint32_t x) { return x | v; }); }
  void barrier();
  void warp_barrier();
  template <class T>
  T shuffle_xor(T v, int mask);
  void load_matrices(const int8_t* row, uint32_t (&r)[4]);
  void mma_s8(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
  void copy_async(int8_t* to, const int8_t* from, bool valid);
  void commit();
  template <int N>
  void wait() { wait_until(N); }

 private:
  template <class T, class F>
  void atomic(T* p, const F& f);
  void wait_until(size_t groups_left);

  Simulation& simulation_;
  int64_t block_, blocks_;
  int thread_;
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : random_(seed) {}

  /// Memory a launch may read (and, `writable`, write); `defined`: it holds values already.
  template <class T>
  T* memory(T* data, size_t count, bool defined = true) {
    Region r;
    r.begin = reinterpret_cast<uintptr_t>(data);
    r.end = r.begin + count * sizeof(T);
    r.writable = !std::is_const_v<T>;
    r.bytes.resize(count * sizeof(T));
    for (Byte& b : r.bytes) b.defined = defined;
    regions_[r.begin] = std::move(r);
    return data;
  }
  /// Reads of what nobody wrote are no finding from here on; what is allocated later is watched again.
  void define_everything() {
    for (auto& [begin, region] : regions_) {
      for (Byte& b : region.bytes) b.defined = true;
    }
  }
  /// Memory that a launch may no longer touch.
  void forget(const void* data) { regions_.erase(reinterpret_cast<uintptr_t>(data)); }
  /// The host read or wrote `size` bytes between launches; false, and a finding, if they are not within one piece of memory, or read before they were written.
  bool host_access(const void* p, size_t size, bool writes) {
    const uintptr_t at = reinterpret_cast<uintptr_t>(p);
    Region* r = region_of(at, size);
    if (r == nullptr) return found("a copy outside memory"), false;
    for (size_t i = 0; i < size; ++i) {
      Byte& b = r->bytes[at - r->begin + i];
      if (!writes && !b.defined) return found("a copy of memory that nobody wrote"), false;
      if (writes) b.defined = true;
    }
    return true;
  }
  template <class T>
  const T* input(const std::vector<T>& v) { return memory(v.data(), v.size()); }
  template <class T>
  T* inout(std::vector<T>& v) { return memory(v.data(), v.size()); }
  /// Output: filled with a pattern, so that what is not written shows.
  template <class T>
  T* output(std::vector<T>& v) {
    std::memset(static_cast<void*>(v.data()), 0xa5, v.size() * sizeof(T));
    return memory(v.data(), v.size(), false);
  }

  template <class Body>
  void launch(const Body& body) {
    launch(body, body.blocks());
  }
  template <class Body>
  void launch(const Body& body, int64_t blocks) {
    static_assert(Body::kThreads % kWarp == 0 && Body::kThreads <= 1024);
    ++launch_;
    std::vector<int64_t> order(static_cast<size_t>(blocks));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random_);
    for (int64_t b : order) {
      if (!problem_.empty()) return;
      run_block(Body::kThreads, sizeof(typename Body::Shared), b, [&](int thread) {
        SimulatedGrid g(*this, b, blocks, thread);
        body(g);
      });
    }
  }

  /// Empty if nothing was found.
  const std::string& problem() const { return problem_; }

 private:
  friend class SimulatedGrid;
  enum class State { kReady, kBarrier, kWarpBarrier, kWarpOperation, kDone };
  enum class Access { kRead, kWrite, kAtomic };

  /// Where an access happened; ordered against another by a barrier between the two.
  struct Place {
    int64_t launch = -1, block = 0;
    int32_t thread = 0, epoch = 0, warp_epoch = 0;
  };
  struct Byte {
    bool defined = false;
    bool atomic = false;      ///< the last write was
    int32_t pending = 0;      ///< copies on their way
    Place write, read;        ///< the last of each; `read` stands for several if their threads differ
    bool many_readers = false, many_warps = false;
  };
  struct Region {
    uintptr_t begin = 0, end = 0;
    bool writable = true;
    std::vector<Byte> bytes;
  };
  struct Context {
    ucontext_t start;
    jmp_buf jump;
    bool started = false;
  };
  struct Copy {
    int8_t* to;
    const int8_t* from;
    bool valid;
  };
  using Given = std::array<uint64_t, 6>;
  struct Fiber {
    Context context;
    std::unique_ptr<char[]> stack;
    State state = State::kDone;
    int32_t epoch = 0, warp_epoch = 0;
    const char* operation = "";
    Given out{};                ///< what this lane gives to a warp-wide operation
    std::vector<std::vector<Copy>> groups;
    std::vector<Copy> open;
  };

  static constexpr size_t kStack = 128 * 1024;

  /// Goes on at `to`, until somebody goes on at `from`.
  static void switch_context(Context& from, Context& to) {
#if defined(__SANITIZE_ADDRESS__)
    swapcontext(&from.start, &to.start);
#else
    // swapcontext asks the system for the signal mask each time; once a fiber runs, a jump will do.
    if (_setjmp(from.jump) != 0) return;
    if (to.started) _longjmp(to.jump, 1);
    to.started = true;
    setcontext(&to.start);
#endif
  }

  void found(const std::string& what) {
    if (problem_.empty()) problem_ = what + " (block " + std::to_string(block_) + ", thread " + std::to_string(current_) + ", launch " + std::to_string(launch_) + ")";
  }

  Region* region_of(uintptr_t at, size_t size) {
    const auto holds = [&](const Region& r) { return at >= r.begin && at + size <= r.end; };
    if (holds(shared_)) return &shared_;
    auto after = regions_.upper_bound(at);
    if (after == regions_.begin()) return nullptr;
    Region& r = std::prev(after)->second;
    return holds(r) ? &r : nullptr;
  }

  Place here() const {
    const Fiber& f = fibers_[static_cast<size_t>(current_)];
    return {launch_, block_, current_, f.epoch, f.warp_epoch};
  }

  static bool ordered(const Place& before, const Place& now, bool many_threads = false, bool many_warps = false) {
    if (before.launch != now.launch) return true;
    if (before.block != now.block) return false;
    if (before.epoch != now.epoch) return true;
    if (!many_threads && before.thread == now.thread) return true;
    return !many_warps && before.thread / kWarp == now.thread / kWarp && before.warp_epoch != now.warp_epoch;
  }

  /// Checks an access and takes note of it; false if the memory must not be touched.
  bool access(const void* p, size_t size, size_t alignment, Access kind) {
    const uintptr_t at = reinterpret_cast<uintptr_t>(p);
    if (at % alignment != 0) return found("misaligned access"), false;
    Region* r = region_of(at, size);
    if (r == nullptr) return found(kind == Access::kRead ? "read outside memory" : "write outside memory"), false;
    if (kind != Access::kRead && !r->writable) return found("write to an input"), false;
    const Place now = here();
    for (size_t i = 0; i < size; ++i) {
      Byte& b = r->bytes[at - r->begin + i];
      if (b.pending != 0) found("access to a copy that was not waited for");
      if (kind != Access::kWrite && !b.defined) found("read of memory that nobody wrote");
      if (!(kind == Access::kAtomic && b.atomic) && !ordered(b.write, now)) found(kind == Access::kRead ? "race: read and write" : "race: two writes");
      if (kind == Access::kRead) {
        const bool fresh = ordered(b.read, now, b.many_readers, b.many_warps);
        b.many_readers = !fresh && (b.many_readers || b.read.thread != now.thread || b.read.block != now.block);
        b.many_warps = !fresh && (b.many_warps || b.read.thread / kWarp != now.thread / kWarp || b.read.block != now.block);
        b.read = now;
      } else {
        if (!ordered(b.read, now, b.many_readers, b.many_warps)) found("race: write after read");
        b.write = now;
        b.atomic = kind == Access::kAtomic;
        b.defined = true;
      }
    }
    return true;
  }

  void yield(State state) {
    Fiber& f = fibers_[static_cast<size_t>(current_)];
    f.state = state;
    switch_context(f.context, scheduler_);
  }

  /// Gives `out` to the warp and waits for all lanes; what they gave stays until the next such operation.
  const Given* exchange(const char* operation, const Given& out) {
    Fiber& f = fibers_[static_cast<size_t>(current_)];
    f.operation = operation;
    f.out = out;
    const int me = current_;
    yield(State::kWarpOperation);
    return given_[static_cast<size_t>(me / kWarp)].data();
  }

  static void enter(unsigned high, unsigned low) {
    auto* self = reinterpret_cast<Simulation*>((static_cast<uintptr_t>(high) << 32) | low);
    const int me = self->current_;
    self->body_(me);
    Fiber& f = self->fibers_[static_cast<size_t>(me)];
    if (!f.open.empty() || !f.groups.empty()) self->found("a thread ends with copies on their way");
    f.state = State::kDone;
    switch_context(f.context, self->scheduler_);
  }

  void run_block(int threads, size_t shared_bytes, int64_t block, std::function<void(int)> body) {
    block_ = block;
    body_ = std::move(body);
    shared_memory_.assign((shared_bytes + 127) / 128 + 1, {});
    shared_.begin = reinterpret_cast<uintptr_t>(shared_memory_.data());
    shared_.end = shared_.begin + shared_bytes;
    shared_.bytes.assign(shared_bytes, {});
    std::memset(static_cast<void*>(shared_memory_.data()), 0xa5, shared_bytes);
    if (fibers_.size() < static_cast<size_t>(threads)) fibers_.resize(static_cast<size_t>(threads));
    given_.assign(static_cast<size_t>(threads / kWarp), std::vector<Given>(kWarp));
    const uintptr_t self = reinterpret_cast<uintptr_t>(this);
    for (int t = 0; t < threads; ++t) {
      Fiber& f = fibers_[static_cast<size_t>(t)];
      if (!f.stack) f.stack = std::make_unique<char[]>(kStack);
      f.state = State::kReady;
      f.epoch = f.warp_epoch = 0;
      f.groups.clear();
      f.open.clear();
      f.context.started = false;
      getcontext(&f.context.start);
      f.context.start.uc_stack.ss_sp = f.stack.get();
      f.context.start.uc_stack.ss_size = kStack;
      f.context.start.uc_link = nullptr;
      makecontext(&f.context.start, reinterpret_cast<void (*)()>(&Simulation::enter), 2, static_cast<unsigned>(self >> 32), static_cast<unsigned>(self));
    }
    std::vector<int> order(static_cast<size_t>(threads));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random_);
    while (schedule(threads, order)) {
    }
  }

  /// One round; false when the block is done or stuck.
  bool schedule(int threads, const std::vector<int>& order) {
    bool moved = false;
    for (int t : order) {
      Fiber& f = fibers_[static_cast<size_t>(t)];
      if (f.state != State::kReady) continue;
      current_ = t;
      switch_context(scheduler_, f.context);
      moved = true;
    }
    int done = 0, at_barrier = 0;
    for (int w = 0; w < threads / kWarp; ++w) moved = release_warp(w) || moved;
    for (int t = 0; t < threads; ++t) {
      done += fibers_[static_cast<size_t>(t)].state == State::kDone ? 1 : 0;
      at_barrier += fibers_[static_cast<size_t>(t)].state == State::kBarrier ? 1 : 0;
    }
    if (done == threads) return false;
    if (at_barrier == threads) {
      for (int t = 0; t < threads; ++t) {
        ++fibers_[static_cast<size_t>(t)].epoch;
        fibers_[static_cast<size_t>(t)].state = State::kReady;
      }
      return true;
    }
    if (!moved) found("threads wait for each other for ever: not all reach a barrier or a warp-wide operation");
    return moved;
  }

  bool release_warp(int w) {
    Fiber* lanes = &fibers_[static_cast<size_t>(w * kWarp)];
    const State state = lanes[0].state;
    if (state != State::kWarpBarrier && state != State::kWarpOperation) return false;
    for (int i = 1; i < kWarp; ++i) {
      if (lanes[i].state != state) return false;
      if (state == State::kWarpOperation && std::strcmp(lanes[i].operation, lanes[0].operation) != 0) {
        found("lanes of a warp are in different warp-wide operations");
        return false;
      }
    }
    for (int i = 0; i < kWarp; ++i) {
      if (state == State::kWarpBarrier) ++lanes[i].warp_epoch;
      if (state == State::kWarpOperation) given_[static_cast<size_t>(w)][static_cast<size_t>(i)] = lanes[i].out;
      lanes[i].state = State::kReady;
    }
    return true;
  }

  struct alignas(128) Line {
    char bytes[128];
  };
  std::mt19937_64 random_;
  std::string problem_;
  std::map<uintptr_t, Region> regions_;  ///< by their begin; they do not overlap
  Region shared_;
  std::vector<Line> shared_memory_;
  std::vector<Fiber> fibers_;
  std::vector<std::vector<Given>> given_;  ///< warp, lane
  std::function<void(int)> body_;
  Context scheduler_{{}, {}, true};
  int64_t launch_ = 0, block_ = 0;
  int current_ = 0;
};

template <class S>
S& SimulatedGrid::shared() {
  return *reinterpret_cast<S*>(simulation_.shared_memory_.data());
}

template <class T>
T SimulatedGrid::load(const T* p) {
  T v{};
  if (simulation_.access(p, sizeof(T), alignof(T), Simulation::Access::kRead)) std::memcpy(&v, p, sizeof(T));
  return v;
}

template <class T>
void SimulatedGrid::store(T* p, T v) {
  if (simulation_.access(p, sizeof(T), alignof(T), Simulation::Access::kWrite)) std::memcpy(p, &v, sizeof(T));
}

template <class T, class F>
void SimulatedGrid::atomic(T* p, const F& f) {
  if (simulation_.access(p, sizeof(T), alignof(T), Simulation::Access::kAtomic)) *p = f(*p);
}

inline void SimulatedGrid::barrier() { simulation_.yield(Simulation::State::kBarrier); }
inline void SimulatedGrid::warp_barrier() { simulation_.yield(Simulation::State::kWarpBarrier); }

template <class T>
T SimulatedGrid::shuffle_xor(T v, int mask) {
  static_assert(sizeof(T) <= 8);
  uint64_t word = 0;
  std::memcpy(&word, &v, sizeof v);
  const auto* lanes = simulation_.exchange("shuffle", {word, 0, 0, 0, 0, 0});
  std::memcpy(&v, &lanes[(thread_ % kWarp) ^ mask][0], sizeof v);
  return v;
}

/// PTX ISA, ldmatrix: lane l receives of matrix m the four bytes 4 (l % 4) ... of row l / 4.
inline void SimulatedGrid::load_matrices(const int8_t* row, uint32_t (&r)[4]) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) simulation_.found("misaligned ldmatrix");
  const auto* lanes = simulation_.exchange("ldmatrix", {reinterpret_cast<uintptr_t>(row), 0, 0, 0, 0, 0});
  const int lane = thread_ % kWarp;
  for (int m = 0; m < 4; ++m) {
    const auto* from = reinterpret_cast<const uint32_t*>(lanes[8 * m + lane / 4][0]) + lane % 4;
    r[m] = load(from);
  }
}

/// PTX ISA, mma.m16n8k32 with .s8: a[0] holds row lane / 4, k = 4 (lane % 4) ... + 3; a[1] row + 8; a[2], a[3] k + 16. b0 holds column lane / 4,
/// the same k; b1 k + 16. c holds row lane / 4, columns 2 (lane % 4) and the next; c[2], c[3] row + 8.
inline void SimulatedGrid::mma_s8(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const auto* lanes = simulation_.exchange("mma", {a[0], a[1], a[2], a[3], b0, b1});
  const int lane = thread_ % kWarp;
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + (i < 2 ? 0 : 8), column = 2 * (lane % 4) + i % 2;
    uint32_t sum = static_cast<uint32_t>(c[i]);
    for (int word = 0; word < 8; ++word) {  // four k each
      const uint64_t word_a = lanes[row % 8 * 4 + word % 4][static_cast<size_t>((row < 8 ? 0 : 1) + (word < 4 ? 0 : 2))];
      const uint64_t word_b = lanes[column * 4 + word % 4][word < 4 ? 4 : 5];
      for (int k = 0; k < 4; ++k) sum += static_cast<uint32_t>(static_cast<int8_t>(word_a >> (8 * k)) * static_cast<int8_t>(word_b >> (8 * k)));
    }
    c[i] = static_cast<int32_t>(sum);
  }
}

inline void SimulatedGrid::copy_async(int8_t* to, const int8_t* from, bool valid) {
  if (valid && !simulation_.access(from, 16, 16, Simulation::Access::kRead)) return;
  if (!simulation_.access(to, 16, 16, Simulation::Access::kWrite)) return;
  Simulation::Region* r = simulation_.region_of(reinterpret_cast<uintptr_t>(to), 16);
  if (r != &simulation_.shared_) return simulation_.found("an asynchronous copy that does not go to shared memory");
  for (int i = 0; i < 16; ++i) ++r->bytes[reinterpret_cast<uintptr_t>(to) - r->begin + static_cast<size_t>(i)].pending;
  simulation_.fibers_[static_cast<size_t>(thread_)].open.push_back({to, from, valid});
}

inline void SimulatedGrid::commit() {
  Simulation::Fiber& f = simulation_.fibers_[static_cast<size_t>(thread_)];
  f.groups.push_back(std::move(f.open));
  f.open.clear();
}

inline void SimulatedGrid::wait_until(size_t groups_left) {
  Simulation::Fiber& f = simulation_.fibers_[static_cast<size_t>(thread_)];
  while (f.groups.size() > groups_left) {
    for (const Simulation::Copy& c : f.groups.front()) {
      Simulation::Region* r = &simulation_.shared_;
      for (int i = 0; i < 16; ++i) --r->bytes[reinterpret_cast<uintptr_t>(c.to) - r->begin + static_cast<size_t>(i)].pending;
      if (!simulation_.access(c.to, 16, 16, Simulation::Access::kWrite)) continue;
      if (c.valid) std::memcpy(c.to, c.from, 16);
      if (!c.valid) std::memset(c.to, 0, 16);
    }
    f.groups.erase(f.groups.begin());
  }
}

}  // namespace fairway::test
