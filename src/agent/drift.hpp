// Drift: what is in force is not what was configured, or set. Findings of the kind drift:
//
//   configuration_drift          the agent's own files say something else than what is applied, or
//   a
//                                reload was refused (warning)
//   configuration_needs_restart  what was applied takes effect with the next start only (info)
//   unit_file_drift              files of a watched unit have changed since systemd has loaded them
//                                (NeedDaemonReload; warning, after ten minutes)
//   setting_drift                a kernel parameter, or a limit of a service, that an action has
//   set
//                                and that was kept is not as it was set (info, after five minutes)
//
// Each ends by itself when the difference is gone. What cannot be looked at stays as it is.
// Thread safety: look() from one thread, soon() from any.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nexus/analyze/book.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/drivers/systemd.hpp"
#include "nexus/execute/executor.hpp"
#include "nexus/host/roots.hpp"

namespace nexus::agent {

/// What is asked; each may be unset.
struct DriftQuestions {
  std::function<std::optional<analyze::Observation>()> configuration;
  std::function<std::vector<std::string>()> needs_restart;
  std::function<std::vector<std::string>()> watched_units;
  std::function<Result<std::vector<drivers::StaleUnit>>(std::span<const std::string>)> stale_units;
  std::function<Result<std::vector<execute::Kept>>()> kept;
};

class Drift {
 public:
  static constexpr Millis kEvery{30'000};
  static constexpr Millis kUnitPending{10 * 60'000};    // packages reload systemd at their end
  static constexpr Millis kSettingPending{5 * 60'000};  // somebody may be trying something

  Drift(Clock& clock, analyze::Book& book, host::Roots roots, DriftQuestions questions)
      : clock_(clock), book_(book), roots_(std::move(roots)), ask_(std::move(questions)) {}

  /// Looks, unless the last look is younger than kEvery. May wait for systemd.
  void look();
  /// Something was applied, refused or set: the next look is due.
  void soon() noexcept { due_ = true; }

 private:
  void look_at_configuration();
  void look_at_units();
  void look_at_settings();

  Clock& clock_;
  analyze::Book& book_;
  const host::Roots roots_;
  const DriftQuestions ask_;
  SteadyTime next_{};
  std::atomic<bool> due_{false};
};

}  // namespace nexus::agent
