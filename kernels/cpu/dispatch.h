/// The function table of the active instruction set.
#pragma once

#include "kernels/cpu/isa/table.h"

namespace fairway::kernels {
const Table& table();
}
