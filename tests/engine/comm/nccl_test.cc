// On GPUs: NCCL's sums and maxima over every GPU of this machine, met over the TCP store, in threads of one process.
#include "engine/comm/nccl_communicator.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace fairway::comm {
namespace {

/// Ranks as GPUs: as many as are visible, at most 8.
int gpu_count() {
  int count = 0;
  for (; count < 8; ++count) {
    try {
      cuda::Device device(count);
    } catch (const cuda::DeviceError&) {
      break;
    }
  }
  return count;
}

TEST(Nccl, SumsAndMaximaOverTheGpusOfThisMachineAreThoseOfIntegers) {
  if (const std::string problem = cuda::device_problem(); !problem.empty()) GTEST_SKIP() << problem;
  const int size = gpu_count();
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < size; ++rank) {
    ranks.emplace_back([rank, size] {
      cuda::Device device(rank);
      auto made = create_nccl_communicator(device, StoreAddress{"127.0.0.1", 29511, rank, size, rank}, "test");
      ASSERT_TRUE(made) << made.error().message();
      Communicator& comm = **made;
      std::vector<int64_t> x(100003), expected(x.size());
      for (size_t i = 0; i < x.size(); ++i) {
        x[i] = (int64_t{1} << 59) / (rank + 1) - static_cast<int64_t>(i) * 1234567891;
        for (int r = 0; r < size; ++r) expected[i] += (int64_t{1} << 59) / (r + 1) - static_cast<int64_t>(i) * 1234567891;
      }
      cuda::DeviceBuffer<int64_t> on_device(device, "a test's sums");
      on_device.upload(x.data(), x.size());
      comm.begin_sum(&device, on_device.data(), x.size());
      comm.finish_sums();
      std::vector<int64_t> got(x.size());
      on_device.download(got.data());
      EXPECT_EQ(got, expected);
      comm.sum(x);
      EXPECT_EQ(x, expected);
      EXPECT_EQ(comm.max(rank * 7), (size - 1) * 7);
      std::byte b = static_cast<std::byte>(rank == 0 ? 42 : 0);
      comm.broadcast({&b, 1});
      EXPECT_EQ(b, static_cast<std::byte>(42));
    });
  }
  for (std::thread& t : ranks) t.join();
}

}  // namespace
}  // namespace fairway::comm
