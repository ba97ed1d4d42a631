/// Errors of the outside world as values.
///
/// Goal: bad input travels up to `main` as one numbered code and one sentence that names file, key or offset and says
/// what to do. Non-goal: our own mistakes; those abort in FAIRWAY_CHECK (check.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "engine/base/check.h"

namespace fairway {

/// A code exists only if some caller acts differently on it. Numbers are never reused.
enum class Errc : uint16_t {
  kDisproved = 1,     ///< a verification came out false: a signature, a proof or a digest does not match
  kUsage = 64,        ///< the command line is wrong
  kData = 65,         ///< an input exists but its content is unusable (format, range, mismatch, corrupt)
  kNoInput = 66,      ///< an input does not exist or cannot be opened
  kUnavailable = 69,  ///< something this build or machine lacks (MPI, a device)
  kInternal = 70,     ///< a self-test of ours failed
  kIo = 74,           ///< the operating system refused a read or write; a retry may help
  kInterrupted = 75,  ///< stopped by the user; the state on disk is resumable
};

/// `where` names the culprit ("data/train_000000.bin @ 0x400", "fairway.toml:12 model.width");
/// `what` is one sentence: what is wrong and what to do about it.
struct Error {
  Errc code;
  std::string where;
  std::string what;
  std::string message() const { return where.empty() ? what : where + ": " + what; }
  int exit_code() const { return static_cast<int>(code); }
};

/// Either a T or an Error. Test with `if (!r)`, take with `*r` or `std::move(*r)`.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() {
    FAIRWAY_CHECK(state_.index() == 0);
    return *std::get_if<0>(&state_);
  }
  const T& operator*() const {
    FAIRWAY_CHECK(state_.index() == 0);
    return *std::get_if<0>(&state_);
  }
  T* operator->() { return &**this; }
  const T* operator->() const { return &**this; }
  const Error& error() const {
    FAIRWAY_CHECK(state_.index() == 1);
    return *std::get_if<1>(&state_);
  }

 private:
  std::variant<T, Error> state_;
};

/// Success or an Error.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error error) : error_(std::move(error)) {}
  explicit operator bool() const { return !error_.has_value(); }
  const Error& error() const {
    FAIRWAY_CHECK(error_.has_value());
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

/// Returns from the enclosing function with the error of `expression`, if it has one.
#define FAIRWAY_TRY(expression)                                     \
  do {                                                              \
    if (auto fairway_status_ = (expression); !fairway_status_) {    \
      return fairway_status_.error();                               \
    }                                                               \
  } while (false)

/// `FAIRWAY_ASSIGN(auto bytes, read_file(path));` returns the error or declares `bytes`.
#define FAIRWAY_CONCAT_INNER(a, b) a##b
#define FAIRWAY_CONCAT(a, b) FAIRWAY_CONCAT_INNER(a, b)
#define FAIRWAY_ASSIGN(declaration, expression) \
  FAIRWAY_ASSIGN_INNER(FAIRWAY_CONCAT(fairway_result_, __LINE__), declaration, expression)
#define FAIRWAY_ASSIGN_INNER(temporary, declaration, expression) \
  auto temporary = (expression);                                 \
  if (!temporary) return temporary.error();                      \
  declaration = std::move(*temporary)

}  // namespace fairway
