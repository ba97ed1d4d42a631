/// One operation beside its formula: forward, and every gradient against central differences in binary64.
#pragma once

#include <functional>

#include "engine/model/parameter.h"
#include "kernels/num/float_bits.h"
#include "tests/engine/model/op_bench.h"
#include "tests/engine/model/reference.h"
#include "tests/engine/model/small_model.h"
#include "tests/kernels/support.h"

namespace fairway::test {

using model::Group;
using model::Parameter;

/// One operation on a tape beside a function of its inputs and parameters, in the order in which they were made.
class Case {
 public:
  using Function = std::function<Doubles(const std::vector<Doubles>&)>;

  Case(int64_t sequences, int64_t length) : sample_(sequences, length, 61, 8) {}
  int64_t tokens() const { return sample_.sequences * sample_.length; }
  const Sample& sample() const { return sample_; }
  Tape& tape() { return tape_; }

  ValueId input(int64_t width, float scale = 1.0f) {
    const ValueId id = tape_.add_value(width);
    const size_t variable = variables_.size();
    auto source = std::make_unique<Source>(id, drawn(tokens() * width, scale));
    sources_.push_back({variable, source.get()});
    tape_.add_op(std::move(source));
    return id;
  }
  Parameter& parameter(std::vector<int64_t> shape, float scale = 1.0f) {
    parameters_.push_back({variables_.size(), std::make_unique<Parameter>("p", shape, Group::kScalar, false)});
    Parameter& p = *parameters_.back().second;
    const Floats x = drawn(p.count(), scale);
    std::copy(x.begin(), x.end(), p.value());
    p.changed();
    p.clear_gradient();
    return p;
  }

  /// Forward and backward pass of what is on the tape; output (tokens, width).
  void run(ValueId out) {
    out_ = out;
    gradient_ = gaussian(tokens() * tape_.width(out), 77);
    tape_.add_op(std::make_unique<Sink>(out, gradient_));
    pass();
  }
  void pass() {
    for (auto& [i, p] : parameters_) p->clear_gradient();
    const Status forward = tape_.forward(sample_.batch(true));
    ASSERT_TRUE(forward) << forward.error().message();
    const Status backward = tape_.backward();
    ASSERT_TRUE(backward) << backward.error().message();
  }

  /// Output and every gradient agree with f, relative Frobenius.
  void expect(const Function& f, double bound) {
    const Doubles y = f(variables_);
    const Floats found(tape_.data(out_), tape_.data(out_) + y.size());
    EXPECT_LT(relative_error(found, y), bound);
    auto slopes = [&](size_t variable) {
      Doubles g(variables_[variable].size());
      std::vector<Doubles> moved = variables_;
      for (size_t i = 0; i < g.size(); ++i) {
        const double x = variables_[variable][i], h = 1e-5;
        moved[variable][i] = x + h;
        const double up = inner(f(moved));
        moved[variable][i] = x - h;
        g[i] = (up - inner(f(moved))) / (2 * h);
        moved[variable][i] = x;
      }
      return g;
    };
    for (size_t i = 0; i < sources_.size(); ++i)
      EXPECT_LT(input_error(i, slopes(sources_[i].first)), bound) << "input " << i;
    for (size_t i = 0; i < parameters_.size(); ++i)
      EXPECT_LT(parameter_error(i, slopes(parameters_[i].first)), bound) << "parameter " << i;
  }

  double input_error(size_t i, const Doubles& gradient) const {
    return relative_error(sources_[i].second->gradient, gradient);
  }
  double parameter_error(size_t i, const Doubles& gradient) const {
    Doubles g;
    for (int64_t units : parameters_[i].second->gradients()) g.push_back(static_cast<double>(units) * 0x1p-30);
    return relative_error(g, gradient);
  }

  /// Every bit a pass leaves: output, gradients of inputs, accumulators.
  std::vector<int64_t> bits() {
    std::vector<int64_t> all;
    auto add = [&](const float* x, size_t count) {
      for (size_t i = 0; i < count; ++i) all.push_back(fairway::num::bits_of(x[i]));
    };
    add(tape_.data(out_), static_cast<size_t>(tokens() * tape_.width(out_)));
    for (auto& [i, source] : sources_) add(source->gradient.data(), source->gradient.size());
    for (auto& [i, p] : parameters_) all.insert(all.end(), p->gradients().begin(), p->gradients().end());
    return all;
  }
  void expect_same_bits_on_every_machine() {
    const auto expected = bits();
    Machine restore;
    for (kernels::Isa isa : available_sets()) {
      kernels::set_isa(isa);
      for (int threads : {1, 3}) {
        kernels::set_thread_count(threads);
        pass();
        EXPECT_TRUE(bits() == expected) << kernels::isa_name(isa) << " " << threads;
      }
    }
  }

 private:
  Floats drawn(int64_t count, float scale) {
    const Floats x = gaussian(count, 11 + variables_.size(), scale);
    variables_.emplace_back(x.begin(), x.end());
    return x;
  }
  double inner(const Doubles& y) const {
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * gradient_[i];
    return sum;
  }

  Sample sample_;
  Tape tape_;
  std::vector<Doubles> variables_;
  std::vector<std::pair<size_t, Source*>> sources_;
  std::vector<std::pair<size_t, std::unique_ptr<Parameter>>> parameters_;
  ValueId out_ = -1;
  Floats gradient_;
};

}  // namespace fairway::test
