/// Communication between ranks: integer sums, maxima and bytes from rank 0, nothing else (NUMERICS.md, N7).
///
/// Every call is collective. Implementations: one process (no communication), MPI, and NCCL between GPUs
/// (nccl_communicator.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "kernels/memory.h"

namespace fairway::comm {

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// x[i] = sum over ranks of x[i]. Integer addition: the algorithm and its order cannot matter.
  virtual void sum(std::span<int64_t> x) = 0;
  /// The largest value over ranks.
  virtual int64_t max(int64_t x) = 0;
  /// Bytes of rank 0 replace those of every other rank; all pass the same size.
  virtual void broadcast(std::span<std::byte> bytes) = 0;
  bool is_root() const { return rank() == 0; }
  /// The number of this rank among those of its machine: the GPU it takes.
  virtual int local_rank() const { return 0; }

  /// Begins x[i] = sum over ranks of x[i] where an executor computes: `memory`, or the host's where that is null. What is
  /// queued there already comes before the sum; until `finish_sums` x may be neither read nor written. All ranks begin the
  /// same sums in the same order. This form takes note only; a communicator of a device sums beside what is queued later.
  virtual void begin_sum(kernels::Memory* memory, int64_t* x, size_t count);
  /// Waits for the sums begun. This form makes them now, through the host.
  virtual void finish_sums();
  /// Where the sums of a device's arrays are made, for the log.
  virtual const char* sums_over() const { return "MPI, through the host's memory"; }

 private:
  struct Noted {
    kernels::Memory* memory;
    int64_t* x;
    size_t count;
  };
  std::vector<Noted> noted_;
  std::vector<int64_t> staging_;
};

/// One process: MPI if this process was started by an MPI launcher and the build has it, else a communicator of size 1.
/// Error kUnavailable if a launcher is at work and the build lacks MPI: ranks that do not know of each other would all train
/// the whole batch.
Result<std::unique_ptr<Communicator>> create_communicator();

/// A communicator of size 1.
std::unique_ptr<Communicator> single_process();

/// Collective: success if every rank's status is one. Otherwise every rank gets an error, its own or that another rank failed, so
/// that all leave together; a rank that returned alone would leave the others waiting in their next collective call.
Status agree(Communicator& communicator, Status mine);

/// Collective: error kData unless all ranks are of one build, which `identity` (the version line) names.
Status same_build(Communicator& communicator, std::string_view identity);

/// True if the build has MPI.
bool built_with_mpi();

}  // namespace fairway::comm
