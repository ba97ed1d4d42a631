/// Start-up self-test: what the promised bits rest on, probed in a few microseconds.
#pragma once

namespace fairway::kernels {

/// Null if all is well; else what is wrong: contraction of a * b + c, flush-to-zero, another rounding mode, or an exact product of
/// the active instruction set that differs from its known answer.
const char* self_test();

}  // namespace fairway::kernels
