#include "monitor/foreign_file.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <optional>
#include <string_view>

#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

// A pipe would hang and a terminal become ours.
constexpr int kFile = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
constexpr int kDirectory = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr int kMostLinks = 40;  // as the kernel has it

/// One way through a path, name by name.
class Walk {
 public:
  explicit Walk(const std::string& path) : path_(path), left_(path) {}

  Result<host::Fd> open(struct stat& info) {
    Status at = begin(left_.starts_with('/'));
    while (at) {
      const std::string name = next_name();
      if (name.empty()) return bad("expected a regular file");
      // What it is shows before it is opened: for some devices that is an act.
      const int how = left_.empty() ? O_PATH | O_NOFOLLOW | O_CLOEXEC : kDirectory;
      host::Fd found(::openat(here_.get(), name.c_str(), how));
      if (found && left_.empty()) {
        if (::fstat(found.get(), &info) != 0) return failed();
        if (!S_ISLNK(info.st_mode)) return open_judged(found, info);
        errno = ELOOP;
        at = follow(name);
      } else if (found) {
        here_ = std::move(found);
      } else if (errno == ELOOP || errno == ENOTDIR) {
        at = follow(name);
      } else {
        at = failed();
      }
    }
    return std::unexpected(at.error());
  }

 private:
  Status begin(bool at_root) {
    here_ = host::Fd(::open(at_root ? "/" : ".", kDirectory));
    return here_ ? Status() : failed();
  }

  std::string next_name() {
    left_.erase(0, std::min(left_.find_first_not_of('/'), left_.size()));
    const std::size_t end = std::min(left_.find('/'), left_.size());
    std::string name = left_.substr(0, end);
    left_.erase(0, std::min(left_.find_first_not_of('/', end), left_.size()));
    return name;
  }

  /// What is there in place of a directory, or of the file: a link, or the path is wrong.
  Status follow(const std::string& name) {
    const int reason = errno;
    const host::Fd link(::openat(here_.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat info{};
    if (!link || ::fstat(link.get(), &info) != 0) return failed();
    if (!S_ISLNK(info.st_mode)) {
      errno = reason;
      return failed();
    }
    if (++links_ > kMostLinks) return bad("more than 40 symbolic links");
    if (info.st_uid != 0 && info.st_uid != ::geteuid()) {
      if (stranger_ && *stranger_ != info.st_uid) return denied(*stranger_, "a link", info.st_uid);
      stranger_ = info.st_uid;
    }
    struct statfs kind{};
    const bool is_magic = ::fstatfs(link.get(), &kind) == 0 && kind.f_type == PROC_SUPER_MAGIC;
    // /proc/PID/root leads to another root, which its text does not say.
    if (is_magic && !left_.empty()) {
      here_ = host::Fd(::openat(here_.get(), name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      return here_ ? Status() : failed();
    }
    std::array<char, PATH_MAX> target{};
    const ssize_t size = ::readlinkat(link.get(), "", target.data(), target.size());
    if (size <= 0) return failed();
    const std::string_view text(target.data(), static_cast<std::size_t>(size));
    left_ = left_.empty() ? std::string(text) : fmt::format("{}/{}", text, left_);
    return text.starts_with('/') ? begin(true) : Status();
  }

  Result<host::Fd> open_judged(const host::Fd& found, const struct stat& info) const {
    if (stranger_ && *stranger_ != info.st_uid) return denied(*stranger_, "a file", info.st_uid);
    if (!S_ISREG(info.st_mode)) return bad("expected a regular file");
    host::Fd file(::open(fmt::format("/proc/self/fd/{}", found.get()).c_str(), kFile));
    if (!file) return failed();
    return file;
  }

  [[nodiscard]] std::unexpected<Error> failed() const {
    return std::unexpected(Error::from_errno("open " + base::sanitize_utf8(path_)));
  }
  [[nodiscard]] std::unexpected<Error> bad(std::string_view what) const {
    return fail(Errc::kInvalidArgument, "{}: {}", base::sanitize_utf8(path_), what);
  }
  [[nodiscard]] std::unexpected<Error> denied(uid_t whose, std::string_view to, uid_t other) const {
    return fail(Errc::kPermissionDenied,
                "{}: a symbolic link of user {} to {} of user {} is not followed",
                base::sanitize_utf8(path_), whose, to, other);
  }

  const std::string& path_;
  std::string left_;  // to be walked, from here_
  host::Fd here_;
  int links_ = 0;
  std::optional<uid_t> stranger_;  // who made links that were followed, neither root nor us
};

}  // namespace

Result<host::Fd> open_foreign(const std::string& path, struct stat& info) {
  return Walk(path).open(info);
}

}  // namespace nexus::monitor
