// Drift: what is in force is not what was configured, or set. Findings of the kind drift:
//
//   configuration_drift          the agent's own files say something else than what is applied,
//                                or a reload was refused (warning)
//   configuration_needs_restart  what was applied takes effect with the next start only (info)
//   unit_file_drift              files of a watched unit have changed since systemd has loaded
//                                them (NeedDaemonReload; warning, after ten minutes)
//   setting_drift                a kernel parameter, or a limit of a service, that an action has
//                                set and that was kept is another (info, after five minutes)
//
// Each ends by itself when the difference is gone. What cannot be looked at stays as it is; what an
// action is just setting is not looked at.
//
// It looks in a thread of its own, for what is asked may hang: files on a mount whose server is
// away, a systemd that does not answer. Nobody waits for it but stop().
// Thread safety: look() from one thread (that of start(), once it was called), soon() and stop()
// from any.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/analyze/book.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/base/loop_thread.hpp"
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

  static constexpr Millis kPatience{2 * 60'000};

  Drift(Clock& clock, analyze::Book& book, host::Roots roots, DriftQuestions questions)
      : clock_(clock), book_(book), roots_(std::move(roots)), ask_(std::move(questions)) {}

  /// From now on it looks by itself, every kEvery.
  void start();
  /// Waits for a look that is under way. Safe without a start, and twice.
  void stop();
  /// Something was applied, refused or set: it looks at once.
  void soon();
  /// Whether a look has not come to its end for kPatience; logged when that begins and ends. From
  /// one thread.
  bool hangs();
  /// Looks, unless the last look is younger than kEvery. May wait for systemd, and for files.
  void look();

 private:
  void look_at_configuration();
  void look_at_units();
  void look_at_settings();
  /// Tells the book. What an earlier agent saw is over when the first look does not see it: unlike
  /// a rule it needs no samples for that.
  void tell(std::string_view source, const std::vector<analyze::Observation>& seen,
            const std::vector<analyze::Book::Held>& held = {});

  Clock& clock_;
  analyze::Book& book_;
  const host::Roots roots_;
  const DriftQuestions ask_;
  SteadyTime next_{};
  std::set<std::string, std::less<>> told_;  // sources
  bool kept_failed_ = false;                 // as it was logged
  bool hangs_ = false;                       // as it was logged
  std::atomic<bool> due_{false};
  std::mutex mutex_;
  std::unique_ptr<base::LoopThread> thread_;  // guarded by mutex_
};

}  // namespace nexus::agent
