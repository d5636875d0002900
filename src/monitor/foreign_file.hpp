// Files in directories that others may write to: textfiles, logs.
//
// The agent may read what those others may not, and says in errors and metrics what it has read. So
// a symbolic link is followed only when root or the agent's own user made it, or when it leads to a
// file of the user who made it; whoever may write to the directory cannot have the agent read, say,
// /etc/shadow for him. What the link says is read from the link that was judged, whatever is put in
// its place meanwhile. Thread safety: a function without state.
#pragma once

#include <sys/stat.h>

#include <string>

#include "nexus/base/result.hpp"
#include "nexus/host/fd.hpp"

namespace nexus::monitor {

/// A regular file, open for reading, and what fstat(2) says of it. kPermissionDenied: a link that
/// is not followed; kInvalidArgument: it is no regular file.
[[nodiscard]] Result<host::Fd> open_foreign(const std::string& path, struct stat& info);

/// Whether everybody may read the file, so that an error may quote it.
[[nodiscard]] inline bool may_be_quoted(const struct stat& info) noexcept {
  return (info.st_mode & S_IROTH) != 0;
}

}  // namespace nexus::monitor
