#include "plan/windows.hpp"

#include <cctz/civil_time.h>
#include <cctz/time_zone.h>
#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "nexus/base/text.hpp"

namespace nexus::plan {
namespace {

struct Field {
  std::string_view name;
  int low;
  int high;
  std::string_view words;  // of three letters each, the first standing for `low`
};
constexpr Field kMinute{"minute", 0, 59, ""};
constexpr Field kHour{"hour", 0, 23, ""};
constexpr Field kDay{"day of month", 1, 31, ""};
constexpr Field kMonth{"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"};
constexpr Field kWeekday{"day of week", 0, 7, "sunmontuewedthufrisat"};

std::optional<int> value_of(std::string_view text, const Field& field) {
  if (const auto number = base::parse_uint(text))
    return *number >= static_cast<std::uint64_t>(field.low) &&
                   *number <= static_cast<std::uint64_t>(field.high)
               ? std::optional(static_cast<int>(*number))
               : std::nullopt;
  if (text.size() != 3) return std::nullopt;
  std::string word(text);
  std::ranges::transform(word, word.begin(), [](unsigned char c) { return std::tolower(c); });
  for (std::size_t at = 0; at + 3 <= field.words.size(); at += 3) {
    if (field.words.substr(at, 3) == word) return field.low + static_cast<int>(at / 3);
  }
  return std::nullopt;
}

template <std::size_t N>
Status parse_field(std::string_view text, const Field& field, std::bitset<N>& out) {
  const auto wrong = [&](std::string_view part) {
    return fail(
        Errc::kInvalidArgument,
        "{} \"{}\": expected {} to {}{}, \"*\", a range such as {}-{}, a list with commas "
        "or a step such as */5",
        field.name, part, field.low, field.high,
        field.words.empty() ? "" : ", a name such as " + std::string(field.words.substr(0, 3)),
        field.low + 1, field.low + 3);
  };
  for (const auto part : base::split(text, ',')) {
    auto range = part;
    auto first = base::take_until(range, '/');
    const auto step_text = part.contains('/') ? range : std::string_view("1");
    const auto step = base::parse_uint(step_text);
    if (!step || *step == 0 || *step > 60) return wrong(part);
    int low = field.low;
    int high = &field == &kWeekday ? 6 : field.high;
    if (first != "*") {
      auto last = first;
      const auto from = value_of(base::take_until(last, '-'), field);
      const auto to = first.contains('-') ? value_of(last, field) : from;
      if (!from || !to || *from > *to) return wrong(part);
      low = *from;
      // "5/10" is from 5 to the end, as Vixie's cron reads it.
      high = part.contains('/') && !first.contains('-') ? field.high : *to;
    }
    for (int value = low; value <= high; value += static_cast<int>(*step))
      out.set(static_cast<std::size_t>(value));
  }
  return {};
}

constexpr int kDayMinutes = 24 * 60;

}  // namespace

Result<Schedule> Schedule::parse(std::string_view text) {
  std::vector<std::string_view> fields;
  auto rest = text;
  for (auto word = base::take_word(rest); !word.empty(); word = base::take_word(rest))
    fields.push_back(word);
  if (fields.size() != 5) {
    return fail(Errc::kInvalidArgument,
                "\"{}\": expected five fields (minute, hour, day of month, month, day of week), "
                "got {}",
                text, fields.size());
  }
  Schedule out;
  if (auto ok = parse_field(fields[0], kMinute, out.minutes_); !ok) return propagate(std::move(ok));
  if (auto ok = parse_field(fields[1], kHour, out.hours_); !ok) return propagate(std::move(ok));
  if (auto ok = parse_field(fields[2], kDay, out.days_); !ok) return propagate(std::move(ok));
  if (auto ok = parse_field(fields[3], kMonth, out.months_); !ok) return propagate(std::move(ok));
  if (auto ok = parse_field(fields[4], kWeekday, out.weekdays_); !ok)
    return propagate(std::move(ok));
  if (out.weekdays_[7]) out.weekdays_.set(0);  // Sunday has two numbers
  out.any_day_ = fields[2].starts_with('*');
  out.any_weekday_ = fields[4].starts_with('*');
  return out;
}

bool Schedule::has_day(int month, int day, int weekday) const {
  if (!months_[static_cast<std::size_t>(month)]) return false;
  const bool by_day = days_[static_cast<std::size_t>(day)];
  const bool by_weekday = weekdays_[static_cast<std::size_t>(weekday)];
  return any_day_ || any_weekday_ ? by_day && by_weekday : by_day || by_weekday;
}

std::optional<int> Schedule::latest(int limit) const {
  for (int minute = limit; minute >= 0;) {
    const int hour = minute / 60;
    if (!hours_[static_cast<std::size_t>(hour)]) {
      minute = hour * 60 - 1;
      continue;
    }
    if (minutes_[static_cast<std::size_t>(minute % 60)]) return minute;
    --minute;
  }
  return std::nullopt;
}

Result<Window> Window::compile(const config::MaintenanceConfig& config) {
  auto schedule = Schedule::parse(config.schedule);
  if (!schedule) return propagate(std::move(schedule));
  return Window(config, *schedule);
}

bool Window::covers(const std::string& target) const {
  return std::ranges::any_of(config_.targets, [&](const std::string& glob) {
    return fnmatch(glob.c_str(), target.c_str(), 0) == 0 ||
           fnmatch((glob + ".service").c_str(), target.c_str(), 0) == 0;
  });
}

std::optional<WallTime> Window::open_until(WallTime now) const {
  cctz::time_zone zone;
  if (!cctz::load_time_zone(config_.timezone, &zone)) return std::nullopt;  // compile() complained
  const auto local = cctz::convert(now, zone);
  const cctz::civil_day today(local);
  const cctz::civil_day first(cctz::convert(now - config_.duration, zone));
  // One day more: clocks that are set forward make a window begin earlier by the wall than it did.
  for (auto day = today; day >= first - 1; --day) {
    const int weekday = (static_cast<int>(cctz::get_weekday(day)) + 1) % 7;  // 0 is Sunday
    if (!schedule_.has_day(day.month(), day.day(), weekday)) continue;
    for (auto minute = schedule_.latest(kDayMinutes - 1); minute;
         minute = *minute > 0 ? schedule_.latest(*minute - 1) : std::nullopt) {
      const cctz::civil_minute begins(day.year(), day.month(), day.day(), *minute / 60,
                                      *minute % 60);
      const auto looked = zone.lookup(cctz::civil_second(begins));
      const auto at = std::chrono::time_point_cast<Millis>(
          looked.kind == cctz::time_zone::civil_lookup::SKIPPED ? looked.trans : looked.pre);
      if (at > now) continue;
      if (at + config_.duration > now) return at + config_.duration;
      break;  // the ones before it end earlier still
    }
  }
  return std::nullopt;
}

std::optional<std::string> maintenance_for(const std::vector<Window>& windows,
                                           const std::string& target, WallTime now) {
  for (const auto& window : windows) {
    if (!window.covers(target)) continue;
    if (const auto until = window.open_until(now)) {
      return fmt::format("maintenance \"{}\" until {}Z", window.name(),
                         base::to_rfc3339(*until).substr(0, 19));
    }
  }
  return std::nullopt;
}

bool is_timezone(const std::string& name) {
  cctz::time_zone zone;
  return cctz::load_time_zone(name, &zone);
}

}  // namespace nexus::plan
