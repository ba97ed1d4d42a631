#include <fmt/format.h>

#include "engine/comm/device_communicator.h"
#include "engine/replay/version.h"
#include "kernels/cuda/cuda_executor.h"
#include "verifier/cli/command.h"

namespace fairway::cli {

namespace po = boost::program_options;

Result<std::unique_ptr<comm::Communicator>> ranks_on_cpu() {
  FAIRWAY_ASSIGN(auto ranks, comm::create_communicator());
  // Variables of these names that make no sense are somebody else's; ranks that do not know of each other would all do
  // the whole work.
  const auto store = comm::store_from_environment();
  if (ranks->size() == 1 && store && *store && (*store)->size > 1) {
    return Error{
        Errc::kUnavailable, "WORLD_SIZE",
        fmt::format("is {}, but ranks meet at MASTER_ADDR only with --device cuda; on the CPU start them with mpirun",
                    (*store)->size)};
  }
  FAIRWAY_TRY(comm::same_build(*ranks, replay::build_line()));
  return ranks;
}

namespace {

std::string cpu_and_why(const std::string& asked) {
  if (asked == "cpu") return asked;
  const std::string problem = cuda::device_problem();
  return fmt::format("cpu (--device {}: {})", asked,
                     problem.empty() ? "a GPU is used only where --device cuda asks for it" : problem);
}

}  // namespace

Result<Workplace> chosen_workplace(const po::variables_map& v) {
  const std::string asked = v["device"].as<std::string>();
  if (asked != "cuda") {
    FAIRWAY_ASSIGN(auto ranks, ranks_on_cpu());
    return Workplace{std::move(ranks), &kernels::cpu_executor(), cpu_and_why(asked)};
  }
  FAIRWAY_ASSIGN(auto ranks, comm::create_communicator());
  // Ranks that MPI started know each other; the store's variables are for the others.
  std::optional<comm::StoreAddress> store;
  if (ranks->size() == 1) {
    FAIRWAY_ASSIGN(store, comm::store_from_environment());
  }
  // Kept to the end of the process, so that nothing outlives its memory.
  static std::unique_ptr<kernels::Executor> executor;
  Status made;
  try {
    executor = cuda::cuda_executor(store ? store->local_rank : ranks->local_rank());
  } catch (const cuda::DeviceError& e) {
    made = Error{Errc::kUnavailable, "--device cuda", e.what()};
  }
  FAIRWAY_TRY(comm::agree(*ranks, std::move(made)));
  std::string device = "cuda " + cuda::device_name(*executor);
  FAIRWAY_ASSIGN(auto communicator,
                 comm::create_device_communicator(*executor, std::move(ranks), store, replay::build_line()));
  if (communicator->size() > 1) device += fmt::format("; gradients are summed over {}", communicator->sums_over());
  return Workplace{std::move(communicator), executor.get(), std::move(device)};
}

}  // namespace fairway::cli
