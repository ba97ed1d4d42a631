/// Newton-Schulz orthogonalisation on a device, batched over matrices of one shape (NUMERICS.md, "Newton-Schulz"; engine/optim/newton_schulz.h).
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/cuda/matmul.h"

namespace fairway::cuda {

/// Working memory, kept between calls.
struct NewtonSchulzScratch {
  explicit NewtonSchulzScratch(Device& device)
      : input(device, "Muon's input"), turned(device, "Muon's turned matrices"), gram(device, "Muon's A"), gram2(device, "Muon's A A"), product(device, "Muon's P X"),
        squares(device, "Muon's row sums"), totals(device, "Muon's norms"), rows(device), columns(device) {}
  DeviceBuffer<float> input, turned, gram, gram2, product;
  DeviceBuffer<double> squares, totals;
  DeviceQuantised rows, columns;
};

/// u (count matrices of rows x columns, stacked) is replaced by its orthogonalisation, as by optim::newton_schulz.
void newton_schulz(Device& device, float* u, int64_t count, int64_t rows, int64_t columns, int64_t steps, kernels::Products products,
                   NewtonSchulzScratch& scratch);

}  // namespace fairway::cuda
