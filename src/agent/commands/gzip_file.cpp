#include "agent/commands/gzip_file.hpp"

#include <fcntl.h>
#include <unistd.h>

namespace nexus::agent {

Result<GzipFile> GzipFile::open(const std::string& path) {
  const int fd = path == "-" ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::unexpected(Error::from_errno("open " + path));
  gzFile file = ::gzdopen(fd, "rb");
  if (file == nullptr) {
    ::close(fd);
    return fail(Errc::kExhausted, "{}: no memory to read it", path);
  }
  ::gzbuffer(file, 1U << 17);
  return GzipFile(file, path);
}

Error GzipFile::error() const {
  int code = 0;
  std::string_view message = ::gzerror(file_.get(), &code);  // "<fd:3>: unexpected end of file"
  if (const auto colon = message.find(": "); message.starts_with('<') && colon < message.size()) {
    message.remove_prefix(colon + 2);
  }
  return {Errc::kCorrupt, path_ + ": " + std::string(message)};
}

Result<std::string_view> GzipFile::read() {
  const int got = ::gzread(file_.get(), buffer_.data(), static_cast<unsigned>(buffer_.size()));
  int code = 0;
  if (got == 0) ::gzerror(file_.get(), &code);
  if (got < 0 || code == Z_BUF_ERROR) return std::unexpected(error());  // the latter: cut off
  return std::string_view(buffer_.data(), static_cast<std::size_t>(got));
}

}  // namespace nexus::agent
