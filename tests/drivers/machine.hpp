// What the tests inside a booted machine share: units of their own, systemctl for what the driver
// does not do, and a log of watched events. They change the systemd they run under: run them in the
// testbed only.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "nexus/drivers/systemd.hpp"
#include "nexus/drivers/unit_privileged.hpp"

namespace nexus::drivers::testing {

/// Generous: a wait that ends here has failed.
inline constexpr Millis kLong{60'000};

/// Runs systemctl with these arguments; fails the test when it fails.
void systemctl(std::vector<std::string> arguments);
/// The same for a thread beside the test's, which may not check anything.
[[nodiscard]] Status try_systemctl(std::vector<std::string> arguments);

/// A unit below /run/systemd/system, loaded; stopped and removed at the end.
class TestUnit {
 public:
  TestUnit(std::string name, const std::string& text);
  TestUnit(const TestUnit&) = delete;
  ~TestUnit();
  [[nodiscard]] const std::string& name() const { return name_; }
  void rewrite(const std::string& text) const;

 private:
  std::string name_;
};

class EventLog {
 public:
  explicit EventLog(Clock& clock) : clock_(clock) {}
  [[nodiscard]] UnitWatcher::Callback callback();
  /// The first event at or after `from` that fits; fails the test when none comes. `from` is moved
  /// behind it.
  UnitEvent wait(std::size_t& from, const std::function<bool(const UnitStatus&)>& fits);
  [[nodiscard]] std::size_t size() const;
  /// "active/running" of every event from `from` on, in order.
  [[nodiscard]] std::vector<std::string> states(std::size_t from) const;

 private:
  Clock& clock_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<UnitEvent> events_;
};

}  // namespace nexus::drivers::testing
