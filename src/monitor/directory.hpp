// A directory that is read entry by entry, relative to an open one, without a list of its names.
//
// Thread safety: one thread at a time.
#pragma once

#include <dirent.h>
#include <fcntl.h>

#include <cerrno>
#include <memory>
#include <type_traits>

#include "nexus/base/result.hpp"
#include "nexus/host/fd.hpp"

namespace nexus::monitor {

class Directory {
 public:
  /// `parent`: a directory, or AT_FDCWD.
  [[nodiscard]] static Result<Directory> open_at(int parent, const char* name) {
    host::Fd fd(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    DIR* directory = fd ? ::fdopendir(fd.get()) : nullptr;
    if (directory == nullptr) return std::unexpected(Error::from_errno("open directory"));
    static_cast<void>(fd.release());
    return Directory(directory);
  }

  [[nodiscard]] int fd() const noexcept { return ::dirfd(directory_.get()); }

  /// Calls `visit(name)` or `visit(name, type)` (DT_DIR, ...) for every entry. An error when there
  /// may be more that could not be read.
  template <typename Visit>
  [[nodiscard]] Status for_each(Visit&& visit) const {
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(directory_.get());
      if (entry == nullptr && errno == 0) return {};
      if (entry == nullptr) return std::unexpected(Error::from_errno("read directory"));
      if constexpr (std::is_invocable_v<Visit, const char*, unsigned char>) {
        visit(entry->d_name, entry->d_type);
      } else {
        visit(entry->d_name);
      }
    }
  }

 private:
  struct Close {
    void operator()(DIR* directory) const noexcept { ::closedir(directory); }
  };
  explicit Directory(DIR* directory) : directory_(directory) {}
  std::unique_ptr<DIR, Close> directory_;
};

}  // namespace nexus::monitor
