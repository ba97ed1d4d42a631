/// The MPI communicator; only communicator.cc needs this header.
#pragma once

#include "engine/comm/communicator.h"

namespace fairway::comm {

/// Initialises MPI on the first call; it is finalised at exit.
Result<std::unique_ptr<Communicator>> create_mpi_communicator();

}  // namespace fairway::comm
