#include "monitor/logs/follower.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "monitor/foreign_file.hpp"
#include "monitor/logs/matcher.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

constexpr std::size_t kHead = 256;
constexpr std::size_t kBlock = 256UL << 10;

/// Of at most kHead bytes; 0 when they are not there.
std::uint64_t hash_of(int fd, std::uint64_t from, std::size_t length) {
  std::array<char, kHead> bytes{};
  const ssize_t count =
      ::pread(fd, bytes.data(), std::min(length, kHead), static_cast<off_t>(from));
  if (length == 0 || count < 0 || static_cast<std::size_t>(count) != length) return 0;
  return base::fnv1a({bytes.data(), length});
}

std::uint64_t hash_of_head(int fd, std::size_t length) {
  return hash_of(fd, 0, length);
}

std::uint64_t hash_in_front(int fd, std::uint64_t offset) {
  const auto length = std::min<std::uint64_t>(offset, kHead);
  return hash_of(fd, offset - length, length);
}

std::uint64_t size_of(int fd) {
  struct stat info{};
  return ::fstat(fd, &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

}  // namespace

Follower::Follower(std::string path, host::Fd fd, const struct stat& info, std::uint64_t offset)
    : path_(std::move(path)),
      fd_(std::move(fd)),
      device_(info.st_dev),
      inode_(info.st_ino),
      offset_(offset),
      read_(offset) {
  note_read();
}

Result<Follower> Follower::open(const std::string& path, std::uint64_t offset) {
  struct stat info{};
  auto fd = open_foreign(path, info);
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
    auto fd = open_foreign(path, info);
    if (!fd || static_cast<std::uint64_t>(info.st_size) < place.offset) return std::nullopt;
    if (place.head_length > 0 && hash_of_head(fd->get(), place.head_length) != place.head)
      return std::nullopt;
    if (place.tail != 0 && hash_in_front(fd->get(), place.offset) != place.tail)
      return std::nullopt;
    return Follower(place.path, std::move(*fd), info, place.offset);
  }
  return std::nullopt;
}

bool Follower::go_on_from(const FilePlace& place) {
  const bool same = place.head_length > 0 && place.tail != 0 &&
                    size_of(fd_.get()) >= place.offset &&
                    hash_of_head(fd_.get(), place.head_length) == place.head &&
                    hash_in_front(fd_.get(), place.offset) == place.tail;
  if (!same) return false;
  offset_ = read_ = place.offset;
  note_read();
  return true;
}

bool Follower::is_copy_of(const Follower& other) const {
  const auto size = size_of(fd_.get());
  if (size == 0 || size > size_of(other.fd_.get())) return false;
  const auto head = std::min<std::uint64_t>(size, kHead);
  return hash_of_head(fd_.get(), head) == hash_of_head(other.fd_.get(), head) &&
         hash_in_front(fd_.get(), size) == hash_in_front(other.fd_.get(), size);
}

void Follower::note_read() {
  tail_ = hash_in_front(fd_.get(), offset_);
  const auto wanted = std::min<std::uint64_t>(offset_, kHead);
  if (wanted == head_length_) return;
  head_ = hash_of_head(fd_.get(), wanted);
  head_length_ = wanted;
}

/// A hole may be larger than what is worth reading: a terabyte of nothing.
void Follower::skip_hole(const Takers& takers) {
  const off_t data = ::lseek(fd_.get(), static_cast<off_t>(read_), SEEK_DATA);
  if (data <= 0 || static_cast<std::uint64_t>(data) <= read_) return;
  finish(takers);  // a line does not go on behind it
  offset_ = read_ = static_cast<std::uint64_t>(data);
}

bool Follower::head_changed() const {
  return head_length_ > 0 && hash_of_head(fd_.get(), head_length_) != head_;
}

void Follower::begin_anew() {
  truncated_ = place();
  offset_ = read_ = 0;
  pending_.clear();
  long_ = false;
  head_length_ = head_ = tail_ = 0;
}

Result<bool> Follower::read(const Takers& takers, SteadyTime now) {
  struct stat info{};
  if (::fstat(fd_.get(), &info) != 0) return std::unexpected(Error::from_errno("stat " + path_));
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size == read_) return false;
  // Smaller, or grown over what was copied away: truncated in place.
  if (size < read_ || head_changed()) begin_anew();
  if (size > read_) last_growth_ = now;
  skip_hole(takers);
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
  note_read();
  return taken >= kSlice;
}

void Follower::take(std::string_view bytes, const Takers& takers) {
  while (!bytes.empty()) {
    if (bytes.front() == '\0' && pending_.empty() && !long_) {
      const auto text = std::min(bytes.find_first_not_of('\0'), bytes.size());
      bytes.remove_prefix(text);
      read_ += text;
      continue;
    }
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
  long_ = false;
  offset_ = read_;
}

FilePlace Follower::place() const {
  return {path_, device_, inode_, offset_, head_length_, head_, tail_};
}

bool Follower::is_at(const struct stat& other) const noexcept {
  return other.st_dev == device_ && other.st_ino == inode_;
}

}  // namespace nexus::monitor
