// UnitNames: which unit a name stands for, as far as that has been learned.
//
// Invariants: (1) resolve() and learn() never wait for systemd: whoever decides about an action may
// hold up everything that is detected; (2) only refresh() asks, about what resolve() could not
// tell, and after a systemd that does not answer not again for kAskAgain; (3) a name that was
// learned stays good until another is learned. Thread safety: all members, any thread; refresh()
// one at a time.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/values.hpp"

namespace nexus::execute {

class UnitNames {
 public:
  /// Aliases change with a reload of systemd only; one that is away is not asked again at once.
  static constexpr Millis kAskAgain{60'000};
  static constexpr std::size_t kMaxNames = 1000;

  using Ask = std::function<Result<std::string>(const std::string& unit)>;

  explicit UnitNames(Clock& clock) : clock_(clock) {}

  /// The unit of this name; the name normalized when that is not known (yet), and as it is when it
  /// cannot be a unit's.
  [[nodiscard]] std::string resolve(std::string_view name);
  /// Whether resolve() answers with what was learned. True of what cannot be a unit's name: there
  /// is nothing to learn about it.
  [[nodiscard]] bool is_known(std::string_view name) const;
  /// Whether this name, in full, is known to be the unit's.
  [[nodiscard]] bool stands_for(std::string_view name, std::string_view unit) const;
  void learn(const std::string& unit, const std::vector<std::string>& names);
  /// Which run of a unit there is, from whoever has just heard it; empty: that is not known.
  void learn_run(const std::string& unit, const std::string& invocation_id);
  [[nodiscard]] std::string run_of(std::string_view unit) const;
  /// Learns at the next refresh() what the configuration names.
  void expect(const config::Config& config);
  /// Asks about the names that are wanted. kUnavailable and kTimeout: nobody answers, the rest
  /// waits.
  void refresh(const Ask& ask);

 private:
  struct Known {
    std::string unit;
    SteadyTime until{};  // then it is asked about again
  };

  [[nodiscard]] std::set<std::string> take_wanted();
  void want(const std::string& name);
  void keep(const std::string& name, const std::string& unit);

  Clock& clock_;
  mutable std::mutex mutex_;
  std::map<std::string, Known, std::less<>> known_;       // guarded by mutex_
  std::map<std::string, std::string, std::less<>> runs_;  // by unit; guarded by mutex_
  std::set<std::string> wanted_;                          // guarded by mutex_
  SteadyTime quiet_until_{};                              // guarded by mutex_
};

}  // namespace nexus::execute
