#include "engine/comm/communicator.h"

#include <cstdlib>
#include <string>

#include "engine/base/sha256.h"
#include "engine/comm/mpi_communicator.h"

namespace fairway::comm {
namespace {

class SingleProcess : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void sum(std::span<int64_t>) override {}
  int64_t max(int64_t x) override { return x; }
  void broadcast(std::span<std::byte>) override {}
};

/// Set by Open MPI, MPICH (Hydra) and Slurm's PMI for every process they start.
bool started_by_launcher() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

}  // namespace

void Communicator::begin_sum(kernels::Memory* memory, int64_t* x, size_t count) { noted_.push_back({memory, x, count}); }

void Communicator::finish_sums() {
  for (const Noted& n : noted_) {
    if (n.memory == nullptr) {
      sum({n.x, n.count});
      continue;
    }
    staging_.resize(n.count);
    n.memory->copy_to_host(staging_.data(), n.x, n.count * sizeof(int64_t));
    sum(staging_);
    n.memory->copy_to_device(n.x, staging_.data(), n.count * sizeof(int64_t));
  }
  noted_.clear();
}

std::unique_ptr<Communicator> single_process() { return std::make_unique<SingleProcess>(); }

Status agree(Communicator& communicator, Status mine) {
  const bool failed = !mine;
  if (communicator.max(failed ? 1 : 0) == 0 || failed) return mine;
  return Error{Errc::kIo, "", "stopped because another rank met an error"};
}

Status same_build(Communicator& communicator, std::string_view identity) {
  const Digest mine = sha256(std::as_bytes(std::span(identity)));
  Digest first = mine;
  communicator.broadcast(std::as_writable_bytes(std::span(first)));
  if (first == mine) return agree(communicator, {});
  return agree(communicator,
               Error{Errc::kData, "rank " + std::to_string(communicator.rank()),
                     "this rank is another build than rank 0: \"" + std::string(identity) + "\"; start one build everywhere"});
}

bool built_with_mpi() {
#if defined(FAIRWAY_WITH_MPI)
  return true;
#else
  return false;
#endif
}

Result<std::unique_ptr<Communicator>> create_communicator() {
  if (!started_by_launcher()) return single_process();
#if defined(FAIRWAY_WITH_MPI)
  return create_mpi_communicator();
#else
  return Error{Errc::kUnavailable, "mpirun", "this build has no MPI; configure with -DFAIRWAY_MPI=ON and Open MPI installed"};
#endif
}

}  // namespace fairway::comm
