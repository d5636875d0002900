#include "nexus/host/kept_files.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

#include "nexus/host/file.hpp"

namespace nexus::host {
namespace {

constexpr std::size_t kPage = 4U << 10;  // at least
constexpr std::size_t kFirstRead = kPage;

bool may_be_kept(int fd) {
  struct statfs kind{};
  return ::fstatfs(fd, &kind) == 0 &&
         (kind.f_type == PROC_SUPER_MAGIC || kind.f_type == SYSFS_MAGIC);
}

/// Whether a read that gave `got` bytes, fewer than there was room for, has reached the end.
bool is_all(std::size_t got, Record record) {
  switch (record) {
    case Record::kWholeFile:
      return true;
    case Record::kShort:
      return got + static_cast<std::size_t>(Record::kShort) < kPage;
    case Record::kUnknown:
      return false;
  }
  return false;
}

/// From the beginning of the file, wherever it was read before.
Result<std::string_view> drain(int fd, const std::string& path, std::vector<char>& bytes,
                               Record record) {
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
    const bool was_short = static_cast<std::size_t>(got) < bytes.size() - used;
    used += static_cast<std::size_t>(got);
    if (was_short && is_all(static_cast<std::size_t>(got), record)) break;
  }
  if (used > kMaxFile)
    return fail(Errc::kExhausted, "read {}: larger than {} bytes", path, kMaxFile);
  return std::string_view(bytes.data(), used);
}

}  // namespace

Result<std::string_view> KeptFile::read(const std::string& path, std::vector<char>& bytes,
                                        Record record) {
  if (fd_) {
    auto text = drain(fd_.get(), path, bytes, record);
    if (text) return text;
    fd_.reset();
  }
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) {
    // Of many things a host has but a few: it is told again and again in the same words.
    if (!absent_) absent_ = Error::from_errno("open " + path);
    return std::unexpected(*absent_);
  }
  if (!fd) return std::unexpected(Error::from_errno("open " + path));
  // Of any file: only those of procfs, which are kept, have records.
  auto text = drain(fd.get(), path, bytes, Record::kUnknown);
  if (text && may_be_kept(fd.get())) fd_ = std::move(fd);
  return text;
}

Result<std::string_view> KeptFiles::read(const std::string& path, Record record) {
  std::size_t place = expected_ < entries_.size() && entries_[expected_].path == path
                          ? expected_
                          : static_cast<std::size_t>(0);
  while (place < entries_.size() && entries_[place].path != path) ++place;
  if (place == entries_.size()) {
    if (entries_.size() >= kMost) {
      KeptFile once;
      return once.read(path, bytes_, record);
    }
    entries_.push_back({path, {}});
  }
  expected_ = place + 1 < entries_.size() ? place + 1 : 0;
  return entries_[place].file.read(path, bytes_, record);
}

}  // namespace nexus::host
