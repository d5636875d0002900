// ProcessEvents: forks, execs and exits as the kernel tells them (the process connector, cn_proc),
// among them processes that live too short for any scan.
//
// Needs CAP_NET_ADMIN and the first pid name space. One thread reads the socket; it never blocks
// but in poll(2), waits a little when there is much, so that many events cost one wake-up, and
// holds a table of kBirths births, where a newer one takes the place of an older one. What the
// kernel could not deliver because the socket was full is counted as lost.
//
// Thread safety: counts() from any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "monitor/netlink.hpp"
#include "nexus/base/result.hpp"
#include "nexus/host/fd.hpp"

struct proc_event;

namespace nexus::monitor {

class ProcessEvents {
 public:
  static constexpr std::size_t kBirths = 16'384;
  static constexpr std::size_t kNames = 64;  // of short-lived executables that are told apart

  struct Counts {
    std::uint64_t forks = 0;    // processes begun
    std::uint64_t threads = 0;  // threads begun
    std::uint64_t execs = 0;
    std::uint64_t exits_ok = 0;
    std::uint64_t exits_failed = 0;  // with a status other than 0
    std::uint64_t exits_killed = 0;  // by a signal
    std::uint64_t short_lived = 0;
    std::uint64_t lost = 0;                                    // times that the socket was full
    std::vector<std::pair<std::string, std::uint64_t>> names;  // short-lived ones by executable
  };

  /// `short_life`: who lives shorter is short-lived. kPermissionDenied, kUnsupported: not here.
  [[nodiscard]] static Result<std::unique_ptr<ProcessEvents>> open(const std::string& procfs,
                                                                   Nanos short_life);
  ~ProcessEvents();
  ProcessEvents(const ProcessEvents&) = delete;
  ProcessEvents& operator=(const ProcessEvents&) = delete;

  [[nodiscard]] Counts counts() const;

 private:
  struct Birth {
    std::int32_t pid = 0;
    std::uint64_t time = 0;  // nanoseconds after boot, as the kernel stamps events
    std::array<char, 16> name{};
  };

  ProcessEvents(std::string procfs, Nanos short_life, host::Fd socket, host::Fd stop);
  void run();
  /// Returns how many events there were.
  std::size_t drain();
  void take(Bytes datagram);
  void take_event(const proc_event& event);
  void end(const proc_event& event);
  void read_name(Birth& birth, std::uint64_t now);
  Birth& birth_of(std::int32_t pid) { return births_[static_cast<std::size_t>(pid) % kBirths]; }
  void count_name(std::string_view name);

  const std::string procfs_;
  const std::uint64_t short_life_;
  const host::Fd socket_;
  const host::Fd stop_;
  std::vector<Birth> births_;  // the thread's
  std::vector<std::byte> buffer_;
  std::uint64_t names_second_ = 0;
  std::size_t names_read_ = 0;  // in that second
  mutable std::mutex mutex_;
  Counts counts_;   // guarded by mutex_
  Counts pending_;  // the thread's, handed over after each drain
  std::thread thread_;
};

}  // namespace nexus::monitor
