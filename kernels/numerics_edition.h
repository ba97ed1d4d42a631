/// Edition of kernels/NUMERICS.md. Results of different editions are not comparable; every record and state names its own.
#pragma once

namespace fairway {

constexpr int kNumericsEdition = 1;

}  // namespace fairway
