// Privileged: the one narrow interface for what needs rights. Everything that changes the world is
// a call of it, so that it can live in a small process of its own one day: each call says
// completely what is to be done, is checked again on this side, and returns a value.
//
// Not here: unit jobs and properties, which systemd does for whoever may ask it (drivers/systemd),
// and listed commands, which run as host::run (subprocess.hpp) starts them.
//
// Invariants: (1) a file is removed only below a root, only if it is the one that was looked at
// (device, inode, size, time) and nobody has it open; (2) a process is signalled or reniced only if
// it is the one that was looked at (pid and start time); pid 1 and the agent never are. Thread
// safety: any thread, several at once.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/host/process.hpp"
#include "nexus/host/tree.hpp"

namespace nexus::host {

enum class Compression { kZstd, kGzip };
[[nodiscard]] std::string_view suffix(Compression how) noexcept;  // ".zst", ".gz"

class Privileged {
 public:
  virtual ~Privileged() = default;

  /// Removes one file below `root`. kConflict: it is open, or not the file that was looked at;
  /// kNotFound: it has gone; kUnsupported: a link or a mount is in the way.
  [[nodiscard]] virtual Status remove(const std::string& root, const std::string& path,
                                      const FileIdentity& expected) = 0;

  /// Renames a log to `name` beside it, and puts an empty file of the same owner and mode in its
  /// place: whoever writes goes on in the renamed one until it opens the log anew. kAlreadyExists:
  /// there is a file of that name.
  [[nodiscard]] virtual Status rotate(const std::string& root, const std::string& path,
                                      const FileIdentity& expected, const std::string& name) = 0;
  /// Copies a log to `name` beside it and empties it, for a writer that cannot be told. What is
  /// written between the two is lost. kCancelled as compress().
  [[nodiscard]] virtual Status copy_truncate(const std::string& root, const std::string& path,
                                             const FileIdentity& expected, const std::string& name,
                                             const std::function<bool()>& go_on) = 0;
  /// Makes PATH.zst or PATH.gz of a file that nobody writes to, and removes it; the bytes that it
  /// has then. kConflict: somebody has, or has just, opened it for writing; kCancelled: `go_on`,
  /// asked every 256 KiB, said no. Either way it stays as it is.
  [[nodiscard]] virtual Result<std::uint64_t> compress(const std::string& root,
                                                       const std::string& path, Compression how,
                                                       const std::function<bool()>& go_on) = 0;

  /// kNotFound: it has ended. Waits up to `wait` of real time for its end; true: it has ended.
  [[nodiscard]] virtual Result<bool> signal(const ProcessId& process, int number, Millis wait) = 0;
  /// Of all its threads, -20 to 19.
  [[nodiscard]] virtual Status set_nice(const ProcessId& process, int nice) = 0;

  /// "vm.swappiness"; what was written is read back and must be the same.
  [[nodiscard]] virtual Status set_sysctl(std::string_view name, std::string_view value) = 0;
  /// 1: page cache, 2: dentries and inodes, 3: both. What is dirty is written first when `sync`.
  [[nodiscard]] virtual Status drop_caches(int what, bool sync) = 0;
};

/// In this process.
class LocalPrivileged : public Privileged {
 public:
  [[nodiscard]] Status remove(const std::string& root, const std::string& path,
                              const FileIdentity& expected) override;
  [[nodiscard]] Status rotate(const std::string& root, const std::string& path,
                              const FileIdentity& expected, const std::string& name) override;
  [[nodiscard]] Status copy_truncate(const std::string& root, const std::string& path,
                                     const FileIdentity& expected, const std::string& name,
                                     const std::function<bool()>& go_on) override;
  [[nodiscard]] Result<std::uint64_t> compress(const std::string& root, const std::string& path,
                                               Compression how,
                                               const std::function<bool()>& go_on) override;
  [[nodiscard]] Result<bool> signal(const ProcessId& process, int number, Millis wait) override;
  [[nodiscard]] Status set_nice(const ProcessId& process, int nice) override;
  [[nodiscard]] Status set_sysctl(std::string_view name, std::string_view value) override;
  [[nodiscard]] Status drop_caches(int what, bool sync) override;
};

/// The value of a kernel parameter, without the end of the line. kNotFound: there is none.
[[nodiscard]] Result<std::string> sysctl(std::string_view name);

}  // namespace nexus::host
