/// Communication between ranks: integer sums, maxima and bytes from rank 0, nothing else (NUMERICS.md, N7).
///
/// Every call is collective. Implementations: one process (no communication) and MPI.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "engine/base/result.h"

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

/// True if the build has MPI.
bool built_with_mpi();

}  // namespace fairway::comm
