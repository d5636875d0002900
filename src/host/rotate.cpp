// Logs: renamed, copied, compressed, without losing a byte of what a writer that never stops
// writes.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <zlib.h>
#include <zstd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <memory>
#include <vector>

#include "nexus/base/id.hpp"
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

Result<Fd> create(const Place& place, const std::string& name, const struct stat& like) {
  Fd fd(::openat(place.directory.get(), name.c_str(),
                 O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return std::unexpected(Error::from_errno("create " + name));
  // The owner first: a change of it takes bits off the mode.
  if (::fchown(fd.get(), like.st_uid, like.st_gid) != 0 ||
      ::fchmod(fd.get(), like.st_mode & 07777) != 0)
    return std::unexpected(Error::from_errno("set owner and mode of " + name));
  return fd;
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

/// Every block of a file, from where it stands, to `take`.
template <typename Take>
Status each_block(int fd, Take take) {
  std::vector<char> block(kBlock);
  while (true) {
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

Status write_zstd(int from, int to) {
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
  auto done = each_block(
      from, [&](const char* data, std::size_t size) { return push(data, size, ZSTD_e_continue); });
  return done ? push(nullptr, 0, ZSTD_e_end) : done;
}

struct CloseGzip {
  void operator()(gzFile file) const noexcept { gzclose(file); }
};

Status write_gzip(int from, int to) {
  Fd own(::fcntl(to, F_DUPFD_CLOEXEC, 0));
  if (!own) return std::unexpected(Error::from_errno("duplicate a descriptor"));
  std::unique_ptr<gzFile_s, CloseGzip> file(gzdopen(own.get(), "wb6"));
  if (file == nullptr) return fail(Errc::kExhausted, "gzip: no memory");
  std::ignore = own.release();
  auto done = each_block(from, [&](const char* data, std::size_t size) -> Status {
    if (gzwrite(file.get(), data, static_cast<unsigned>(size)) == static_cast<int>(size)) return {};
    return fail(Errc::kIo, "gzip: it could not be written");
  });
  if (!done) return done;
  if (gzclose(file.release()) != Z_OK) return fail(Errc::kIo, "gzip: it could not be written");
  return {};
}

/// Whether somebody has it open for writing: a read lease is given only when nobody has, and holds
/// up whoever opens it so from then on (fcntl(2)).
bool has_writer(int fd) {
  ::fcntl(fd, F_SETSIG, SIGURG);
  return ::fcntl(fd, F_SETLEASE, F_RDLCK) != 0;
}

Status write_compressed(const Place& place, int from, const std::string& name, Compression how) {
  struct stat like{};
  if (::fstat(from, &like) != 0) return std::unexpected(Error::from_errno("stat"));
  const auto temporary = "." + name + "." + base::random_hex(8);
  auto to = create(place, temporary, like);
  Status done =
      to ? (how == Compression::kZstd ? write_zstd(from, to->get()) : write_gzip(from, to->get()))
         : propagate(std::move(to));
  if (done && ::fsync(to->get()) != 0) done = std::unexpected(Error::from_errno("fsync"));
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
  struct stat like{};
  if (::fstat(file->get(), &like) != 0) return std::unexpected(Error::from_errno(what));
  // The new one is made first, under another name, and exchanged: the log is never missing.
  const auto fresh = "." + place->name + "." + base::random_hex(8);
  auto made = create(*place, fresh, like);
  if (!made) return propagate(std::move(made), "{}", what);
  const int directory = place->directory.get();
  const auto give_up = [&](int error) -> Status {
    ::unlinkat(directory, fresh.c_str(), 0);
    return std::unexpected(Error::from_errno(error, what));
  };
  struct stat taken{};
  if (::fstatat(directory, name.c_str(), &taken, AT_SYMLINK_NOFOLLOW) == 0) return give_up(EEXIST);
  if (::syscall(SYS_renameat2, directory, place->name.c_str(), directory, fresh.c_str(),
                RENAME_EXCHANGE) != 0)
    return give_up(errno);
  if (::syscall(SYS_renameat2, directory, fresh.c_str(), directory, name.c_str(),
                RENAME_NOREPLACE) == 0)
    return {};
  const int error = errno;
  // Back as it was: the log must not be left under a name that nobody knows.
  std::ignore = ::syscall(SYS_renameat2, directory, place->name.c_str(), directory, fresh.c_str(),
                          RENAME_EXCHANGE);
  return give_up(error);
}

Status LocalPrivileged::copy_truncate(const std::string& root, const std::string& path,
                                      const FileIdentity& expected, const std::string& name) {
  if (!is_name(name)) return fail(Errc::kInvalidArgument, "copy to \"{}\": it is no name", name);
  auto place = place_of(root, path);
  if (!place) return propagate(std::move(place));
  const auto what = fmt::format("copy {}/{}", root, path);
  auto file = open_below(place->directory.get(), place->name, O_RDWR | O_NONBLOCK | O_NOCTTY);
  if (!file) return propagate(std::move(file), "{}", what);
  if (auto ok = is_expected(file->get(), expected); !ok)
    return propagate(std::move(ok), "{}", what);
  struct stat like{};
  if (::fstat(file->get(), &like) != 0) return std::unexpected(Error::from_errno(what));
  auto copy = create(*place, name, like);
  if (!copy) return propagate(std::move(copy), "{}", what);
  auto done = each_block(file->get(), [&](const char* data, std::size_t size) {
    return write_whole(copy->get(), data, size);
  });
  if (done && ::fsync(copy->get()) != 0) done = std::unexpected(Error::from_errno("fsync"));
  // What came while the copy was flushed.
  if (done) {
    done = each_block(file->get(), [&](const char* data, std::size_t size) {
      return write_whole(copy->get(), data, size);
    });
  }
  if (done && ::ftruncate(file->get(), 0) != 0)
    done = std::unexpected(Error::from_errno("truncate"));
  if (!done) {
    ::unlinkat(place->directory.get(), name.c_str(), 0);
    return propagate(std::move(done), "{}", what);
  }
  return {};
}

Result<std::uint64_t> LocalPrivileged::compress(const std::string& root, const std::string& path,
                                                Compression how) {
  auto place = place_of(root, path);
  if (!place) return propagate(std::move(place));
  const auto what = fmt::format("compress {}/{}", root, path);
  auto file = open_below(place->directory.get(), place->name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!file) return propagate(std::move(file), "{}", what);
  if (auto found = look_at(file->get()); !found) return propagate(std::move(found), "{}", what);
  if (has_writer(file->get()))
    return fail(Errc::kConflict, "{}: somebody still has it open for writing", what);
  const auto packed = place->name + std::string(suffix(how));
  if (auto ok = write_compressed(*place, file->get(), packed, how); !ok)
    return propagate(std::move(ok), "{}", what);
  struct stat status{};
  if (::fstatat(place->directory.get(), packed.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 ||
      ::unlinkat(place->directory.get(), place->name.c_str(), 0) != 0 ||
      ::fsync(place->directory.get()) != 0)
    return std::unexpected(Error::from_errno(what));
  return static_cast<std::uint64_t>(status.st_size);
}

}  // namespace nexus::host
