#include "engine/model/adapters.h"

#include "engine/model/ops/linear.h"
#include "engine/model/ops/sum.h"

namespace fairway::model {

ValueId Adapters::delta(Tape& tape, const std::string& projection, ValueId in, int64_t out_width) {
  auto matrix = [&](const char* suffix, int64_t rows, int64_t columns) -> Parameter& {
    parameters_.push_back(std::make_unique<Parameter>(projection + suffix, std::vector<int64_t>{rows, columns}, Group::kScalar, false));
    parameters_.back()->set_forward_bits(kernels::bits_of_products(model_.linear));
    return *parameters_.back();
  };
  Parameter& a = matrix(".lora_a", config_.rank, tape.width(in));
  Parameter& b = matrix(".lora_b", out_width, config_.rank);
  ValueId inner = tape.add_value(config_.rank), out = tape.add_value(out_width);
  tape.add_op(std::make_unique<Linear>(a.name(), model_, in, std::vector<Linear::Branch>{{&a, inner}}));
  tape.add_op(std::make_unique<Linear>(b.name(), model_, inner, std::vector<Linear::Branch>{{&b, out}}));
  return out;
}

ValueId Adapters::adapt(Tape& tape, bool wanted, const std::string& projection, ValueId in, ValueId out) {
  if (!wanted || config_.rank == 0) return out;
  const ValueId addition = delta(tape, projection, in, tape.width(out)), sum = tape.add_value(tape.width(out));
  tape.add_op(std::make_unique<Sum>(projection + ".lora", out, addition, sum));
  return sum;
}

}  // namespace fairway::model
