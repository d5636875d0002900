#include "agent/directory_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

namespace nexus::agent {

Result<DirectoryLock> DirectoryLock::take(const std::string& directory) {
  std::error_code ec;
  const bool made = std::filesystem::create_directories(directory, ec);
  if (ec) return std::unexpected(Error(ec, "create " + directory));
  if (made) ::chmod(directory.c_str(), 0750);  // one that was there keeps its administrator's mode
  const std::string path = directory + "/lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return std::unexpected(Error::from_errno("open " + path));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd);
    return fail(Errc::kConflict, "{}: another nexus-agent uses this data directory", directory);
  }
  return DirectoryLock(fd);
}

DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace nexus::agent
