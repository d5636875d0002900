// What the tests of this room share: files in a temporary directory, an environment, problems as
// text.
#pragma once

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "nexus/config/load.hpp"

namespace nexus::config {

inline std::vector<std::string> shown(const std::vector<Problem>& problems) {
  std::vector<std::string> out;
  for (const auto& problem : problems) out.push_back(to_string(problem));
  return out;
}

inline auto environment(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const std::string& name) -> std::optional<std::string> {
    const auto at = variables.find(name);
    return at == variables.end() ? std::nullopt : std::optional(at->second);
  };
}

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "nexus-config-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }

  /// The full path of the file that was written.
  std::string write(const std::string& name, std::string_view text, unsigned mode = 0644) const {
    const auto file = std::filesystem::path(path_) / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
    ::chmod(file.c_str(), mode);
    return file.string();
  }

 private:
  std::string path_;
};

}  // namespace nexus::config
