#include "nexus/host/file.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>

#include "nexus/host/fd.hpp"

namespace nexus::host {
namespace {

// Most files below /proc fit; larger ones grow the buffer once.
constexpr std::size_t kFirstRead = 16U << 10;

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};

Status write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return std::unexpected(Error::from_errno("write"));
    }
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Status fill_and_close(Fd file, std::string_view content, int mode) {
  if (::fchmod(file.get(), static_cast<mode_t>(mode)) != 0) {
    return std::unexpected(Error::from_errno("chmod"));
  }
  if (Status written = write_all(file.get(), content); !written) return written;
  if (::fsync(file.get()) != 0) return std::unexpected(Error::from_errno("fsync"));
  // close() reports what NFS and quotas held back.
  if (::close(file.release()) != 0) return std::unexpected(Error::from_errno("close"));
  return {};
}

Status sync_directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) {
    return std::unexpected(Error::from_errno("fsync " + directory));
  }
  return {};
}

}  // namespace

Result<std::string_view> FileBuffer::read(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::unexpected(Error::from_errno("open " + path));
  return drain(fd.get(), path);
}

Result<std::string_view> FileBuffer::read_at(int directory, const char* name) {
  const Fd fd(::openat(directory, name, O_RDONLY | O_CLOEXEC));
  if (!fd) return std::unexpected(Error::from_errno(std::string("open ") + name));
  return drain(fd.get(), name);
}

Result<std::string_view> FileBuffer::drain(int fd, std::string_view name) {
  if (bytes_.empty()) bytes_.resize(kFirstRead);
  std::size_t used = 0;
  while (true) {
    if (used == bytes_.size()) {
      if (used > kMaxFile) {
        return fail(Errc::kExhausted, "read {}: larger than {} bytes", name, kMaxFile);
      }
      bytes_.resize(bytes_.size() * 2);
    }
    // A short read is not the end: seq_file hands out a page at a time. Only 0 is.
    const ssize_t got = ::read(fd, bytes_.data() + used, bytes_.size() - used);
    if (got < 0) {
      if (errno == EINTR) continue;
      return std::unexpected(Error::from_errno("read " + std::string(name)));
    }
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
  }
  if (used > kMaxFile) {
    return fail(Errc::kExhausted, "read {}: larger than {} bytes", name, kMaxFile);
  }
  return std::string_view(bytes_.data(), used);
}

Result<std::string> read_file(const std::string& path) {
  FileBuffer buffer;
  Result<std::string_view> text = buffer.read(path);
  if (!text) return propagate(std::move(text));
  return std::string(*text);
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(path.c_str()));
  if (!directory) return std::unexpected(Error::from_errno("open directory " + path));
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return std::unexpected(Error::from_errno("read directory " + path));
  std::ranges::sort(names);
  return names;
}

Status write_file_atomically(const std::string& path, std::string_view content, int mode) {
  std::string temporary = path + ".XXXXXX";
  Fd file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!file) return std::unexpected(Error::from_errno("create a temporary file beside " + path));
  Status filled = fill_and_close(std::move(file), content, mode);
  if (filled && ::rename(temporary.c_str(), path.c_str()) != 0) {
    filled = std::unexpected(Error::from_errno("rename"));
  }
  if (!filled) {
    ::unlink(temporary.c_str());
    return propagate(std::move(filled), "write {}", path);
  }
  return sync_directory_of(path);
}

}  // namespace nexus::host
