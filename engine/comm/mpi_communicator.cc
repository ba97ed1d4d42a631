#include "engine/comm/mpi_communicator.h"

#include <mpi.h>

#include <algorithm>
#include <cstdlib>

namespace fairway::comm {
namespace {

/// MPI counts are int; larger arrays go in pieces.
constexpr size_t kPiece = size_t{1} << 24;

class Mpi : public Communicator {
 public:
  Mpi() {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    MPI_Comm machine;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &machine);
    MPI_Comm_rank(machine, &local_rank_);
    MPI_Comm_free(&machine);
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_rank() const override { return local_rank_; }
  void sum(std::span<int64_t> x) override {
    for (size_t at = 0; at < x.size(); at += kPiece) {
      const size_t n = std::min(kPiece, x.size() - at);
      MPI_Allreduce(MPI_IN_PLACE, x.data() + at, static_cast<int>(n), MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
    }
  }
  int64_t max(int64_t x) override {
    MPI_Allreduce(MPI_IN_PLACE, &x, 1, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD);
    return x;
  }
  void broadcast(std::span<std::byte> bytes) override {
    for (size_t at = 0; at < bytes.size(); at += kPiece) {
      MPI_Bcast(bytes.data() + at, static_cast<int>(std::min(kPiece, bytes.size() - at)), MPI_BYTE, 0, MPI_COMM_WORLD);
    }
  }

 private:
  int rank_ = 0;
  int size_ = 1;
  int local_rank_ = 0;
};

}  // namespace

Result<std::unique_ptr<Communicator>> create_mpi_communicator() {
  int initialised = 0;
  MPI_Initialized(&initialised);
  if (initialised == 0) {
    int provided = 0;
    if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
      return Error{Errc::kUnavailable, "MPI_Init_thread", "MPI could not be started"};
    }
    std::atexit([] {
      int finalised = 0;
      MPI_Finalized(&finalised);
      if (finalised == 0) MPI_Finalize();
    });
  }
  return std::unique_ptr<Communicator>(std::make_unique<Mpi>());
}

}  // namespace fairway::comm
