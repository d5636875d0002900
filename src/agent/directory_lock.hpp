// DirectoryLock: held for the life of the agent: two agents on one data directory would undo each
// other.
//
// Thread safety: one thread.
#pragma once

#include <string>
#include <utility>

#include "nexus/base/result.hpp"

namespace nexus::agent {

class DirectoryLock {
 public:
  /// Makes the directory (0750) where there is none. kConflict: another agent holds it.
  [[nodiscard]] static Result<DirectoryLock> take(const std::string& directory);
  DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  DirectoryLock& operator=(DirectoryLock&&) = delete;
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace nexus::agent
