/// The operations of one block on the tape.
///
///   u = mix0 x + mix1 x0;  n = s rms(u);  y = u + attn_scale * Attn(n);  out = y + mlp_scale * MLP(s rms(y))
///   with several MLPs the last step is taken by each in turn
///   with loops, q, k, v and the attention's output may each have a low-rank addition per pass
///   on the hypersphere: y = step(x, Attn(x));  out = step(y, MLP(y));  step(x, a) = unit(x + |scale| (unit(a) - x))
///   s = 1/sqrt(layer + 1) with ln_scale, else 1
#pragma once

#include "engine/model/adapters.h"
#include "engine/model/layout.h"
#include "engine/model/tape.h"

namespace fairway::model {

/// Values that blocks share.
struct SharedValues {
  ValueId x0 = -1;               ///< what every block mixes in
  ValueId value_embedding = -1;  ///< (tokens, kv width), if the config has one
  ValueId first_values = -1;     ///< values of layer 0, once it has been built, for the value residual
};

/// Appends block `layer` of a pass with input x, its projections adapted; the id of its output. Keeps a reference to
/// `config`.
ValueId add_block(Tape& tape, const ModelConfig& config, const Layout& layout, Adapters& adapters, int64_t pass,
                  int64_t layer, ValueId x, SharedValues& shared);

}  // namespace fairway::model
