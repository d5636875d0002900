#include "config/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

namespace nexus::config {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

}  // namespace

Result<FileText> read_file(const std::string& path, std::size_t limit) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.get() < 0) return std::unexpected(Error::from_errno("open"));
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return std::unexpected(Error::from_errno("stat"));
  FileText out;
  out.mode = status.st_mode & 07777U;
  out.owner = status.st_uid;
  out.regular = S_ISREG(status.st_mode);
  std::array<char, 16384> buffer;
  while (true) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got == 0) return out;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::unexpected(Error::from_errno("read"));
    out.text.append(buffer.data(), static_cast<std::size_t>(got));
    if (out.text.size() > limit) return fail(Errc::kExhausted, "larger than {} bytes", limit);
  }
}

Result<std::vector<std::string>> list_toml_files(const std::string& directory) {
  namespace fs = std::filesystem;
  std::vector<std::string> files;
  std::error_code error;
  fs::directory_iterator entry(directory, error);
  if (error == std::errc::no_such_file_or_directory) return files;
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const auto name = entry->path().filename().string();
    if (name.ends_with(".toml") && !name.starts_with('.')) files.push_back(entry->path().string());
  }
  if (error) return std::unexpected(Error(error, "list"));
  std::ranges::sort(files);
  return files;
}

}  // namespace nexus::config
