/// The names a pickle is made of: opcodes, for messages, and the globals that an artifact may mention.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/quant/upstream/pickle.h"

namespace fairway::quant::upstream {

/// "REDUCE", as pickle's own documentation spells it; 0x.. for a byte that is no opcode of protocols 0 to 5.
std::string opcode_name(uint8_t code);

/// The plain value that stands for "torch.FloatStorage" and the few other globals of torch.save for dicts of tensors;
/// none for every other name.
std::optional<PickleValue> allowed_global(const std::string& name);

}  // namespace fairway::quant::upstream
