#include "nexus/base/result.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace nexus::base {
namespace {

Errc classify(const std::error_code& system) noexcept {
  if (system == std::errc::no_such_file_or_directory || system == std::errc::no_such_process ||
      system == std::errc::no_such_device) {
    return Errc::kNotFound;
  }
  if (system == std::errc::permission_denied || system == std::errc::operation_not_permitted) {
    return Errc::kPermissionDenied;
  }
  if (system == std::errc::file_exists) return Errc::kAlreadyExists;
  if (system == std::errc::timed_out) return Errc::kTimeout;
  if (system == std::errc::operation_canceled) return Errc::kCancelled;
  if (system == std::errc::connection_refused || system == std::errc::connection_reset ||
      system == std::errc::not_connected || system == std::errc::broken_pipe) {
    return Errc::kUnavailable;
  }
  if (system == std::errc::no_space_on_device || system == std::errc::too_many_files_open ||
      system == std::errc::not_enough_memory) {
    return Errc::kExhausted;
  }
  return Errc::kIo;
}

}  // namespace

std::string_view to_string(Errc code) noexcept {
  switch (code) {
    case Errc::kInvalidArgument:
      return "invalid_argument";
    case Errc::kNotFound:
      return "not_found";
    case Errc::kAlreadyExists:
      return "already_exists";
    case Errc::kPermissionDenied:
      return "permission_denied";
    case Errc::kUnavailable:
      return "unavailable";
    case Errc::kTimeout:
      return "timeout";
    case Errc::kCancelled:
      return "cancelled";
    case Errc::kExhausted:
      return "exhausted";
    case Errc::kConflict:
      return "conflict";
    case Errc::kCorrupt:
      return "corrupt";
    case Errc::kUnsupported:
      return "unsupported";
    case Errc::kIo:
      return "io";
    case Errc::kInternal:
      return "internal";
  }
  return "internal";
}

Error::Error(std::error_code system, std::string_view what)
    : code_(classify(system)),
      system_(system),
      message_(fmt::format("{}: {}", what, system.message())) {}

Error Error::from_errno(std::string_view what) {
  return from_errno(errno, what);
}

Error Error::from_errno(int error_number, std::string_view what) {
  return {std::error_code(error_number, std::generic_category()), what};
}

Error Error::with_context(std::string_view what) const& {
  Error copy = *this;
  copy.message_ = fmt::format("{}: {}", what, message_);
  return copy;
}

Error Error::with_context(std::string_view what) && {
  message_ = fmt::format("{}: {}", what, message_);
  return std::move(*this);
}

void bug(std::string_view expression, std::string_view file, int line) {
  std::fprintf(stderr, "BUG: %.*s (%.*s:%d)\n", static_cast<int>(expression.size()),
               expression.data(), static_cast<int>(file.size()), file.data(), line);
  std::abort();
}

}  // namespace nexus::base
