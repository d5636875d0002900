// GzipFile: a file that is read as text, plain or gzip. Thread safety: one thread.
#pragma once

#include <zlib.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/result.hpp"

namespace nexus::agent {

class GzipFile {
 public:
  /// "-" is standard input.
  [[nodiscard]] static Result<GzipFile> open(const std::string& path);
  /// The next part, valid until the next call; empty at the end. kCorrupt: damaged or cut off.
  [[nodiscard]] Result<std::string_view> read();

 private:
  struct Close {
    void operator()(gzFile file) const { ::gzclose(file); }
  };
  GzipFile(gzFile file, std::string path) : file_(file), path_(std::move(path)) {}

  [[nodiscard]] Error error() const;

  std::unique_ptr<gzFile_s, Close> file_;
  std::string path_;
  std::vector<char> buffer_ = std::vector<char>(std::size_t{1} << 18);
};

}  // namespace nexus::agent
