// The meeting point of ranks: all get rank 0's bytes, or all get one clear error.
#include "engine/comm/tcp_store.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>
#include <vector>

namespace fairway::comm {
namespace {

using std::chrono::milliseconds;

/// A port of this machine that was free a moment ago.
uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
  socklen_t size = sizeof a;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&a), &size);
  ::close(fd);
  return ntohs(a.sin_port);
}

struct Rank {
  StoreAddress address;
  std::string identity = "fairway 1";
  std::vector<std::byte> bytes = std::vector<std::byte>(128);
  Status status;
};

/// All ranks at once; the last one first, so that rank 0 is not there yet.
void meet(std::vector<Rank>& ranks, milliseconds timeout = milliseconds(10000)) {
  std::vector<std::thread> threads;
  for (size_t i = ranks.size(); i-- > 0;) {
    threads.emplace_back([&r = ranks[i], timeout] { r.status = share_through_store(r.address, r.identity, r.bytes, timeout); });
  }
  for (std::thread& t : threads) t.join();
}

std::vector<Rank> ranks(int count) {
  std::vector<Rank> list(static_cast<size_t>(count));
  const uint16_t port = free_port();
  for (int i = 0; i < count; ++i) {
    Rank& r = list[static_cast<size_t>(i)];
    r.address = {"127.0.0.1", port, i, count, i};
    for (size_t b = 0; b < r.bytes.size(); ++b) r.bytes[b] = static_cast<std::byte>(i * 31 + static_cast<int>(b));
  }
  return list;
}

TEST(TcpStore, HandsTheBytesOfRankZeroToAll) {
  for (int count : {1, 2, 8}) {
    std::vector<Rank> list = ranks(count);
    const std::vector<std::byte> expected = list[0].bytes;
    meet(list);
    for (Rank& r : list) {
      ASSERT_TRUE(r.status) << r.status.error().message();
      EXPECT_EQ(r.bytes, expected);
    }
  }
}

TEST(TcpStore, RefusesAnotherBuildOnEveryRankWithOneLine) {
  std::vector<Rank> list = ranks(3);
  list[2].identity = "fairway 2";
  meet(list);
  for (const Rank& r : list) {
    ASSERT_FALSE(r.status);
    EXPECT_EQ(r.status.error().exit_code(), 65);
    EXPECT_NE(r.status.error().message().find("another build: \"fairway 2\""), std::string::npos) << r.status.error().message();
  }
}

TEST(TcpStore, RefusesTwoRanksOfOneNumberAndAnotherWorld) {
  std::vector<Rank> list = ranks(3);
  list[2].address.rank = 1;
  meet(list);
  ASSERT_FALSE(list[0].status);
  EXPECT_NE(list[0].status.error().message().find("two ranks were started with RANK 1"), std::string::npos);
  list = ranks(2);
  list[1].address.size = 4;
  meet(list);
  ASSERT_FALSE(list[0].status);
  ASSERT_FALSE(list[1].status);
  EXPECT_NE(list[1].status.error().message().find("WORLD_SIZE 4"), std::string::npos);
}

TEST(TcpStore, ARankThatNeverComesEndsAllInTime) {
  std::vector<Rank> list = ranks(3);
  list.pop_back();
  meet(list, milliseconds(300));
  for (Rank& r : list) {
    ASSERT_FALSE(r.status);
    EXPECT_EQ(r.status.error().exit_code(), 69);
    EXPECT_NE(r.status.error().message().find("only 2 of 3 ranks"), std::string::npos) << r.status.error().message();
  }
}

TEST(TcpStore, AStrangerOnThePortIsSentAway) {
  std::vector<Rank> list = ranks(2);
  std::thread stranger([port = list[0].address.port] {
    for (int attempt = 0; attempt < 100; ++attempt) {
      const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
      sockaddr_in a{};
      a.sin_family = AF_INET;
      a.sin_port = htons(port);
      a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      if (::connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0) {
        const char text[] = "GET / HTTP/1.1\r\nHost: somewhere\r\nAccept: everything at all\r\n\r\n";
        [[maybe_unused]] const ssize_t n = ::send(fd, text, sizeof text, MSG_NOSIGNAL);
        ::close(fd);
        return;
      }
      ::close(fd);
      std::this_thread::sleep_for(milliseconds(5));
    }
  });
  std::thread late([&] {
    std::this_thread::sleep_for(milliseconds(100));
    list[1].status = share_through_store(list[1].address, list[1].identity, list[1].bytes, milliseconds(10000));
  });
  list[0].status = share_through_store(list[0].address, list[0].identity, list[0].bytes, milliseconds(10000));
  stranger.join();
  late.join();
  EXPECT_TRUE(list[0].status);
  EXPECT_TRUE(list[1].status);
  EXPECT_EQ(list[1].bytes, list[0].bytes);
}

TEST(TcpStore, ReadsTheVariablesOfTorchrunAndNamesTheOneThatIsWrong) {
  const auto set = [](const char* rank, const char* size, const char* host, const char* port, const char* local) {
    ::setenv("RANK", rank, 1);
    ::setenv("WORLD_SIZE", size, 1);
    ::setenv("MASTER_ADDR", host, 1);
    ::setenv("MASTER_PORT", port, 1);
    ::setenv("LOCAL_RANK", local, 1);
    return store_from_environment();
  };
  auto good = set("3", "8", "node0", "29500", "1");
  ASSERT_TRUE(good && good->has_value());
  EXPECT_EQ((*good)->rank, 3);
  EXPECT_EQ((*good)->size, 8);
  EXPECT_EQ((*good)->local_rank, 1);
  EXPECT_EQ((*good)->port, 29500);
  EXPECT_EQ(set("8", "8", "node0", "29500", "1").error().where, "RANK");
  EXPECT_EQ(set("0", "eight", "node0", "29500", "1").error().where, "WORLD_SIZE");
  EXPECT_EQ(set("0", "8", "", "29500", "1").error().where, "MASTER_ADDR");
  EXPECT_EQ(set("0", "8", "node0", "99999", "1").error().where, "MASTER_PORT");
  EXPECT_EQ(set("0", "8", "node0", "29500", "x").error().where, "LOCAL_RANK");
  ::unsetenv("RANK");
  const auto none = store_from_environment();
  ASSERT_TRUE(none);
  EXPECT_FALSE(none->has_value());
}

}  // namespace
}  // namespace fairway::comm
