// Connectivity: what the agent depends on outside of itself, looked at by the plan loop and shown
// from the last look: the state database, the file system of data_dir, the network.
//
// database: a row is written each time; StateDb::check() at the first look and once a day.
// filesystem: data_dir can be written, and its free space. network: interfaces that are up and a
// default route, read from /proc and /sys; nothing is sent anywhere. Thread safety: look() from one
// thread, components() from any.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/host/roots.hpp"
#include "nexus/knowledge/state.hpp"
#include "nexus/serve/routes.hpp"

namespace nexus::agent {

class Connectivity {
 public:
  static constexpr Millis kInterval{60'000};

  Connectivity(Clock& clock, knowledge::StateDb& db, host::Roots roots, std::string data_dir)
      : clock_(clock), db_(db), roots_(std::move(roots)), data_dir_(std::move(data_dir)) {}

  /// Looks, unless the last look is younger than kInterval.
  void look();
  /// Of the last look; "unknown" before the first.
  [[nodiscard]] std::vector<serve::Component> components() const;

 private:
  [[nodiscard]] Status write_database();
  [[nodiscard]] serve::Component database();
  [[nodiscard]] serve::Component filesystem() const;
  [[nodiscard]] serve::Component network() const;

  Clock& clock_;
  knowledge::StateDb& db_;
  const host::Roots roots_;
  const std::string data_dir_;
  SteadyTime next_look_{};
  SteadyTime next_check_{};
  bool migrated_ = false;
  std::string damage_;  // what StateDb::check() said, empty: nothing
  mutable std::mutex mutex_;
  std::vector<serve::Component> seen_;  // guarded by mutex_
};

}  // namespace nexus::agent
