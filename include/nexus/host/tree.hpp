// Files below a directory, found and looked at without ever leaving it: openat2(2) with
// RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS and RESOLVE_NO_XDEV, so that no symbolic link, no "..", no
// other file system and no bind mount is entered, whatever others change meanwhile.
//
// Only regular files with one name are found (a second hard link would free nothing, and may be
// somebody's trap). Bounds: kMostEntries a walk; what is beyond is said. Thread safety: functions
// without state.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/host/fd.hpp"

namespace nexus::host {

inline constexpr std::size_t kMostEntries = 1'000'000;

/// What a file was when it was looked at: another one under its name is not taken for it.
struct FileIdentity {
  dev_t device = 0;
  ino_t inode = 0;
  std::int64_t size = 0;
  std::int64_t modified_ns = 0;
  bool operator==(const FileIdentity&) const = default;
};

struct FoundFile {
  std::string path;  // relative to the directory that was walked
  FileIdentity identity;
  std::uint64_t bytes = 0;  // that its blocks take
  WallTime used{};          // when it was last changed, written or read
};

struct Walk {
  std::vector<FoundFile> files;
  std::size_t links = 0;       // symbolic links that were not followed
  std::size_t mounts = 0;      // directories of other file systems that were not entered
  std::size_t unreadable = 0;  // directories that could not be read
  bool complete = true;        // false: there is more than kMostEntries, or go_on said no
};

struct WalkWish {
  std::uint32_t depth = 0;  // directories below the root that are entered, one in the other
  /// By its name: whether a file is looked at.
  std::function<bool(const std::string& name)> wanted;
  /// Gets what is found, so that not all of it has to be kept; none: Walk::files keeps it.
  std::function<void(FoundFile&&)> take;
  /// Asked at every entry; false ends the walk.
  std::function<bool()> go_on;
};

/// `root` as a directory, with no symbolic link in any part of it. kNotFound: it is not there.
[[nodiscard]] Result<Fd> open_root(const std::string& root);
/// A directory (O_DIRECTORY) or file below an open directory, by the rules above. kUnsupported: a
/// symbolic link or another file system is in the way.
[[nodiscard]] Result<Fd> open_below(int root, const std::string& path, int flags);

/// Regular files below `root`, in no order. Neither a file's nor a directory's server is waited
/// for: a mount that hangs is not entered, and what is known of a file is what the kernel has at
/// hand.
[[nodiscard]] Result<Walk> files_below(const std::string& root, const WalkWish& wish);

/// As fstat(2) tells it. kUnsupported: no regular file, or one with more than one name.
[[nodiscard]] Result<FoundFile> look_at(int fd);

using FileKey = std::pair<dev_t, ino_t>;
struct OpenFiles {
  std::map<FileKey, std::size_t> files;  // how often each is open in, or mapped by, any process
  std::size_t unreadable = 0;            // processes that could not be looked into
};
[[nodiscard]] Result<OpenFiles> open_files(const std::string& procfs = "/proc");

}  // namespace nexus::host
