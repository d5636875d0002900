// Result and Error: how every room says that something went wrong at run time.
//
// Result<T> is std::expected<T, Error>. An Error says what was tried, on what, and why it failed;
// each layer on the way up adds one piece of context in front ("read /proc/stat: permission
// denied"). It is logged once, by whoever owns the retry. Broken invariants are not Errors: they go
// through NEXUS_CHECK, which aborts with the word BUG.
//
// Thread safety: plain values.
#pragma once

#include <fmt/core.h>

#include <expected>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace nexus::base {

enum class Errc {
  kInvalidArgument,   // the caller or the file said something that can never be right
  kNotFound,          // the named thing does not exist
  kAlreadyExists,     // the named thing exists and must not
  kPermissionDenied,  // rights are missing
  kUnavailable,       // a counterpart is away; a retry may help
  kTimeout,           // a time limit ran out
  kCancelled,         // somebody asked to stop
  kExhausted,         // a stated limit was reached
  kConflict,          // the state of the thing does not allow it now
  kCorrupt,           // stored or received bytes are damaged or malformed
  kUnsupported,       // known, but not here
  kIo,                // the operating system refused
  kInternal,          // an unexpected answer of a library
};

[[nodiscard]] std::string_view to_string(Errc code) noexcept;

class [[nodiscard]] Error {
 public:
  Error(Errc code, std::string message) : code_(code), message_(std::move(message)) {}

  /// From errno or another error_code; the code is derived from it (ENOENT: kNotFound, EACCES:
  /// kPermissionDenied, ...).
  Error(std::error_code system, std::string_view what);

  /// From errno as it stands now, e.g. `Error::from_errno("open /proc/stat")`.
  static Error from_errno(std::string_view what);
  static Error from_errno(int error_number, std::string_view what);

  [[nodiscard]] Errc code() const noexcept { return code_; }
  [[nodiscard]] const std::error_code& system() const noexcept { return system_; }
  [[nodiscard]] const std::string& message() const noexcept { return message_; }

  /// The same error with "`what`: " in front.
  [[nodiscard]] Error with_context(std::string_view what) const&;
  [[nodiscard]] Error with_context(std::string_view what) &&;

 private:
  Errc code_;
  std::error_code system_;
  std::string message_;
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

/// `return fail(Errc::kNotFound, "collector {}: unknown", name);`
template <typename... Args>
[[nodiscard]] std::unexpected<Error> fail(Errc code, fmt::format_string<Args...> format,
                                          Args&&... args) {
  return std::unexpected(Error(code, fmt::format(format, std::forward<Args>(args)...)));
}

/// `return propagate(std::move(result), "read {}", path);`: the error of a failed result, with
/// context in front.
template <typename T, typename... Args>
[[nodiscard]] std::unexpected<Error> propagate(Result<T>&& failed,
                                               fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(
      std::move(failed).error().with_context(fmt::format(format, std::forward<Args>(args)...)));
}
template <typename T>
[[nodiscard]] std::unexpected<Error> propagate(Result<T>&& failed) {
  return std::unexpected(std::move(failed).error());
}

[[noreturn]] void bug(std::string_view expression, std::string_view file, int line);

}  // namespace nexus::base

namespace nexus {
using base::Errc;
using base::Error;
using base::fail;
using base::propagate;
using base::Result;
using base::Status;
}  // namespace nexus

/// Aborts when an invariant of ours is broken. Never used on input.
#define NEXUS_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::nexus::base::bug(#condition, __FILE__, __LINE__))
