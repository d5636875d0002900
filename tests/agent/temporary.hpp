// A directory for one test, gone with it. Thread safety: one thread.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "nexus/base/id.hpp"

namespace nexus::agent::test {

class Temporary {
 public:
  Temporary() {
    path_ = std::filesystem::temp_directory_path() / ("nexus-agent-" + base::random_hex(6));
    std::filesystem::create_directories(path_);
  }
  ~Temporary() { std::filesystem::remove_all(path_); }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  [[nodiscard]] std::string at(const std::string& name) const { return (path_ / name).string(); }
  /// Writes a file, and the directories it needs.
  void write(const std::string& name, const std::string& content) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(at(name)) << content;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace nexus::agent::test
