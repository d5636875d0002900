// Privileged: the one narrow interface for what needs rights on this host. Whoever plans and
// executes changes the host by a call of it and in no other way (tests/house/privileged.py), so
// that it can live in a small process of its own one day: each call says completely what is to be
// done, is checked again on this side, and returns a value.
//
// Not here: container engines, clusters and databases, which are asked over their own interfaces by
// whoever may connect, without rights on the host. Elements of the firewall's sets belong here and
// come with the first action that uses them.
//
// Invariants: (1) a file is removed only below a root, only if it is the one that was looked at
// (device, inode, size, time) and nobody has it open; (2) a process is signalled or reniced only if
// it is the one that was looked at (pid and start time); pid 1 and the agent never are; (3) a
// command runs only as it is listed on this side. Thread safety: any thread, several at once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/host/process.hpp"
#include "nexus/host/subprocess.hpp"
#include "nexus/host/tree.hpp"
#include "nexus/host/unit_change.hpp"

namespace nexus::host {

enum class Compression { kZstd, kGzip };
[[nodiscard]] std::string_view suffix(Compression how) noexcept;  // ".zst", ".gz"

struct ListedCommand {
  std::string name;
  std::vector<std::string> argv;  // argv[0] is an absolute path
  bool operator==(const ListedCommand&) const = default;
};

/// How long what was spawned may run, and what is asked and told meanwhile, on the caller's thread.
struct SpawnWait {
  SteadyTime deadline{};
  std::function<bool()> cancelled = {};  // asked at least every 100 ms
  std::function<void()> started = {};    // it runs
};

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
  /// 1: page cache, 2: dentries and inodes, 3: both. What is dirty is written first when `sync`,
  /// by a process of its own: a disk that hangs holds nobody beyond the deadline.
  [[nodiscard]] virtual Status drop_caches(int what, bool sync, const SpawnWait& wait) = 0;

  /// Runs a listed command as subprocess.hpp says, and waits for its end. kPermissionDenied: no
  /// command of this name is listed; kConflict: it is listed with other words than the caller has
  /// read. `fencing_token` becomes NEXUS_FENCING_TOKEN of its environment, else it is fixed.
  [[nodiscard]] virtual Result<Exit> run_listed(const ListedCommand& command,
                                                std::optional<std::int64_t> fencing_token,
                                                const SpawnWait& wait) = 0;

  /// Queues a job of a unit (mode "replace") and waits for its end, also when systemd is slow to
  /// accept it. On kTimeout and kCancelled the job itself is cancelled, which takes nothing back: a
  /// unit may stay "activating" or go on stopping; whoever wants it otherwise says so. kConflict
  /// quotes the job's result and the unit's. Further errors of this and the next three:
  /// kUnavailable (there is no systemd), kNotFound (no such unit), kPermissionDenied, all naming
  /// unit and verb.
  [[nodiscard]] virtual Result<JobOutcome> unit_job(UnitJob job, std::string_view unit,
                                                    const JobWait& wait) = 0;
  /// Forgets that it failed, and its start limit.
  [[nodiscard]] virtual Status reset_unit(std::string_view unit) = 0;
  /// All of them, or none; until the next boot, or until they are set back.
  [[nodiscard]] virtual Status set_unit_properties(std::string_view unit,
                                                   std::span<const NumberProperty> properties) = 0;
  /// Whether it comes up by itself, for good. kConflict: its file has no [Install], or is masked.
  [[nodiscard]] virtual Status set_unit_enabled(std::string_view unit, bool enabled) = 0;
};

/// In this process: files, processes, the kernel, commands. Nothing of units: kUnavailable
/// (drivers::UnitPrivileged adds them).
class LocalPrivileged : public Privileged {
 public:
  explicit LocalPrivileged(Clock& clock) : clock_(clock) {}
  /// What run_listed() may run, in place of what was listed before.
  void list_commands(std::vector<ListedCommand> commands);

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
  [[nodiscard]] Status drop_caches(int what, bool sync, const SpawnWait& wait) override;
  [[nodiscard]] Result<Exit> run_listed(const ListedCommand& command,
                                        std::optional<std::int64_t> fencing_token,
                                        const SpawnWait& wait) override;
  [[nodiscard]] Result<JobOutcome> unit_job(UnitJob job, std::string_view unit,
                                            const JobWait& wait) override;
  [[nodiscard]] Status reset_unit(std::string_view unit) override;
  [[nodiscard]] Status set_unit_properties(std::string_view unit,
                                           std::span<const NumberProperty> properties) override;
  [[nodiscard]] Status set_unit_enabled(std::string_view unit, bool enabled) override;

 private:
  using Commands = std::vector<ListedCommand>;

  Clock& clock_;
  std::mutex mutex_;
  std::shared_ptr<const Commands> commands_ = std::make_shared<const Commands>();  // guarded
};

/// The value of a kernel parameter, without the end of the line. kNotFound: there is none.
[[nodiscard]] Result<std::string> sysctl(std::string_view name);

}  // namespace nexus::host
