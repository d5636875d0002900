// Audit: every change that anybody or the agent itself made: who, from where, what, result.
// Append-only, in the state database. (A later issue chains the records by hash.)
//
// Thread safety: all members.
#pragma once

#include <cstdint>
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

class Audit {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Audit>> open(StateDb& db, Clock& clock);
  /// Fills in id and time. A failure to record is returned: callers refuse the change when it is
  /// not recorded.
  [[nodiscard]] Status record(AuditRecord record);
  /// Newest first, ids below `before` (0: from the newest).
  [[nodiscard]] Result<std::vector<AuditRecord>> list(std::size_t limit, std::int64_t before = 0);

 private:
  Audit(StateDb& db, Clock& clock) : db_(db), clock_(clock) {}
  StateDb& db_;
  Clock& clock_;
};

}  // namespace nexus::knowledge
