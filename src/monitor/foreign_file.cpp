#include "monitor/foreign_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <optional>

#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

// A pipe would hang and a terminal become ours.
constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

struct Link {
  std::string target;
  uid_t owner;
};

Result<Link> read_link(const std::string& path) {
  const host::Fd fd(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat info{};
  if (!fd || ::fstat(fd.get(), &info) != 0)
    return std::unexpected(Error::from_errno("open " + base::sanitize_utf8(path)));
  std::array<char, PATH_MAX> target{};
  const ssize_t size = ::readlinkat(fd.get(), "", target.data(), target.size());
  if (size <= 0) return std::unexpected(Error::from_errno("read " + base::sanitize_utf8(path)));
  std::string text(target.data(), static_cast<std::size_t>(size));
  if (!text.starts_with('/')) text.insert(0, path.substr(0, path.rfind('/') + 1));
  return Link{std::move(text), info.st_uid};
}

}  // namespace

Result<host::Fd> open_foreign(const std::string& path, struct stat& info) {
  host::Fd fd(::open(path.c_str(), kFlags | O_NOFOLLOW));
  std::optional<Link> link;
  if (!fd && errno == ELOOP) {
    auto read = read_link(path);
    if (!read) return std::unexpected(read.error());
    link = *std::move(read);
    fd = host::Fd(::open(link->target.c_str(), kFlags));
  }
  if (!fd || ::fstat(fd.get(), &info) != 0)
    return std::unexpected(Error::from_errno("open " + base::sanitize_utf8(path)));
  const bool trusted = !link || link->owner == 0 || link->owner == ::geteuid();
  if (!trusted && link->owner != info.st_uid)
    return fail(Errc::kPermissionDenied,
                "{}: a symbolic link of user {} to a file of user {} is not followed",
                base::sanitize_utf8(path), link->owner, info.st_uid);
  if (!S_ISREG(info.st_mode))
    return fail(Errc::kInvalidArgument, "{}: expected a regular file", base::sanitize_utf8(path));
  return fd;
}

}  // namespace nexus::monitor
