// ProcessScan: one pass over /proc, and what every process used since it was last looked at.
//
// Few files a process, opened relative to /proc, into one buffer. Most processes of a host sleep:
// where taskstats may be asked (task_counts.hpp) only those that ran since the last pass are read
// again, and of those that did not run in kIdleAsks passes half is asked in every pass; elsewhere
// one that was found idle again and again is read every second and later every fourth pass only, so
// that nothing is lost but comes a little later. What changes without the process running (swapped
// or reclaimed memory, its control group) is read again every kRefresh passes. On a recorded tree
// everything is read in every pass.
//
// A process found by the first pass has used nothing yet; one born later has used all that it
// counts. Counters that go back count as no use. A process that vanishes in the middle is left out.
// Thread safety: one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "monitor/parse.hpp"
#include "monitor/task_counts.hpp"
#include "nexus/host/fd.hpp"
#include "nexus/host/file.hpp"
#include "nexus/monitor/collector.hpp"
#include "nexus/monitor/observed.hpp"

namespace nexus::monitor {

/// What a process counts up, or what it used meanwhile.
struct Usage {
  std::uint64_t user = 0;  // clock ticks
  std::uint64_t system = 0;
  std::uint64_t minor_faults = 0;
  std::uint64_t major_faults = 0;
  std::uint64_t read_bytes = 0;
  std::uint64_t write_bytes = 0;
  std::uint64_t voluntary = 0;  // context switches; of the first thread only without taskstats
  std::uint64_t nonvoluntary = 0;

  Usage& operator+=(const Usage& other) noexcept;
};
/// What was used from `before` to `after`.
[[nodiscard]] Usage used(const Usage& before, const Usage& after) noexcept;

struct ProcessRecord {
  static constexpr std::uint32_t kNoGroup = 0xffff'ffff;

  std::int32_t pid = 0;
  std::int32_t parent = 0;
  std::uint64_t start = 0;  // clock ticks after boot; with the pid it names the process
  std::array<char, 16> comm{};
  char state = '?';
  bool kernel = false;
  bool gone = false;
  bool counts_threads = false;  // the switches in `total` are those of all its threads
  bool has_count = false;       // `count` is of this pass
  bool ran = false;             // by `count`, since it was looked at last
  bool spared = false;          // not asked in this pass, for it has been idle for long
  std::uint8_t idle_asks = 0;   // answers in a row by which it had not run
  std::uint8_t idle_reads = 0;  // how often it was read without having run
  std::uint32_t uid = 0;
  std::uint32_t threads = 0;
  std::uint32_t open_files = 0;
  std::uint64_t file_limit = 0;  // 0: not known, or none
  std::uint64_t virtual_bytes = 0;
  std::uint64_t resident = 0;
  std::uint64_t swapped = 0;
  std::uint64_t proportional = 0;  // PSS and its swap, when they are read
  std::uint64_t proportional_swap = 0;
  TaskCount count;  // of taskstats
  Usage total;
  SteadyTime looked{};             // when it was read last
  double cpu = 0;                  // processors used between the last two looks
  double io = 0;                   // bytes a second
  std::uint32_t group = kNoGroup;  // the visitor's
  std::shared_ptr<const Workload> workload;

  [[nodiscard]] std::string_view name() const noexcept { return comm.data(); }
};

class ProcessVisitor {
 public:
  virtual ~ProcessVisitor() = default;
  /// The process is new, executed another program, or may have moved to another control group.
  virtual void identify(ProcessRecord& process) = 0;
  virtual void add_use(const ProcessRecord& process, const Usage& use) = 0;
};

class ProcessScan {
 public:
  struct Options {
    bool proportional = false;  // also smaps_rollup, in turn
  };
  static constexpr std::uint32_t kRefresh = 128;  // passes
  static constexpr std::uint8_t kIdleAsks = 8;
  static constexpr std::size_t kMaxProcesses = 65'536;  // the rest is counted as left out

  ProcessScan(const CollectorContext& context, Options options);

  /// One pass. What is malformed goes to `complaints`. An error: /proc itself cannot be read.
  [[nodiscard]] Status run(ProcessVisitor& visitor, Complaints& complaints);

  /// Of the last pass, by pid.
  [[nodiscard]] std::span<const ProcessRecord> processes() const noexcept { return records_; }
  [[nodiscard]] std::uint64_t left_out() const noexcept { return left_out_; }
  [[nodiscard]] std::uint64_t vanished() const noexcept { return vanished_; }  // in all passes
  /// Files of processes that could not be read (rights), in all passes.
  [[nodiscard]] std::uint64_t unreadable() const noexcept { return unreadable_; }
  /// Seconds since the epoch.
  [[nodiscard]] double started(const ProcessRecord& process) const noexcept;

  // For identify(), while a pass runs; each reads a file.
  [[nodiscard]] std::string_view command_line(const ProcessRecord& process);  // blanks between
  [[nodiscard]] std::string_view executable(const ProcessRecord& process);    // its base name

 private:
  struct Reading {  // what /proc/PID/stat tells
    std::uint64_t start = 0;
    std::int32_t parent = 0;
    std::array<char, 16> comm{};
    char state = '?';
    bool kernel = false;
    std::uint32_t threads = 0;
    std::uint64_t virtual_bytes = 0;
    std::uint64_t resident = 0;
    Usage usage;  // without I/O and context switches
  };

  [[nodiscard]] Status list();
  void merge();
  void ask_counts();
  [[nodiscard]] bool is_turn(const ProcessRecord& process) const noexcept;
  [[nodiscard]] bool is_due(const ProcessRecord& process) const noexcept;
  void look_at(ProcessRecord& process, ProcessVisitor& visitor);
  void take_counts(ProcessRecord& process, const Reading& reading, ProcessVisitor& visitor);
  void read_details(ProcessRecord& process, Usage& now, bool full);
  [[nodiscard]] std::optional<Reading> read_stat(ProcessRecord& process);
  [[nodiscard]] static std::optional<Reading> parse_stat(std::string_view text, std::uint64_t page);
  void read_status(ProcessRecord& process, Usage& now, bool switches);
  void read_io(ProcessRecord& process, Usage& now);
  void count_files(ProcessRecord& process);
  void read_limits(ProcessRecord& process);
  void read_cgroup(ProcessRecord& process);
  void read_proportional(ProcessRecord& process);
  void read_boot_time();
  /// Nothing when it is not there or may not be read.
  [[nodiscard]] std::optional<std::string_view> read_file(const ProcessRecord& process,
                                                          std::string_view file);
  [[nodiscard]] const char* path_of(std::int32_t pid, std::string_view file) noexcept;

  const std::string procfs_;
  const Options options_;
  Clock& clock_;
  const std::uint64_t page_;
  const double ticks_;  // a second
  host::Fd proc_;
  bool is_live_ = false;          // a procfs, and not a recorded tree
  bool files_have_size_ = false;  // fd directories say how many files they have (Linux 6.2)
  std::optional<TaskCounts> counts_;
  std::uint32_t counts_retry_ = 0;  // the pass at which taskstats is tried again
  std::uint32_t pass_ = 0;
  double boot_ = 0;
  std::vector<std::int32_t> pids_;
  std::vector<std::uint32_t> asked_;  // indices into records_
  std::vector<std::int32_t> asked_pids_;
  std::vector<ProcessRecord> records_;
  std::vector<ProcessRecord> next_;
  std::unordered_map<std::string, std::weak_ptr<const Workload>> workloads_;  // by path
  host::FileBuffer buffer_;
  std::vector<char> bytes_;
  std::array<char, 64> path_{};
  Complaints* complaints_ = nullptr;
  std::uint64_t left_out_ = 0;
  std::uint64_t vanished_ = 0;
  std::uint64_t unreadable_ = 0;
};

}  // namespace nexus::monitor
