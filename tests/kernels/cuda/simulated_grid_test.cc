// The simulated grid finds what it must: a test that cannot fail proves nothing.
#include "simulated_grid.h"

#include <gtest/gtest.h>

namespace fairway::test {
namespace {

struct Words {
  uint32_t word[64];
};

/// Thread t writes word t and reads the word of thread (t + step) % 64, with what `between` puts between the two.
template <int kBetween>
struct Neighbour {
  static constexpr int kThreads = 64;
  using Shared = Words;
  uint32_t* out;
  int step;
  template <class G>
  void operator()(G& g) const {
    Words& w = g.template shared<Words>();
    g.store(&w.word[g.thread()], static_cast<uint32_t>(g.thread()));
    if (kBetween == 1) g.barrier();
    if (kBetween == 2) g.warp_barrier();
    g.store(out + g.block() * 64 + g.thread(), g.load(&w.word[(g.thread() + step) % 64]));
  }
};

template <class Body>
std::string problem_of(const Body& body, int64_t blocks, std::vector<uint32_t>& memory, bool defined = true) {
  Simulation s(7);
  s.memory(memory.data(), memory.size(), defined);
  s.launch(body, blocks);
  return s.problem().substr(0, s.problem().find(" (block"));
}

TEST(SimulatedGrid, OrdersThreadsByBarriersAlone) {
  std::vector<uint32_t> out(128);
  EXPECT_EQ(problem_of(Neighbour<1>{out.data(), 1}, 2, out), "");
  EXPECT_EQ(out[0], 1u);
  EXPECT_EQ(out[127], 0u);
  // Without a barrier whoever comes first decides which of the two is seen.
  const std::string race = problem_of(Neighbour<0>{out.data(), 1}, 2, out);
  EXPECT_TRUE(race == "race: write after read" || race == "race: read and write" || race == "read of memory that nobody wrote") << race;
}

TEST(SimulatedGrid, AWarpBarrierOrdersItsWarpOnly) {
  struct Same {
    enum { kThreads = 64 };
    using Shared [[maybe_unused]] = Words;
    uint32_t* out;
    int mask;
    void operator()(SimulatedGrid& g) const {
      Words& w = g.shared<Words>();
      g.store(&w.word[g.thread()], 5u);
      g.warp_barrier();
      g.store(out + g.thread(), g.load(&w.word[g.thread() ^ mask]));
    }
  };
  std::vector<uint32_t> out(64);
  EXPECT_EQ(problem_of(Same{out.data(), 16}, 1, out), "");
  EXPECT_NE(problem_of(Same{out.data(), 32}, 1, out), "");
}

TEST(SimulatedGrid, FindsAccessesOutsideMemoryAndMisaligned) {
  struct Store {
    enum { kThreads = 32 };
    using Shared [[maybe_unused]] = cuda::NoShared;
    uint32_t* out;
    int64_t offset;
    void operator()(SimulatedGrid& g) const {
      if (g.thread() == 31) g.store(reinterpret_cast<uint32_t*>(reinterpret_cast<char*>(out) + offset), 1u);
    }
  };
  std::vector<uint32_t> out(8);
  EXPECT_EQ(problem_of(Store{out.data(), 28}, 1, out), "");
  EXPECT_EQ(problem_of(Store{out.data(), 32}, 1, out), "write outside memory");
  EXPECT_EQ(problem_of(Store{out.data(), -4}, 1, out), "write outside memory");
  EXPECT_EQ(problem_of(Store{out.data(), 2}, 1, out), "misaligned access");
}

TEST(SimulatedGrid, FindsTwoBlocksThatWriteOnePlaceUnlessAtomic) {
  struct Add {
    enum { kThreads = 32 };
    using Shared [[maybe_unused]] = cuda::NoShared;
    uint32_t* out;
    bool atomic;
    void operator()(SimulatedGrid& g) const {
      if (g.thread() != 0) return;
      if (atomic) g.atomic_or(out, 1u << g.block());
      if (!atomic) g.store(out, 1u);
    }
  };
  std::vector<uint32_t> out(1, 0);
  EXPECT_EQ(problem_of(Add{out.data(), true}, 5, out), "");
  EXPECT_EQ(out[0], 31u);
  EXPECT_EQ(problem_of(Add{out.data(), false}, 2, out), "race: two writes");
}

TEST(SimulatedGrid, FindsWhatNobodyWroteAndThreadsThatMissABarrier) {
  struct Read {
    enum { kThreads = 32 };
    using Shared [[maybe_unused]] = Words;
    uint32_t* out;
    int mode;
    void operator()(SimulatedGrid& g) const {
      if (mode == 0) g.store(out, g.load(&g.shared<Words>().word[3]));
      if (mode == 1 && g.thread() != 4) g.barrier();
      if (mode == 2 && g.thread() < 16) g.shuffle_xor(1u, 1);
    }
  };
  std::vector<uint32_t> out(1);
  EXPECT_EQ(problem_of(Read{out.data(), 0}, 1, out), "read of memory that nobody wrote");
  for (int mode : {1, 2}) {
    EXPECT_EQ(problem_of(Read{out.data(), mode}, 1, out),
              "threads wait for each other for ever: not all reach a barrier or a warp-wide operation");
  }
}

TEST(SimulatedGrid, ACopyIsThereOnlyAfterTheWait) {
  struct Bytes {
    alignas(16) int8_t byte[16];
  };
  struct Copy {
    enum { kThreads = 32 };
    using Shared [[maybe_unused]] = Bytes;
    const int8_t* in;
    uint32_t* out;
    bool wait;
    void operator()(SimulatedGrid& g) const {
      if (g.thread() != 0) return;
      Bytes& b = g.shared<Bytes>();
      g.copy_async(b.byte, in, true);
      g.commit();
      if (wait) g.wait<0>();
      g.store(out, static_cast<uint32_t>(g.load(&b.byte[2])));
      g.wait<0>();
    }
  };
  alignas(16) static const int8_t in[16] = {1, 2, 3};
  for (bool wait : {true, false}) {
    std::vector<uint32_t> out(1);
    Simulation s(1);
    s.memory(in, 16);
    s.inout(out);
    s.launch(Copy{in, out.data(), wait}, 1);
    if (wait) {
      EXPECT_EQ(s.problem(), "");
      EXPECT_EQ(out[0], 3u);
    } else {
      EXPECT_EQ(s.problem().substr(0, 6), "access");
    }
  }
}

}  // namespace
}  // namespace fairway::test
