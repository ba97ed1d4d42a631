/// Initial values of parameters (NUMERICS.md, "Random numbers and initial values"), from Philox streams named after the tensors.
#pragma once

#include <memory>
#include <vector>

#include "engine/model/parameter.h"

namespace fairway::model {

/// Fills every parameter as its `initial()` says and rounds it to bf16 once.
void draw_initial_values(std::vector<std::unique_ptr<Parameter>>& parameters, uint64_t seed);

/// The first four bytes, big-endian, of SHA-256 of a tensor's name: its word in the Philox counter.
uint32_t tensor_word(const std::string& name);

}  // namespace fairway::model
