/// Per-thread working memory of the kernels.
#pragma once

#include <cstddef>

namespace fairway::kernels {

enum class ScratchSlot { kTile, kMatmul, kAttention, kCount };

/// Memory of the calling thread, at least `bytes` long, 64-byte aligned; valid until its next call with the same slot.
void* scratch(ScratchSlot slot, size_t bytes);

}  // namespace fairway::kernels
