// Audit: every change that anybody or the agent itself made: who, from where, what, result.
// Append-only, in the state database. (A later issue chains the records by hash.)
//
// Bounded: once a day, and when it is opened, the oldest records go that are older than the limits
// want. Always a whole prefix, in one transaction with a record of its own (`audit.retention`: how
// many, which, why), so what is left can be followed without a gap; the database refuses any other
// deletion. The youngest records stay whatever the clock says.
//
// Thread safety: all members.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/knowledge/state.hpp"

namespace nexus::knowledge {

struct AuditRecord {
  std::int64_t id = 0;  // ascending
  WallTime time{};
  std::string who;      // "root (uid 0)", "token ci", "anonymous", "system"
  std::string from;     // "unix:pid 812", "127.0.0.1:51234", "agent"
  std::string what;     // "actions.create", "operations.stop", "reload", ...
  std::string subject;  // what it was about: an action id, a unit, ...
  std::string result;   // "ok", or why not
  std::string details;  // JSON, without secrets
};

struct AuditLimits {
  Millis age{400LL * 24 * 3'600'000};
  std::uint64_t records = 1'000'000;
  std::uint64_t always_kept = 10'000;  // of the youngest: a clock that is wrong deletes not these
};

class Audit {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Audit>> open(StateDb& db, Clock& clock,
                                                           AuditLimits limits = {});
  /// Fills in id and time. A failure to record is returned: callers refuse the change when it is
  /// not recorded.
  [[nodiscard]] Status record(AuditRecord record);
  /// Drops what the limits do not want. Returns how many.
  Result<std::uint64_t> prune();
  /// Newest first, ids below `before` (0: from the newest).
  [[nodiscard]] Result<std::vector<AuditRecord>> list(std::size_t limit, std::int64_t before = 0);

 private:
  Audit(StateDb& db, Clock& clock, AuditLimits limits) : db_(db), clock_(clock), limits_(limits) {}
  [[nodiscard]] Status insert(AuditRecord record);
  [[nodiscard]] Result<std::int64_t> first_kept();
  void prune_if_due();

  StateDb& db_;
  Clock& clock_;
  const AuditLimits limits_;
  std::atomic<SteadyTime> next_prune_{SteadyTime{}};
};

}  // namespace nexus::knowledge
