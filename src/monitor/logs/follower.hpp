// Follower: one log file through its life: it grows, is renamed and replaced, is truncated in
// place.
//
// A file is known by device, inode and a hash of its first bytes, and its place is the end of the
// last whole line that was read: what place() gave, resume() reads on exactly there. Bytes behind
// the last line end are not a line yet; they become one when the file is given up (it was renamed
// away, and nothing was written for a while). A place also has a hash of the bytes in front of it,
// so that a copy of the file (copytruncate) is told from another that begins alike.
//
// Who writes on behind a truncation leaves a hole or NULs: those are passed over. Thread safety:
// one thread.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/host/fd.hpp"

namespace nexus::monitor {

struct FilePlace {
  std::string path;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t offset = 0;       // of the first byte that was not read
  std::uint64_t head_length = 0;  // bytes that `head` is a hash of
  std::uint64_t head = 0;
  std::uint64_t tail = 0;  // hash of the bytes in front of `offset`; 0: not known
  bool operator==(const FilePlace&) const = default;
};

class Follower {
 public:
  static constexpr std::size_t kSlice = 1UL << 20;  // bytes that one read() takes at most

  struct Takers {
    std::function<void(std::string_view line)> line;
    std::function<void(std::string_view begin)> long_line;
  };

  /// `offset`: where to begin; it is looked for the begin of a line only at 0 and at places of
  /// save().
  [[nodiscard]] static Result<Follower> open(const std::string& path, std::uint64_t offset);
  /// The file of that place, under its path or renamed in the same directory; nothing when it is
  /// gone or another by now.
  [[nodiscard]] static std::optional<Follower> resume(const FilePlace& place);

  /// Reads what is new; true when there may be more. A truncated file begins anew.
  [[nodiscard]] Result<bool> read(const Takers& takers, SteadyTime now);
  /// Reads on from `place`, when this file has what stood in front of it: it is that file, or a
  /// copy.
  [[nodiscard]] bool go_on_from(const FilePlace& place);
  /// Whether this one has so far the bytes of `other`.
  [[nodiscard]] bool is_copy_of(const Follower& other) const;
  /// The rest without a line end, when the file is given up.
  void finish(const Takers& takers);

  [[nodiscard]] FilePlace place() const;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Whether the path leads to this file.
  [[nodiscard]] bool is_at(const struct stat& other) const noexcept;
  [[nodiscard]] SteadyTime last_growth() const noexcept { return last_growth_; }
  /// The file has another name now.
  void set_path(std::string path) { path_ = std::move(path); }
  /// Where it stood when it was last truncated in place.
  [[nodiscard]] std::optional<FilePlace> take_truncated() {
    return std::exchange(truncated_, std::nullopt);
  }

  /// When its path was first seen to lead elsewhere; the owner's to keep.
  std::optional<SteadyTime> away_since = std::nullopt;

 private:
  Follower(std::string path, host::Fd fd, const struct stat& info, std::uint64_t offset);
  void note_read();
  [[nodiscard]] bool head_changed() const;
  void begin_anew();
  void skip_hole(const Takers& takers);
  void take(std::string_view bytes, const Takers& takers);

  std::string path_;
  host::Fd fd_;
  std::uint64_t device_ = 0;
  std::uint64_t inode_ = 0;
  std::uint64_t offset_ = 0;  // end of the last whole line
  std::uint64_t read_ = 0;    // end of what was read
  std::string pending_;       // of the line without an end, its first bytes
  bool long_ = false;
  std::uint64_t head_length_ = 0;
  std::uint64_t head_ = 0;
  std::uint64_t tail_ = 0;
  SteadyTime last_growth_{};
  std::optional<FilePlace> truncated_;
};

}  // namespace nexus::monitor
