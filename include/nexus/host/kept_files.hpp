// Files of the kernel that are read again and again: opened once, read from their beginning every
// time (pread(2)), which is a fifth of the cost of open, read and close.
//
// Only files of procfs and sysfs are kept open; any other is opened anew for each read, for it may
// be replaced by one of the same name (a recorded tree, a file that is written by rename). A kept
// file that cannot be read any more (its device or module has gone) is closed and opened once more,
// so that what came back under the same name is found. Bounds: kMaxFile a file as in file.hpp,
// kMost descriptors a KeptFiles. Thread safety: each belongs to one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/result.hpp"
#include "nexus/host/fd.hpp"

namespace nexus::host {

/// How much the kernel's function behind a file of procfs writes at once, at most (its records, as
/// seq_file has them). One that is known saves the read that finds nothing left: the kernel gives
/// as many records as its buffer of a page or more holds, so what is shorter by a record is all.
enum class Record : std::size_t {
  kWholeFile = 0,
  kShort = 512,
  kUnknown = SIZE_MAX,
};

class KeptFile {
 public:
  /// Reads what is at `path`, which must be the same in every call, into `bytes`, which grow as
  /// needed; valid as long as they are. The steady state allocates nothing.
  [[nodiscard]] Result<std::string_view> read(const std::string& path, std::vector<char>& bytes,
                                              Record record = Record::kUnknown);
  [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(fd_); }
  /// Of the open file, for poll(2); -1 when it is not kept.
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

 private:
  Fd fd_;
  std::optional<Error> absent_;  // what is said while there is no such file
};

/// A few files, by path, and one buffer for all of them.
class KeptFiles {
 public:
  static constexpr std::size_t kMost = 16;  // the others are opened for each read

  /// The content of `path`; valid until the next read.
  [[nodiscard]] Result<std::string_view> read(const std::string& path,
                                              Record record = Record::kUnknown);

 private:
  struct Entry {
    std::string path;
    KeptFile file;
  };
  std::vector<Entry> entries_;
  std::size_t expected_ = 0;  // the place after the one read last: they come in the same order
  std::vector<char> bytes_;
};

}  // namespace nexus::host
