#include "nexus/host/tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

namespace nexus::host {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

Result<Fd> open_resolved(int at, const std::string& path, int flags, std::uint64_t resolve) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.resolve = resolve | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
  while (true) {
    const long fd = ::syscall(SYS_openat2, at, path.c_str(), &how, sizeof how);
    if (fd >= 0) return Fd(static_cast<int>(fd));
    // EAGAIN: something was renamed while the path was walked.
    if (errno == EINTR || errno == EAGAIN) continue;
    if (errno == ELOOP)
      return fail(Errc::kUnsupported, "open {}: a symbolic link is in the way", path);
    if (errno == EXDEV)
      return fail(Errc::kUnsupported, "open {}: it leads to another file system, or out", path);
    if (errno == ENOSYS)
      return fail(Errc::kUnsupported,
                  "open {}: openat2(2), which follows no link, is not to be had: the unit has "
                  "RestrictSUIDSGID=yes, or the kernel is older than 5.6",
                  path);
    return std::unexpected(Error::from_errno("open " + path));
  }
}

std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

std::int64_t nanoseconds(const statx_timestamp& time) {
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

FoundFile found(const FileIdentity& identity, std::uint64_t blocks, std::int64_t used_ns) {
  return {.path = {},
          .identity = identity,
          .bytes = blocks * 512,
          .used = base::from_unix_millis(used_ns / 1'000'000)};
}

FoundFile found(const struct stat& status) {
  return found({.device = status.st_dev,
                .inode = status.st_ino,
                .size = status.st_size,
                .modified_ns = nanoseconds(status.st_mtim)},
               static_cast<std::uint64_t>(status.st_blocks),
               std::max({nanoseconds(status.st_atim), nanoseconds(status.st_mtim),
                         nanoseconds(status.st_ctim)}));
}

FoundFile found(const struct statx& status) {
  return found({.device = ::makedev(status.stx_dev_major, status.stx_dev_minor),
                .inode = status.stx_ino,
                .size = static_cast<std::int64_t>(status.stx_size),
                .modified_ns = nanoseconds(status.stx_mtime)},
               status.stx_blocks,
               std::max({nanoseconds(status.stx_atime), nanoseconds(status.stx_mtime),
                         nanoseconds(status.stx_ctime)}));
}

Directory listing(Fd fd) {
  Directory directory(::fdopendir(fd.get()));
  if (directory != nullptr) std::ignore = fd.release();
  return directory;
}

/// One walk; directories on the way down are held open, so that nobody can swap one for another.
class Walker {
 public:
  Walker(const WalkWish& wish, Walk& out) : wish_(wish), out_(out) {}

  void walk(Fd fd, const std::string& path, std::uint32_t depth) {
    const auto directory = listing(std::move(fd));
    if (directory == nullptr) {
      ++out_.unreadable;
      return;
    }
    while (out_.complete) {
      errno = 0;
      const dirent* entry = ::readdir(directory.get());
      if (entry == nullptr) break;
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (++entries_ > kMostEntries || (wish_.go_on && !wish_.go_on())) {
        out_.complete = false;
        break;
      }
      visit(::dirfd(directory.get()), *entry, path.empty() ? name : path + "/" + name, depth);
    }
    if (errno != 0) ++out_.unreadable;
  }

 private:
  void visit(int directory, const dirent& entry, std::string path, std::uint32_t depth) {
    const std::string name = entry.d_name;
    switch (entry.d_type) {
      case DT_LNK:
        ++out_.links;
        return;
      case DT_DIR:
        if (depth > 0) descend(directory, name, path, depth - 1);
        return;
      case DT_REG:
      case DT_UNKNOWN:
        break;
      default:
        return;
    }
    if (entry.d_type == DT_REG && !wish_.wanted(name)) return;
    struct statx status{};
    if (::statx(directory, entry.d_name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
                STATX_BASIC_STATS, &status) != 0)
      return;  // it has gone
    if (S_ISLNK(status.stx_mode)) {
      ++out_.links;
    } else if (S_ISDIR(status.stx_mode)) {
      if (depth > 0) descend(directory, name, path, depth - 1);
    } else if (S_ISREG(status.stx_mode) && status.stx_nlink == 1 && wish_.wanted(name)) {
      auto file = found(status);
      file.path = std::move(path);
      if (wish_.take) {
        wish_.take(std::move(file));
      } else {
        out_.files.push_back(std::move(file));
      }
    }
  }

  void descend(int directory, const std::string& name, const std::string& path,
               std::uint32_t depth) {
    auto inner = open_below(directory, name, O_RDONLY | O_DIRECTORY);
    if (inner) return walk(*std::move(inner), path, depth);
    if (inner.error().code() == Errc::kNotFound) return;
    ++(inner.error().code() == Errc::kUnsupported ? out_.mounts : out_.unreadable);
  }

  const WalkWish& wish_;
  Walk& out_;
  std::size_t entries_ = 0;
};

/// "7f..-7f.. r--p 00000000 08:01 1234 /usr/lib/...": device and inode of what is mapped.
void add_mapped(std::string_view maps, OpenFiles& out) {
  while (!maps.empty()) {
    auto line = base::take_until(maps, '\n');
    for (int i = 0; i < 3; ++i) std::ignore = base::take_word(line);
    auto device = base::take_word(line);
    const auto inode = base::parse_uint(base::take_word(line)).value_or(0);
    if (inode == 0) continue;
    const auto major = base::parse_uint(base::take_until(device, ':'), 16).value_or(0);
    const auto minor = base::parse_uint(device, 16).value_or(0);
    ++out.files[{::makedev(static_cast<unsigned>(major), static_cast<unsigned>(minor)), inode}];
  }
}

void add_open(const std::string& process, OpenFiles& out) {
  const auto directory =
      listing(Fd(::open((process + "/fd").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
  if (directory == nullptr) {
    if (errno != ENOENT && errno != ESRCH) ++out.unreadable;
    return;
  }
  while (const dirent* entry = ::readdir(directory.get())) {
    // Without asking the file's server: one that hangs must not hold this up.
    struct statx status{};
    if (entry->d_name[0] == '.' ||
        ::statx(::dirfd(directory.get()), entry->d_name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
                STATX_INO | STATX_TYPE, &status) != 0 ||
        !S_ISREG(status.stx_mode))
      continue;
    ++out.files[{::makedev(status.stx_dev_major, status.stx_dev_minor), status.stx_ino}];
  }
}

}  // namespace

Result<Fd> open_root(const std::string& root) {
  if (!root.starts_with('/'))
    return fail(Errc::kInvalidArgument, "{}: expected an absolute path", root);
  return open_resolved(AT_FDCWD, root, O_RDONLY | O_DIRECTORY, 0);
}

Result<Fd> open_below(int root, const std::string& path, int flags) {
  return open_resolved(root, path, flags, RESOLVE_BENEATH | RESOLVE_NO_XDEV);
}

Result<Walk> files_below(const std::string& root, const WalkWish& wish) {
  auto directory = open_root(root);
  if (!directory) return propagate(std::move(directory));
  Walk out;
  Walker(wish, out).walk(*std::move(directory), "", wish.depth);
  return out;
}

Result<FoundFile> look_at(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return std::unexpected(Error::from_errno("stat"));
  if (!S_ISREG(status.st_mode)) return fail(Errc::kUnsupported, "it is no regular file");
  if (status.st_nlink != 1)
    return fail(Errc::kUnsupported, "it has {} names", static_cast<std::uint64_t>(status.st_nlink));
  return found(status);
}

Result<OpenFiles> open_files(const std::string& procfs) {
  auto processes = list_directory(procfs);
  if (!processes) return propagate(std::move(processes));
  OpenFiles out;
  FileBuffer buffer;
  for (const auto& name : *processes) {
    if (!base::parse_uint(name)) continue;
    add_open(procfs + "/" + name, out);
    if (auto maps = buffer.read(procfs + "/" + name + "/maps")) add_mapped(*maps, out);
  }
  return out;
}

}  // namespace nexus::host
