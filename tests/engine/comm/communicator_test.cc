#include "engine/comm/communicator.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <array>

#include "tests/support/thread_communicator.h"

namespace fairway::comm {
namespace {

TEST(SingleProcess, ChangesNothing) {
  auto c = single_process();
  EXPECT_EQ(c->rank(), 0);
  EXPECT_EQ(c->size(), 1);
  EXPECT_TRUE(c->is_root());
  std::array<int64_t, 3> x = {INT64_MIN, -1, INT64_MAX};
  const auto before = x;
  c->sum(x);
  c->broadcast(std::as_writable_bytes(std::span(x)));
  EXPECT_EQ(x, before);
  EXPECT_EQ(c->max(-7), -7);
}

TEST(CreateCommunicator, WithoutALauncherThereIsOneRank) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"}) ::unsetenv(name);
  const auto c = create_communicator();
  ASSERT_TRUE(c) << c.error().message();
  EXPECT_EQ((*c)->size(), 1);
}

TEST(CreateCommunicator, ABuildWithoutMpiRefusesToTrainEveryRankAlone) {
  if (built_with_mpi()) GTEST_SKIP() << "this build has MPI";
  ::setenv("OMPI_COMM_WORLD_SIZE", "4", 1);
  const auto c = create_communicator();
  ::unsetenv("OMPI_COMM_WORLD_SIZE");
  ASSERT_FALSE(c);
  EXPECT_EQ(c.error().code, Errc::kUnavailable);
}

TEST(Ranks, SumMaximumAndBroadcastReachEveryRank) {
  for (int size : {1, 2, 3, 5}) {
    std::vector<int> good(static_cast<size_t>(size), 0);
    test::on_ranks(size, [&](Communicator& c) {
      bool ok = c.size() == size;
      for (int round = 0; round < 20; ++round) {
        std::array<int64_t, 2> x = {c.rank() + round, int64_t{1} << 40};
        c.sum(x);
        ok &= x[0] == size * (size - 1) / 2 + size * round && x[1] == size * (int64_t{1} << 40);
        ok &= c.max(-c.rank() - round) == -round;
        int64_t word = 1000 * c.rank() + round;
        c.broadcast(std::as_writable_bytes(std::span(&word, 1)));
        ok &= word == round;
      }
      good[static_cast<size_t>(c.rank())] = ok;
    });
    EXPECT_EQ(good, std::vector<int>(static_cast<size_t>(size), 1)) << size;
  }
}

TEST(SameBuild, OneRankOfAnotherBuildStopsAllAndNamesItself) {
  EXPECT_TRUE(same_build(*single_process(), "fairway 1"));
  const std::string line(300, 'x');  // builds may differ at the end of a long line
  std::vector<std::string> messages(3);
  test::on_ranks(3, [&](Communicator& c) {
    EXPECT_TRUE(same_build(c, line));
    const Status s = same_build(c, c.rank() == 2 ? line + "2" : line);
    messages[static_cast<size_t>(c.rank())] = s ? "passed" : s.error().message();
  });
  EXPECT_EQ(messages[2], "rank 2: this rank is another build than rank 0: \"" + line + "2\"; start one build everywhere");
  for (int r : {0, 1}) EXPECT_EQ(messages[static_cast<size_t>(r)], "stopped because another rank met an error");
}

TEST(Sums, ThatAreBegunAreThereWhenFinished) {
  test::on_ranks(3, [&](Communicator& c) {
    std::array<int64_t, 2> x = {c.rank(), 1}, y = {-c.rank(), int64_t{1} << 61};
    for (int round = 0; round < 3; ++round) {
      auto a = x, b = y;
      c.begin_sum(nullptr, a.data(), a.size());
      c.begin_sum(nullptr, b.data(), 1);
      c.finish_sums();
      EXPECT_EQ(a, (std::array<int64_t, 2>{3, 3}));
      EXPECT_EQ(b, (std::array<int64_t, 2>{-3, int64_t{1} << 61}));
    }
  });
}

TEST(Agree, OneFailureIsAFailureOfAllAndKeepsItsOwnWords) {
  EXPECT_TRUE(agree(*single_process(), {}));
  const Status alone = agree(*single_process(), Error{Errc::kNoInput, "here", "gone"});
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.error().message(), "here: gone");

  std::vector<std::string> messages(3);
  test::on_ranks(3, [&](Communicator& c) {
    Status mine;
    if (c.rank() == 1) mine = Error{Errc::kIo, "disk", "full"};
    const Status all = agree(c, mine);
    messages[static_cast<size_t>(c.rank())] = all ? "passed" : all.error().message();
  });
  EXPECT_EQ(messages, (std::vector<std::string>{"stopped because another rank met an error", "disk: full",
                                                "stopped because another rank met an error"}));
}

}  // namespace
}  // namespace fairway::comm
