#include <algorithm>
#include <map>

#include "engine/eval/procedures/procedures.h"

namespace fairway::eval {
namespace {

/// Keys before rotation and values of stream positions first .. first + count - 1, one layer.
struct Layer {
  int64_t key_width = 0, value_width = 0;
  std::vector<float> keys, values;
  std::vector<float> window_keys, window_values;  ///< of the window that ran last
};

/// Puts cached keys and values in front of every sequence's own. What is kept lies on the host, where it is hashed; what one attention sees is put
/// together in the executor's memory.
class Memory : public model::AttentionHook {
 public:
  explicit Memory(kernels::Executor& executor) : executor_(executor) {
    for (auto* b : {&rotated_, &cached_values_, &q_, &k_, &v_, &out_}) b->place(executor.memory(), "the neural cache");
    row_max_.place(executor.memory(), "the neural cache");
    row_units_.place(executor.memory(), "the neural cache");
  }
  /// The cached positions the next window sees: first .. first + count - 1 of the stream.
  void show(int64_t first, int64_t count) { skip_ = first - first_, visible_ = count; }

  void before_rotation(const std::string& label, const float* rows, int64_t tokens, int64_t width, const Rotate& rotate) override {
    constexpr std::string_view kSuffix = ".k_rope";
    if (!label.ends_with(kSuffix)) return;
    Layer& layer = layers_[label.substr(0, label.size() - kSuffix.size())];
    layer.key_width = width;
    keep_copy(rows, tokens * width, layer.window_keys);
    // The attention of this layer follows before the keys of the next are rotated.
    rotated_.upload(layer.keys.data() + skip_ * width, static_cast<size_t>(visible_ * width));
    if (visible_ > 0) rotate(rotated_.data(), visible_, 0);
  }

  bool attend(const std::string& label, const kernels::AttentionForward& a) override {
    Layer& layer = layers_.at(label);
    const int64_t length = a.shape.length, value_width = a.shape.kv_heads * a.shape.head_dim, query_width = a.shape.heads * a.shape.head_dim;
    layer.value_width = value_width;
    keep_copy(a.v, length * value_width, layer.window_values);
    if (visible_ == 0) return executor_.attention_forward(a);
    const std::span<const float> kept(layer.values.data() + skip_ * value_width, static_cast<size_t>(visible_ * value_width));
    kernels::AttentionForward all = a;
    all.shape.length = visible_ + length;
    all.shape.first_query = visible_;
    all.q = joined(nullptr, visible_ * query_width, a.q, length * query_width, q_);
    all.k = joined(rotated_.data(), visible_ * value_width, a.k, length * value_width, k_);
    all.v = joined(executor_.stage(kept, cached_values_, "the neural cache"), visible_ * value_width, a.v, length * value_width, v_);
    out_.resize(static_cast<size_t>(all.shape.length * query_width));
    row_max_.resize(static_cast<size_t>(all.shape.length * a.shape.heads));
    row_units_.resize(row_max_.size());
    all.out = out_.data(), all.row_max = row_max_.data(), all.row_units = row_units_.data();
    if (!executor_.attention_forward(all)) return false;
    executor_.copy(out_.data() + visible_ * query_width, length * query_width, a.out);
    return true;
  }

  /// Keeps rows of the window that ran last: positions from end() on are taken from its row `row`; then forgets all before `oldest`.
  void keep(int64_t row, int64_t count, int64_t oldest) {
    Sha256 chain;
    chain.update(chain_.data(), chain_.size());
    for (auto& [label, layer] : layers_) {
      const int64_t drop = oldest - first_;
      chain.update(layer.window_keys.data() + row * layer.key_width, static_cast<size_t>(count * layer.key_width) * sizeof(float));
      chain.update(layer.window_values.data() + row * layer.value_width, static_cast<size_t>(count * layer.value_width) * sizeof(float));
      auto append = [&](std::vector<float>& to, const std::vector<float>& from, int64_t width) {
        to.insert(to.end(), from.begin() + row * width, from.begin() + (row + count) * width);
        to.erase(to.begin(), to.begin() + drop * width);
      };
      append(layer.keys, layer.window_keys, layer.key_width);
      append(layer.values, layer.window_values, layer.value_width);
    }
    end_ += count;
    first_ = oldest;
    chain_ = chain.finish();
  }
  int64_t first() const { return first_; }
  int64_t end() const { return end_; }

  /// The digest of a state is that of everything that was ever kept, in order; what is held follows from it.
  void archive(Archive& archive) {
    archive.value(first_), archive.value(end_), archive.value(chain_);
    if (archive.mode() == Archive::Mode::kHash) return;
    uint64_t count = layers_.size();
    archive.value(count);
    std::vector<std::string> labels;
    for (auto& [label, layer] : layers_) labels.push_back(label);
    labels.resize(static_cast<size_t>(count));
    if (archive.mode() == Archive::Mode::kLoad) layers_.clear();
    for (std::string& label : labels) {
      std::vector<char> text(label.begin(), label.end());
      archive.vector(text);
      Layer& layer = layers_[std::string(text.begin(), text.end())];
      archive.value(layer.key_width), archive.value(layer.value_width), archive.vector(layer.keys), archive.vector(layer.values);
    }
  }

 private:
  void keep_copy(const float* from, int64_t count, std::vector<float>& to) {
    const float* on_host = executor_.fetch(from, count, to);
    if (on_host != to.data()) to.assign(on_host, on_host + count);
  }
  /// `cached` (zeros, if null), then `own`.
  const float* joined(const float* cached, int64_t cached_count, const float* own, int64_t own_count, kernels::Buffer<float>& all) {
    all.resize(static_cast<size_t>(cached_count + own_count));
    if (cached != nullptr) {
      executor_.copy(cached, cached_count, all.data());
    } else {
      executor_.zero(all.data(), cached_count);
    }
    executor_.copy(own, own_count, all.data() + cached_count);
    return all.data();
  }

  kernels::Executor& executor_;
  kernels::Buffer<float> rotated_;  ///< the visible keys of the layer that comes next, at their positions
  kernels::Buffer<float> cached_values_, q_, k_, v_, out_;
  kernels::Buffer<int32_t> row_max_;
  kernels::Buffer<int64_t> row_units_;
  std::map<std::string, Layer> layers_;
  int64_t first_ = 0, end_ = 0;  ///< stream positions held
  int64_t skip_ = 0, visible_ = 0;
  Digest chain_{};
};

class NeuralCache : public Procedure {
 public:
  NeuralCache(const EvalConfig& config, model::Gpt& model, WindowPlan plan) : config_(config), model_(model), plan_(plan), memory_(model.tape().executor()) {}

  Result<bool> step(Harness& harness) override {
    // A window that ends the stream is the last: those after it would score the same targets again.
    if (next_ == plan_.count() || memory_.end() == harness.predictions()) return false;
    const Window w = plan_.window(next_);
    const int64_t first = std::max(memory_.first(), w.start - config_.cache.tokens);
    memory_.show(first, w.start - first);
    ScoreOptions options;
    options.temperature = static_cast<float>(config_.temperature);
    options.attention = &memory_;
    options.first_position = w.start - first;
    const WindowGroup group{{w}};
    FAIRWAY_TRY(harness.score(model_, {&group, 1}, options));
    ++next_;
    // An entry comes from the window in which its position is scored, and stays.
    const int64_t fresh = w.start + w.length - memory_.end();
    if (fresh <= 0) return true;
    harness.read(memory_.end(), fresh);
    const int64_t next_start = next_ < plan_.count() ? plan_.window(next_).start : w.start;
    memory_.keep(w.length - fresh, fresh, std::max(memory_.first(), next_start - config_.cache.tokens));
    FAIRWAY_TRY(harness.updated([&] { return state_digest(); }));
    return true;
  }
  void archive_state(Archive& archive) override { memory_.archive(archive); }
  void archive_position(Archive& archive) override { archive.value(next_); }

 private:
  EvalConfig config_;
  model::Gpt& model_;
  WindowPlan plan_;
  Memory memory_;
  int64_t next_ = 0;
};

}  // namespace

Result<std::unique_ptr<Procedure>> make_neural_cache(const EvalConfig& config, model::Gpt& model, int64_t predictions) {
  EvalConfig windows = config;
  windows.method = Method::kSlidingC;
  FAIRWAY_ASSIGN(WindowPlan plan, WindowPlan::create(windows, predictions));
  return std::unique_ptr<Procedure>(std::make_unique<NeuralCache>(config, model, plan));
}

}  // namespace fairway::eval
