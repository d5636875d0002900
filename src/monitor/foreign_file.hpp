// Files in directories that others may write to: textfiles, logs.
//
// The agent may read what those others may not, and says in errors and metrics what it has read. So
// symbolic links are followed one by one, wherever in the path they stand and whatever they lead
// to: those that root or the agent's own user made always, those of another user only when the file
// at the end is his own. Whoever may write to a directory that a path leads through cannot have the
// agent read, say, /etc/shadow for him. What a link says is read from the link that was judged, and
// the file is opened below the directory that was reached, whatever is put in their places
// meanwhile. Thread safety: a function without state.
#pragma once

#include <sys/stat.h>

#include <string>

#include "nexus/base/result.hpp"
#include "nexus/host/fd.hpp"

namespace nexus::monitor {

/// A regular file, open for reading, and what fstat(2) says of it. kPermissionDenied: a link that
/// is not followed; kInvalidArgument: it is no regular file, or behind more than 40 links.
[[nodiscard]] Result<host::Fd> open_foreign(const std::string& path, struct stat& info);

/// Whether everybody may read the file, so that an error may quote it.
[[nodiscard]] inline bool may_be_quoted(const struct stat& info) noexcept {
  return (info.st_mode & S_IROTH) != 0;
}

}  // namespace nexus::monitor
