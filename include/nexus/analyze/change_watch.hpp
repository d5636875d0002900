// ChangeWatch: notices what changes on the host and notes it in the book.
//
//   boot           /proc/sys/kernel/random/boot_id is another one than last time; at /proc/stat's
//                  btime
//   unit           a watched service (by systemd's signals) or, where the collector `systemd` gives
//                  node_systemd_unit_start_time_seconds, any unit has another start time; a watched
//                  service is reloading. The third start at equal distances (within a minute),
//                  which only start times show, is a timer's and is not told
//   packages       new lines of /var/log/dpkg.log (install, upgrade, remove, purge), a change for
//                  each run of them, and another time of RPM's database
//   clock          the wall clock moved by more than kClockStep against the steady one between two
//                  looks: it was set, or the machine slept
//
// What was there when it looks for the first time is no change. The marks (boot, file and place in
// dpkg's log, RPM's time) are kept in the state database, so that what happened while the agent was
// away is told after its start, at the time it happened. `configuration` and `agent` are noted by
// the agent itself.
//
// Bounded: kMostUnits remembered (of watched services the one not heard of for longest makes room),
// kMostAtOnce units told a look (more are one change, by number), 256 KiB of a log and 50 runs of
// packages read a look. A file that is not there is no error.
//
// Thread safety: on_event() from any thread, it does not block on disk; tick() from one.
#pragma once

#include <memory>

#include "nexus/analyze/book.hpp"
#include "nexus/host/roots.hpp"
#include "nexus/knowledge/event.hpp"
#include "nexus/knowledge/queryable.hpp"
#include "nexus/knowledge/state.hpp"

namespace nexus::analyze {

class ChangeWatch {
 public:
  static constexpr Millis kEvery{10'000};
  static constexpr Millis kClockStep{2'000};
  static constexpr std::size_t kMostUnits = 5'000;
  static constexpr std::size_t kMostAtOnce = 10;

  [[nodiscard]] static Result<std::unique_ptr<ChangeWatch>> open(Clock& clock,
                                                                 const knowledge::Queryable& data,
                                                                 Book& book, knowledge::StateDb& db,
                                                                 host::Roots roots);
  ~ChangeWatch();
  void on_event(const knowledge::ServiceEvent& event);
  /// Looks if kEvery has passed since the last time. An error is of the database; what was found is
  /// noted all the same.
  [[nodiscard]] Status tick();

 private:
  struct Impl;
  explicit ChangeWatch(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::analyze
