#include "monitor/logs/follower.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "monitor/logs/matcher.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

constexpr std::size_t kHead = 256;
constexpr std::size_t kBlock = 256UL << 10;

std::uint64_t hash_of_head(int fd, std::size_t length) {
  char bytes[kHead];
  const ssize_t count = ::pread(fd, bytes, std::min(length, kHead), 0);
  if (count < 0 || static_cast<std::size_t>(count) != length) return 0;
  return base::fnv1a({bytes, length});
}

Result<host::Fd> open_regular(const std::string& path, struct stat& info) {
  host::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd || ::fstat(fd.get(), &info) != 0)
    return std::unexpected(Error::from_errno("open " + path));
  if (!S_ISREG(info.st_mode))
    return fail(Errc::kInvalidArgument, "{}: expected a regular file", path);
  return fd;
}

}  // namespace

Follower::Follower(std::string path, host::Fd fd, const struct stat& info, std::uint64_t offset)
    : path_(std::move(path)),
      fd_(std::move(fd)),
      device_(info.st_dev),
      inode_(info.st_ino),
      offset_(offset),
      read_(offset) {
  note_head();
}

Result<Follower> Follower::open(const std::string& path, std::uint64_t offset) {
  struct stat info{};
  auto fd = open_regular(path, info);
  if (!fd) return std::unexpected(fd.error());
  const auto size = static_cast<std::uint64_t>(info.st_size);
  return Follower(path, std::move(*fd), info, std::min(offset, size));
}

std::optional<Follower> Follower::resume(const FilePlace& place) {
  std::vector<std::string> candidates = {place.path};
  const auto slash = place.path.rfind('/');
  const std::string directory = place.path.substr(0, slash);
  if (auto names = host::list_directory(directory.empty() ? "/" : directory)) {
    for (const auto& name : *names) candidates.push_back(directory + "/" + name);
  }
  for (const auto& path : candidates) {
    struct stat info{};
    if (::stat(path.c_str(), &info) != 0 || info.st_dev != place.device ||
        info.st_ino != place.inode)
      continue;
    auto fd = open_regular(path, info);
    if (!fd || static_cast<std::uint64_t>(info.st_size) < place.offset) return std::nullopt;
    if (place.head_length > 0 && hash_of_head(fd->get(), place.head_length) != place.head)
      return std::nullopt;
    return Follower(place.path, std::move(*fd), info, place.offset);
  }
  return std::nullopt;
}

void Follower::note_head() {
  const auto wanted = std::min<std::uint64_t>(offset_, kHead);
  if (wanted == head_length_) return;
  head_ = hash_of_head(fd_.get(), wanted);
  head_length_ = wanted;
}

bool Follower::head_changed() const {
  return head_length_ > 0 && hash_of_head(fd_.get(), head_length_) != head_;
}

void Follower::begin_anew() {
  ++truncations_;
  offset_ = read_ = 0;
  pending_.clear();
  long_ = false;
  head_length_ = head_ = 0;
}

Result<bool> Follower::read(const Takers& takers, SteadyTime now) {
  struct stat info{};
  if (::fstat(fd_.get(), &info) != 0) return std::unexpected(Error::from_errno("stat " + path_));
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size == read_) return false;
  // Smaller, or grown over what was copied away: truncated in place.
  if (size < read_ || head_changed()) begin_anew();
  if (size > read_) last_growth_ = now;
  std::string block(kBlock, '\0');
  std::size_t taken = 0;
  while (taken < kSlice) {
    const ssize_t count = ::pread(fd_.get(), block.data(), block.size(), static_cast<off_t>(read_));
    if (count < 0) return std::unexpected(Error::from_errno("read " + path_));
    if (count == 0) break;
    take({block.data(), static_cast<std::size_t>(count)}, takers);
    taken += static_cast<std::size_t>(count);
    if (static_cast<std::size_t>(count) < block.size()) break;
  }
  note_head();
  return taken >= kSlice;
}

void Follower::take(std::string_view bytes, const Takers& takers) {
  while (!bytes.empty()) {
    const auto end = bytes.find('\n');
    if (end == std::string_view::npos) {
      const auto room = LogMatcher::kLongestLine - pending_.size();
      if (bytes.size() > room) long_ = true;
      pending_ += bytes.substr(0, room);
      read_ += bytes.size();
      return;
    }
    auto line = bytes.substr(0, end);
    bytes.remove_prefix(end + 1);
    read_ += end + 1;
    offset_ = read_;
    if (!pending_.empty() || long_) {
      const auto room = LogMatcher::kLongestLine - pending_.size();
      if (line.size() > room) long_ = true;
      pending_ += line.substr(0, room);
      line = pending_;
    }
    if (line.size() > LogMatcher::kLongestLine) {
      long_ = true;
      line = line.substr(0, LogMatcher::kLongestLine);
    }
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (long_) {
      takers.long_line(line);
    } else {
      takers.line(line);
    }
    pending_.clear();
    long_ = false;
  }
}

void Follower::finish(const Takers& takers) {
  if (pending_.empty()) return;
  if (long_) {
    takers.long_line(pending_);
  } else {
    takers.line(pending_);
  }
  pending_.clear();
  offset_ = read_;
}

FilePlace Follower::place() const {
  return {path_, device_, inode_, offset_, head_length_, head_};
}

bool Follower::is_at(const struct stat& other) const noexcept {
  return other.st_dev == device_ && other.st_ino == inode_;
}

}  // namespace nexus::monitor
