/// The meeting point of ranks that no MPI started: rank 0 listens, checks that all are of one build, and hands the same bytes to each.
///
/// Used once, at start, for the few bytes that NCCL needs (engine/comm/nccl_communicator.h); nothing is exchanged through it later. Variables are those of
/// torchrun, so that one launcher serves both. Lengths are bounded and every wait has a deadline; nothing received is interpreted.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/result.h"

namespace fairway::comm {

struct StoreAddress {
  std::string host;
  uint16_t port = 0;
  int rank = 0, size = 1;
  int local_rank = 0;  ///< the rank among those of this machine, which is the GPU it takes
};

/// From MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE and LOCAL_RANK; nothing if RANK is not set. Error kUsage that names what is missing or no number.
Result<std::optional<StoreAddress>> store_from_environment();

/// Collective, once: rank 0's bytes replace those of every other rank; all pass the same size (at most 64 KiB). `identity` is the version line.
/// Errors on every rank, each in one line: kUnavailable if not all arrive in time or an address cannot be used, kData if builds, sizes or ranks do
/// not match.
Status share_through_store(const StoreAddress& address, std::string_view identity, std::span<std::byte> bytes, std::chrono::milliseconds timeout);

}  // namespace fairway::comm
