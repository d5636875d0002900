// Logs: renamed, copied, compressed, without losing a byte of what a writer that never stops
// writes.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <memory>
#include <vector>

#include "nexus/base/id.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"
#include "nexus/host/privileged.hpp"

namespace nexus::host {
namespace {

constexpr std::size_t kBlock = 256U << 10;

/// Where a file is: its directory, held open, and its name in it.
struct Place {
  Fd directory;
  std::string name;
};

Result<Place> place_of(const std::string& root, const std::string& path) {
  auto top = open_root(root);
  if (!top) return propagate(std::move(top));
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return Place{*std::move(top), path};
  auto directory = open_below(top->get(), path.substr(0, slash), O_RDONLY | O_DIRECTORY);
  if (!directory) return propagate(std::move(directory), "{}", root);
  return Place{*std::move(directory), path.substr(slash + 1)};
}

bool is_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && !name.contains('/');
}

Status is_expected(int fd, const FileIdentity& expected) {
  auto now = look_at(fd);
  if (!now) return propagate(std::move(now));
  // Its writer goes on: size and time are not asked.
  if (now->identity.device == expected.device && now->identity.inode == expected.inode) return {};
  return fail(Errc::kConflict, "it is not the file any more that was looked at");
}

/// What mode and owner do not say of who may read and write a file: its label and its list of
/// access. Where `from` has none, or the file system knows none, there is nothing to do.
Status copy_attributes(int from, int to) {
  for (const char* name : {"security.selinux", "system.posix_acl_access"}) {
    std::array<char, 4096> value{};
    const auto size = ::fgetxattr(from, name, value.data(), value.size());
    if (size <= 0) continue;
    if (::fsetxattr(to, name, value.data(), static_cast<std::size_t>(size), 0) != 0)
      return std::unexpected(Error::from_errno(fmt::format("set {}", name)));
  }
  return {};
}

/// A new file with owner, mode and attributes of the open one `like`; on failure there is none.
Result<Fd> create(const Place& place, const std::string& name, int like) {
  struct stat status{};
  if (::fstat(like, &status) != 0) return std::unexpected(Error::from_errno("stat"));
  Fd fd(::openat(place.directory.get(), name.c_str(),
                 O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return std::unexpected(Error::from_errno("create " + name));
  Status done;
  // The owner first: a change of it takes bits off the mode.
  if (::fchown(fd.get(), status.st_uid, status.st_gid) != 0 ||
      ::fchmod(fd.get(), status.st_mode & 07777) != 0)
    done = std::unexpected(Error::from_errno("set owner and mode of " + name));
  if (done) done = copy_attributes(like, fd.get());
  if (done) return fd;
  ::unlinkat(place.directory.get(), name.c_str(), 0);
  return propagate(std::move(done));
}

Status write_whole(int fd, const char* data, std::size_t size) {
  while (size > 0) {
    const auto written = ::write(fd, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return std::unexpected(Error::from_errno("write"));
    data += written;
    size -= static_cast<std::size_t>(written);
  }
  return {};
}

using GoOn = std::function<bool()>;

/// Every block of a file, from where it stands, to `take`.
template <typename Take>
Status each_block(int fd, const GoOn& go_on, Take take) {
  std::vector<char> block(kBlock);
  while (true) {
    if (!go_on()) return fail(Errc::kCancelled, "it was ended");
    const auto got = ::read(fd, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::unexpected(Error::from_errno("read"));
    if (got == 0) return {};
    if (auto ok = take(block.data(), static_cast<std::size_t>(got)); !ok) return ok;
  }
}

struct FreeStream {
  void operator()(ZSTD_CCtx* context) const noexcept { ZSTD_freeCCtx(context); }
};

Status write_zstd(int from, int to, const GoOn& go_on) {
  const std::unique_ptr<ZSTD_CCtx, FreeStream> context(ZSTD_createCCtx());
  if (context == nullptr) return fail(Errc::kExhausted, "zstd: no memory");
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  std::vector<char> out(ZSTD_CStreamOutSize());
  const auto push = [&](const char* data, std::size_t size, ZSTD_EndDirective end) -> Status {
    ZSTD_inBuffer input{data, size, 0};
    while (true) {
      ZSTD_outBuffer output{out.data(), out.size(), 0};
      const auto left = ZSTD_compressStream2(context.get(), &output, &input, end);
      if (ZSTD_isError(left) != 0)
        return fail(Errc::kInternal, "zstd: {}", ZSTD_getErrorName(left));
      if (auto ok = write_whole(to, out.data(), output.pos); !ok) return ok;
      if (end == ZSTD_e_end ? left == 0 : input.pos == input.size) return {};
    }
  };
  auto done = each_block(from, go_on, [&](const char* data, std::size_t size) {
    return push(data, size, ZSTD_e_continue);
  });
  return done ? push(nullptr, 0, ZSTD_e_end) : done;
}

struct CloseGzip {
  void operator()(gzFile file) const noexcept { gzclose(file); }
};

Status write_gzip(int from, int to, const GoOn& go_on) {
  Fd own(::fcntl(to, F_DUPFD_CLOEXEC, 0));
  if (!own) return std::unexpected(Error::from_errno("duplicate a descriptor"));
  std::unique_ptr<gzFile_s, CloseGzip> file(gzdopen(own.get(), "wb6"));
  if (file == nullptr) return fail(Errc::kExhausted, "gzip: no memory");
  std::ignore = own.release();
  auto done = each_block(from, go_on, [&](const char* data, std::size_t size) -> Status {
    if (gzwrite(file.get(), data, static_cast<unsigned>(size)) == static_cast<int>(size)) return {};
    return fail(Errc::kIo, "gzip: it could not be written");
  });
  if (!done) return done;
  if (gzclose(file.release()) != Z_OK) return fail(Errc::kIo, "gzip: it could not be written");
  return {};
}

/// Whether a process other than this one has the file open for writing: the flags of its
/// descriptors (proc_pid_fdinfo(5)).
bool is_written(int fd) {
  struct stat wanted{};
  if (::fstat(fd, &wanted) != 0) return true;
  auto processes = list_directory("/proc");
  if (!processes) return true;
  FileBuffer buffer;
  for (const auto& process : *processes) {
    if (!base::parse_uint(process) || process == std::to_string(::getpid())) continue;
    auto open = list_directory(fmt::format("/proc/{}/fd", process));
    if (!open) {
      if (open.error().code() == Errc::kNotFound) continue;
      return true;  // it may
    }
    for (const auto& number : *open) {
      struct statx status{};
      if (::statx(AT_FDCWD, fmt::format("/proc/{}/fd/{}", process, number).c_str(),
                  AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &status) != 0 ||
          status.stx_ino != wanted.st_ino ||
          ::makedev(status.stx_dev_major, status.stx_dev_minor) != wanted.st_dev)
        continue;
      const auto info = buffer.read(fmt::format("/proc/{}/fdinfo/{}", process, number));
      if (!info) continue;
      auto rest = *info;
      std::ignore = base::take_until(rest, '\n');  // pos
      std::ignore = base::take_word(rest);         // flags:
      const auto flags = base::parse_uint(base::take_word(rest), 8);
      if (!flags || (*flags & O_ACCMODE) != O_RDONLY) return true;
    }
  }
  return false;
}

/// Whether nobody has the file open for writing, and nobody opens it so unheard. A read lease is
/// given only when nobody has, and holds up whoever does from then on, until it is given back
/// (fcntl(2)); where there are no leases, all processes are looked into, before and after.
class Unwritten {
 public:
  explicit Unwritten(int fd) : fd_(fd) {
    ::fcntl(fd_, F_SETSIG, SIGURG);
    leased_ = ::fcntl(fd_, F_SETLEASE, F_RDLCK) == 0;
    ok_ = leased_ || (errno != EAGAIN && errno != EBUSY && !is_written(fd_));
  }
  ~Unwritten() { give_back(); }
  Unwritten(const Unwritten&) = delete;
  Unwritten& operator=(const Unwritten&) = delete;

  /// Now and then, so that a writer who comes is not held up for long.
  [[nodiscard]] bool holds() const { return leased_ ? ::fcntl(fd_, F_GETLEASE) == F_RDLCK : ok_; }
  /// At last, before the file is removed.
  [[nodiscard]] bool held() const { return leased_ ? holds() : ok_ && !is_written(fd_); }
  [[nodiscard]] bool ok() const { return ok_; }

 private:
  void give_back() const {
    if (leased_) ::fcntl(fd_, F_SETLEASE, F_UNLCK);
  }
  int fd_;
  bool leased_ = false;
  bool ok_ = false;
};

Status write_compressed(const Place& place, int from, const std::string& name, Compression how,
                        const GoOn& go_on, const Unwritten& unwritten) {
  const auto temporary = "." + name + "." + base::random_hex(8);
  auto to = create(place, temporary, from);
  if (!to) return propagate(std::move(to));
  const GoOn both = [&] { return unwritten.holds() && go_on(); };
  Status done = how == Compression::kZstd ? write_zstd(from, to->get(), both)
                                          : write_gzip(from, to->get(), both);
  if (done && ::fsync(to->get()) != 0) done = std::unexpected(Error::from_errno("fsync"));
  if (!unwritten.held()) done = fail(Errc::kConflict, "somebody has opened it for writing");
  if (done && ::renameat(place.directory.get(), temporary.c_str(), place.directory.get(),
                         name.c_str()) != 0)
    done = std::unexpected(Error::from_errno("rename to " + name));
  if (!done) ::unlinkat(place.directory.get(), temporary.c_str(), 0);
  return done;
}

}  // namespace

std::string_view suffix(Compression how) noexcept {
  return how == Compression::kZstd ? ".zst" : ".gz";
}

Status LocalPrivileged::rotate(const std::string& root, const std::string& path,
                               const FileIdentity& expected, const std::string& name) {
  if (!is_name(name)) return fail(Errc::kInvalidArgument, "rotate to \"{}\": it is no name", name);
  auto place = place_of(root, path);
  if (!place) return propagate(std::move(place));
  const auto what = fmt::format("rotate {}/{}", root, path);
  auto file = open_below(place->directory.get(), place->name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!file) return propagate(std::move(file), "{}", what);
  if (auto ok = is_expected(file->get(), expected); !ok)
    return propagate(std::move(ok), "{}", what);
  // The empty one is made under the old one's future name, and the two change places in one step:
  // the log is never missing, and whatever ends this half way, no log is under a name that nobody
  // knows.
  auto made = create(*place, name, file->get());
  if (!made) return propagate(std::move(made), "{}", what);
  const int directory = place->directory.get();
  if (::syscall(SYS_renameat2, directory, place->name.c_str(), directory, name.c_str(),
                RENAME_EXCHANGE) == 0)
    return {};
  const int error = errno;
  ::unlinkat(directory, name.c_str(), 0);
  return std::unexpected(Error::from_errno(error, what));
}

Status LocalPrivileged::copy_truncate(const std::string& root, const std::string& path,
                                      const FileIdentity& expected, const std::string& name,
                                      const GoOn& go_on) {
  if (!is_name(name)) return fail(Errc::kInvalidArgument, "copy to \"{}\": it is no name", name);
  auto place = place_of(root, path);
  if (!place) return propagate(std::move(place));
  const auto what = fmt::format("copy {}/{}", root, path);
  auto file = open_below(place->directory.get(), place->name, O_RDWR | O_NONBLOCK | O_NOCTTY);
  if (!file) return propagate(std::move(file), "{}", what);
  if (auto ok = is_expected(file->get(), expected); !ok)
    return propagate(std::move(ok), "{}", what);
  auto copy = create(*place, name, file->get());
  if (!copy) return propagate(std::move(copy), "{}", what);
  const auto append = [&](const char* data, std::size_t size) {
    return write_whole(copy->get(), data, size);
  };
  auto done = each_block(file->get(), go_on, append);
  if (done && ::fsync(copy->get()) != 0) done = std::unexpected(Error::from_errno("fsync"));
  // What came while the copy was flushed.
  if (done) done = each_block(file->get(), go_on, append);
  if (done && ::ftruncate(file->get(), 0) != 0)
    done = std::unexpected(Error::from_errno("truncate"));
  if (!done) {
    ::unlinkat(place->directory.get(), name.c_str(), 0);
    return propagate(std::move(done), "{}", what);
  }
  return {};
}

Result<std::uint64_t> LocalPrivileged::compress(const std::string& root, const std::string& path,
                                                Compression how, const GoOn& go_on) {
  auto place = place_of(root, path);
  if (!place) return propagate(std::move(place));
  const auto what = fmt::format("compress {}/{}", root, path);
  auto file = open_below(place->directory.get(), place->name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!file) return propagate(std::move(file), "{}", what);
  if (auto found = look_at(file->get()); !found) return propagate(std::move(found), "{}", what);
  const Unwritten unwritten(file->get());
  if (!unwritten.ok())
    return fail(Errc::kConflict, "{}: somebody still has it open for writing", what);
  const auto packed = place->name + std::string(suffix(how));
  if (auto ok = write_compressed(*place, file->get(), packed, how, go_on, unwritten); !ok)
    return propagate(std::move(ok), "{}", what);
  struct stat status{};
  if (::fstatat(place->directory.get(), packed.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 ||
      ::unlinkat(place->directory.get(), place->name.c_str(), 0) != 0 ||
      ::fsync(place->directory.get()) != 0)
    return std::unexpected(Error::from_errno(what));
  return static_cast<std::uint64_t>(status.st_size);
}

}  // namespace nexus::host
