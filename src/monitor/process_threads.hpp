// ProcessThreads: the threads of chosen processes, by the group of the process and the name of the
// thread, as process-exporter's namedprocess_namegroup_thread_* have them.
//
// Four files a thread, which is why it is off unless configured. Counters of a group and name only
// grow while they are looked at: what a thread used stays after it has ended. A thread found by the
// first pass has used nothing yet; one born later has used all that it counts. Bounded: kMaxThreads
// threads a pass, kMaxNames names a group (the others are "(other)") and kMaxChannels places where
// threads wait; what is beyond is counted as left out. Thread safety: one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "monitor/process_scan.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {

class ProcessThreads {
 public:
  static constexpr std::size_t kMaxThreads = 20'000;
  static constexpr std::size_t kMaxNames = 50;
  static constexpr std::size_t kMaxChannels = 200;

  struct Named {
    std::uint32_t threads = 0;  // of the last pass
    Usage total;
    std::uint64_t pass = 0;  // that saw the group last
  };
  using Key = std::pair<std::string, std::string>;  // group, thread's or channel's name

  explicit ProcessThreads(std::string procfs) : procfs_(std::move(procfs)) {}

  void start_pass();
  void add(const std::string& group, std::int32_t pid);
  void finish_pass();

  [[nodiscard]] const std::map<Key, Named>& named() const noexcept { return named_; }
  /// Threads that wait in a function of the kernel, by its name.
  [[nodiscard]] const std::map<Key, std::uint32_t>& waiting() const noexcept { return waiting_; }
  [[nodiscard]] std::uint64_t left_out() const noexcept { return left_out_; }  // in the last pass

 private:
  struct Reading {
    std::string_view name;  // in stat_
    std::uint64_t start = 0;
    Usage usage;
  };
  struct Thread {
    std::uint64_t start = 0;  // with the number it names the thread
    std::uint64_t pass = 0;
    Usage last;
  };

  [[nodiscard]] std::optional<Reading> read(int task, const char* tid);
  static void take_switches(std::string_view status, Usage& usage);
  static void take_io(std::string_view io, Usage& usage);
  void take(const std::string& group, std::uint32_t tid, const Reading& reading);
  void take_channel(const std::string& group, int task, const char* tid);

  const std::string procfs_;
  std::uint64_t pass_ = 0;
  std::size_t seen_ = 0;
  std::uint64_t left_out_ = 0;
  std::unordered_map<std::uint32_t, Thread> threads_;  // by their number
  std::map<Key, Named> named_;
  std::map<std::string, std::size_t, std::less<>> names_;  // how many each group has
  std::map<Key, std::uint32_t> waiting_;
  host::FileBuffer stat_;
  host::FileBuffer buffer_;
  std::string path_;
};

}  // namespace nexus::monitor
