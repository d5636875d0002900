// Directories read entry by entry, relative to an open one, without a list of their names.
//
// Nothing here allocates. Thread safety: one thread at a time.
#pragma once

#include <dirent.h>
#include <fcntl.h>

#include <array>
#include <cerrno>
#include <type_traits>

#include "nexus/base/result.hpp"
#include "nexus/host/fd.hpp"

namespace nexus::monitor {

/// Calls `visit(name)` or `visit(name, type)` (DT_DIR, ...) for every entry of an open directory,
/// `.` and `..` too, from where its descriptor stands: the beginning of one that was just opened.
/// An error when there may be more that could not be read.
template <typename Visit>
[[nodiscard]] Status for_each_entry(int directory, Visit&& visit) {
  alignas(dirent64) std::array<char, 8192> buffer;
  for (;;) {
    const ssize_t got = ::getdents64(directory, buffer.data(), buffer.size());
    if (got == 0) return {};
    if (got < 0) return std::unexpected(Error::from_errno("read directory"));
    for (ssize_t at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer.data() + at);
      at += entry->d_reclen;
      if constexpr (std::is_invocable_v<Visit, const char*, unsigned char>) {
        visit(entry->d_name, entry->d_type);
      } else {
        visit(entry->d_name);
      }
    }
  }
}

class Directory {
 public:
  /// `parent`: a directory, or AT_FDCWD.
  [[nodiscard]] static Result<Directory> open_at(int parent, const char* name) {
    host::Fd fd(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return std::unexpected(Error::from_errno("open directory"));
    return Directory(std::move(fd));
  }

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

  /// As for_each_entry(); once.
  template <typename Visit>
  [[nodiscard]] Status for_each(Visit&& visit) const {
    return for_each_entry(fd_.get(), std::forward<Visit>(visit));
  }

 private:
  explicit Directory(host::Fd fd) : fd_(std::move(fd)) {}
  host::Fd fd_;
};

}  // namespace nexus::monitor
