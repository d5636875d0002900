// What is written to standard error, the log's lines among it, while an object of this is there.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <stdexcept>
#include <string>

namespace nexus::test {

class CapturedStderr {
 public:
  CapturedStderr() : file_(std::tmpfile()), before_(::dup(STDERR_FILENO)) {
    if (file_ == nullptr || before_ < 0 || ::dup2(::fileno(file_), STDERR_FILENO) < 0)
      throw std::runtime_error("standard error cannot be captured");
  }
  ~CapturedStderr() {
    ::dup2(before_, STDERR_FILENO);
    ::close(before_);
    std::fclose(file_);
  }
  CapturedStderr(const CapturedStderr&) = delete;
  CapturedStderr& operator=(const CapturedStderr&) = delete;

  [[nodiscard]] std::string text() const {
    std::string out(1 << 16, '\0');
    const auto read = ::pread(::fileno(file_), out.data(), out.size(), 0);
    out.resize(read < 0 ? 0 : static_cast<std::size_t>(read));
    return out;
  }

 private:
  std::FILE* file_;
  int before_;
};

}  // namespace nexus::test
