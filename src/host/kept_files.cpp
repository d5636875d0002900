#include "nexus/host/kept_files.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

#include "nexus/host/file.hpp"

namespace nexus::host {
namespace {

constexpr std::size_t kFirstRead = 4U << 10;

bool may_be_kept(int fd) {
  struct statfs kind{};
  return ::fstatfs(fd, &kind) == 0 &&
         (kind.f_type == PROC_SUPER_MAGIC || kind.f_type == SYSFS_MAGIC);
}

/// From the beginning of the file, wherever it was read before.
Result<std::string_view> drain(int fd, const std::string& path, std::vector<char>& bytes) {
  if (bytes.empty()) bytes.resize(kFirstRead);
  std::size_t used = 0;
  while (true) {
    if (used == bytes.size()) {
      if (used > kMaxFile) break;
      bytes.resize(bytes.size() * 2);
    }
    // A short read is not the end: seq_file hands out a page at a time. Only 0 is.
    const ssize_t got =
        ::pread(fd, bytes.data() + used, bytes.size() - used, static_cast<off_t>(used));
    if (got < 0) {
      if (errno == EINTR) continue;
      return std::unexpected(Error::from_errno("read " + path));
    }
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
  }
  if (used > kMaxFile)
    return fail(Errc::kExhausted, "read {}: larger than {} bytes", path, kMaxFile);
  return std::string_view(bytes.data(), used);
}

}  // namespace

Result<std::string_view> KeptFile::read(const std::string& path, std::vector<char>& bytes) {
  if (fd_) {
    auto text = drain(fd_.get(), path, bytes);
    if (text) return text;
    fd_.reset();
  }
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::unexpected(Error::from_errno("open " + path));
  auto text = drain(fd.get(), path, bytes);
  if (text && may_be_kept(fd.get())) fd_ = std::move(fd);
  return text;
}

Result<std::string_view> KeptFiles::read(const std::string& path) {
  std::size_t place = expected_ < entries_.size() && entries_[expected_].path == path
                          ? expected_
                          : static_cast<std::size_t>(0);
  while (place < entries_.size() && entries_[place].path != path) ++place;
  if (place == entries_.size()) {
    if (entries_.size() >= kMost) {
      KeptFile once;
      return once.read(path, bytes_);
    }
    entries_.push_back({path, {}});
  }
  expected_ = place + 1 < entries_.size() ? place + 1 : 0;
  return entries_[place].file.read(path, bytes_);
}

}  // namespace nexus::host
