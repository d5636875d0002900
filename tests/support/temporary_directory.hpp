// A directory for one test, gone with it. Thread safety: one thread.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "nexus/base/id.hpp"

namespace nexus::test {

class TemporaryDirectory {
 public:
  TemporaryDirectory()
      : path_(std::filesystem::temp_directory_path() / ("nexus-test-" + base::random_hex(8))) {
    std::filesystem::create_directory(path_);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;  // somebody may still write to it, and a destructor must not throw
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  [[nodiscard]] std::string path() const { return path_.string(); }
  [[nodiscard]] std::string file(const std::string& name) const { return (path_ / name).string(); }

  /// Writes a file, and makes the directories it needs; its full path.
  std::string write(const std::string& name, std::string_view text, unsigned mode = 0644) const {
    const auto at = path_ / name;
    std::filesystem::create_directories(at.parent_path());
    std::ofstream(at, std::ios::binary) << text;
    ::chmod(at.c_str(), mode);
    return at.string();
  }

 private:
  const std::filesystem::path path_;
};

}  // namespace nexus::test
