// Reading small kernel files quickly: one open, read until the end, into a buffer that is reused.
//
// Files below /proc and /sys have no size; a read is bounded by `kMaxFile`, a larger file is an
// error and not a truncated success. Thread safety: functions are free of state; a FileBuffer
// belongs to one thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/result.hpp"

namespace nexus::host {

inline constexpr std::size_t kMaxFile = 8U << 20;

class FileBuffer {
 public:
  /// The content of `path`; valid until the next read. The steady state allocates nothing.
  [[nodiscard]] Result<std::string_view> read(const std::string& path);
  /// As read(), relative to an open directory (openat(2)), for /proc/PID.
  [[nodiscard]] Result<std::string_view> read_at(int directory, const char* name);

 private:
  [[nodiscard]] Result<std::string_view> drain(int fd, std::string_view name);
  std::vector<char> bytes_;
};

/// The content of `path` as a string of its own.
[[nodiscard]] Result<std::string> read_file(const std::string& path);

/// Names in a directory, sorted, without "." and "..".
[[nodiscard]] Result<std::vector<std::string>> list_directory(const std::string& path);

/// Writes through a temporary file beside it, fsync, rename, fsync of the directory.
[[nodiscard]] Status write_file_atomically(const std::string& path, std::string_view content,
                                           int mode);

}  // namespace nexus::host
