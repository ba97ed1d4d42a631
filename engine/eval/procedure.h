/// An evaluation procedure: what is scored when, and what is learned in between. One file per procedure in procedures/.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/base/result.h"
#include "engine/base/sha256.h"
#include "engine/eval/config.h"
#include "engine/eval/harness.h"

namespace fairway::eval {

/// Visits everything that a procedure's later steps depend on, to hash it, keep it or put it back.
class Archive {
 public:
  enum class Mode { kHash, kSave, kLoad };
  static Archive hashing() { return Archive(Mode::kHash); }
  static Archive saving() { return Archive(Mode::kSave); }
  static Archive loading(std::span<const std::byte> bytes) {
    Archive a(Mode::kLoad);
    a.source_ = bytes;
    return a;
  }
  Mode mode() const { return mode_; }
  void bytes(void* data, size_t size);
  template <class T>
  void value(T& x) {
    bytes(&x, sizeof x);
  }
  template <class T>
  void vector(std::vector<T>& x) {
    uint64_t size = x.size();
    value(size);
    if (mode_ == Mode::kLoad) x.resize(static_cast<size_t>(size));
    if (size != 0) bytes(x.data(), x.size() * sizeof(T));
  }
  /// What an executor computes with: its copy on the host is brought up to date before, and sent back where it was put in place.
  void parameter(model::Parameter& p);
  void mirrored(kernels::Mirrored<float>& x);
  Digest digest() { return sha_.finish(); }
  std::vector<std::byte> take() { return std::move(saved_); }

 private:
  explicit Archive(Mode mode) : mode_(mode) {}
  Mode mode_;
  Sha256 sha_;
  std::vector<std::byte> saved_;
  std::span<const std::byte> source_;
};

class Procedure {
 public:
  virtual ~Procedure() = default;
  /// Does the next piece of work; false when there was none left.
  virtual Result<bool> step(Harness& harness) = 0;
  /// What has been learned: what distributions depend on besides their window's tokens and fixed weights.
  virtual void archive_state(Archive&) {}
  /// Where the procedure stands.
  virtual void archive_position(Archive& archive) = 0;
  /// A state that never changes is not hashed again.
  virtual bool learns() const { return true; }

  Digest state_digest();
  std::vector<std::byte> save_state();
  std::vector<std::byte> save_position();
  /// Both of the same moment. The stream may be another one from there on.
  void restore(std::span<const std::byte> state, std::span<const std::byte> position);
};

/// The procedure that `config` names, at its start, for P predictions. Learning procedures change `model`. Errors: kData where stream
/// and config do not fit.
Result<std::unique_ptr<Procedure>> make_procedure(const EvalConfig& config, model::Gpt& model, int64_t predictions,
                                                  const std::vector<int64_t>& document_starts);

/// Digest of weights: SHA-256 over every parameter's name, element count (8 bytes) and binary32 values, in registration order.
Digest weights_digest(model::Gpt& model);

}  // namespace fairway::eval
