// Maintenance windows ([[maintenance]]): times that begin by a cron expression in a time zone and
// last for a while.
//
// Five fields as cron(5) has them: minute, hour, day of month, month, day of week; numbers, names
// of months and days, "*", ranges, lists, steps. When both days are restricted, either will do. In
// the hour that a change of the clocks leaves out a window begins when the clocks have changed; in
// the one that comes twice it begins the first time. Thread safety: immutable values.
#pragma once

#include <bitset>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/permit.hpp"

namespace nexus::plan {

class Schedule {
 public:
  /// kInvalidArgument names the field and what was expected.
  [[nodiscard]] static Result<Schedule> parse(std::string_view text);
  [[nodiscard]] bool has_day(int month, int day, int weekday) const;  // 1-12, 1-31, 0 Sunday
  /// The latest minute of the day, not after `limit` (0-1439), at which it begins.
  [[nodiscard]] std::optional<int> latest(int limit) const;

 private:
  std::bitset<60> minutes_;
  std::bitset<24> hours_;
  std::bitset<32> days_;
  std::bitset<13> months_;
  std::bitset<8> weekdays_;
  bool any_day_ = false;      // the field is "*"
  bool any_weekday_ = false;  // the same
};

class Window {
 public:
  /// Errors are about the schedule; the time zone is asked about by is_timezone().
  [[nodiscard]] static Result<Window> compile(const config::MaintenanceConfig& config);
  [[nodiscard]] const std::string& name() const noexcept { return config_.name; }
  [[nodiscard]] bool covers(const std::string& target) const;
  /// When it ends, if it is open now.
  [[nodiscard]] std::optional<WallTime> open_until(WallTime now) const;

 private:
  Window(config::MaintenanceConfig config, Schedule schedule)
      : config_(std::move(config)), schedule_(schedule) {}
  config::MaintenanceConfig config_;
  Schedule schedule_;
};

/// Why a target is left alone now: the window that is open for it, and until when.
[[nodiscard]] std::optional<std::string> maintenance_for(const std::vector<Window>& windows,
                                                         const std::string& target, WallTime now);

/// Whether the machine knows a time zone of this name.
[[nodiscard]] bool is_timezone(const std::string& name);

}  // namespace nexus::plan
