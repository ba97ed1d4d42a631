/// Attention on a device: kernels/attention.h with device pointers, bit for bit. What is returned as false there is reported into
/// Device::failure.
#pragma once

#include "kernels/attention.h"
#include "kernels/cuda/bodies/attention.h"
#include "kernels/cuda/device.h"

namespace fairway::cuda {

/// Working memory of attention, kept between calls; calls that share it must be on one stream.
class AttentionScratch {
 public:
  explicit AttentionScratch(Device& device) : planes_(device, "attention's slices"), words_(device, "attention's exponents"), delta_(device, "attention's row sums") {}

 private:
  friend void attention_forward(Device&, const kernels::AttentionForward&, AttentionScratch&);
  friend void attention_backward(Device&, const kernels::AttentionBackward&, AttentionScratch&);
  DeviceBuffer<int8_t> planes_;
  DeviceBuffer<int32_t> words_;
  DeviceBuffer<float> delta_;
};

void attention_forward(Device& device, const kernels::AttentionForward& a, AttentionScratch& scratch);
void attention_backward(Device& device, const kernels::AttentionBackward& a, AttentionScratch& scratch);

}  // namespace fairway::cuda
