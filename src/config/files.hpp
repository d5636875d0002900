// Reading configuration and secret files. Thread safety: functions of the files and their
// arguments.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "nexus/base/result.hpp"

namespace nexus::config {

inline constexpr std::size_t kLargestFile = 4 << 20;  // of a configuration

struct FileText {
  std::string text;
  unsigned mode = 0;   // permission bits
  unsigned owner = 0;  // user id
  bool regular = false;
};
/// Never blocks on a FIFO; a directory, or more than `limit` bytes, is an error.
[[nodiscard]] Result<FileText> read_file(const std::string& path, std::size_t limit);

/// The *.toml files of a directory in name order, without hidden ones; none when there is no such
/// directory.
[[nodiscard]] Result<std::vector<std::string>> list_toml_files(const std::string& directory);

}  // namespace nexus::config
