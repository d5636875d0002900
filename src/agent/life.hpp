// Life: notes in the state database that the agent runs and that it has stopped in order, so that
// the next start knows whether the last end was none.
//
// What it was that ended it is told as far as it can be: the host was started anew meanwhile, or
// only the agent was. Thread safety: one thread at a time.
#pragma once

#include <optional>
#include <string>

#include "nexus/base/clock.hpp"
#include "nexus/host/roots.hpp"
#include "nexus/knowledge/state.hpp"

namespace nexus::agent {

class Life {
 public:
  static constexpr Millis kNoteEvery{60'000};

  /// Reads how the last run ended, and notes that this one has begun.
  [[nodiscard]] static Result<Life> begin(const Clock& clock, knowledge::StateDb& db,
                                          const host::Roots& roots);
  /// One sentence when the last run did not stop in order.
  [[nodiscard]] const std::optional<std::string>& unclean() const noexcept { return unclean_; }
  /// Notes that it still runs, once a minute.
  [[nodiscard]] Status note(const Clock& clock);
  [[nodiscard]] Status end(const Clock& clock);

 private:
  explicit Life(knowledge::StateDb& db) : db_(&db) {}
  knowledge::StateDb* db_;
  std::optional<std::string> unclean_;
  SteadyTime next_{};
};

}  // namespace nexus::agent
