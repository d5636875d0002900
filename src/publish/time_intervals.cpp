#include "publish/time_intervals.hpp"

#include <cctz/civil_time.h>
#include <cctz/time_zone.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "nexus/base/text.hpp"

namespace nexus::publish {
namespace {

constexpr std::array<std::string_view, 7> kWeekdays = {"sunday",   "monday", "tuesday", "wednesday",
                                                       "thursday", "friday", "saturday"};
constexpr std::array<std::string_view, 12> kMonths = {
    "january", "february", "march",     "april",   "may",      "june",
    "july",    "august",   "september", "october", "november", "december"};

std::string lower(std::string_view text) {
  std::string out(base::trim(text));
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return out;
}

template <std::size_t N>
std::optional<int> index_of(const std::array<std::string_view, N>& names, std::string_view text) {
  const auto found = std::ranges::find(names, lower(text));
  if (found == names.end()) return std::nullopt;
  return static_cast<int>(found - names.begin());
}

std::optional<int> weekday(std::string_view text) {
  return index_of(kWeekdays, text);
}
std::optional<int> number(std::string_view text, int low, int high) {
  const auto value = base::parse_int(base::trim(text));
  if (!value || *value < low || *value > high) return std::nullopt;
  return static_cast<int>(*value);
}
std::optional<int> month(std::string_view text) {
  if (const auto named = index_of(kMonths, text)) return *named + 1;
  return number(text, 1, 12);
}
std::optional<int> year(std::string_view text) {
  return number(text, 1, 9999);
}
std::optional<int> day(std::string_view text) {
  const auto value = number(text, -31, 31);
  return value && *value != 0 ? value : std::nullopt;
}

/// "08:30" as minutes of the day, up to "24:00".
std::optional<int> minute(std::string_view text) {
  text = base::trim(text);
  if (text.size() != 5 || text[2] != ':') return std::nullopt;
  const auto hours = base::parse_uint(text.substr(0, 2));
  const auto minutes = base::parse_uint(text.substr(3));
  if (!hours || !minutes || *minutes > 59 || *hours > 24 || (*hours == 24 && *minutes > 0))
    return std::nullopt;
  return static_cast<int>(*hours * 60 + *minutes);
}

/// A negative day counts from the end of the month: -1 is its last one.
int day_of(int written, int days_in_month) {
  return written < 0 ? days_in_month + written + 1 : written;
}

}  // namespace

struct TimeIntervalReader {
  const config::TimeIntervalConfig& written;
  std::vector<config::Problem>& problems;

  void complain(std::string_view key, std::string_view text, std::string_view expected) {
    const auto at = written.places.find(key);
    problems.push_back({at == written.places.end() ? written.where : at->second,
                        fmt::format("time_interval \"{}\": {}: expected {}, got \"{}\"",
                                    written.name, key, expected, base::sanitize_utf8(text))});
  }

  /// "a:b", or "a" for both.
  template <typename Parse>
  void ranges(std::string_view key, const std::vector<std::string>& texts, char separator,
              std::string_view expected, std::vector<TimeInterval::Range>& into, Parse parse) {
    for (const auto& text : texts) {
      const auto cut = text.find(separator);
      const std::string_view all = text;
      const auto first = parse(all.substr(0, cut));
      const auto last = cut == std::string::npos ? first : parse(all.substr(cut + 1));
      const bool same_sign = first && last && (*first < 0) == (*last < 0);
      if (!first || !last || (same_sign && *last < *first) || (*first < 0 && *last > 0)) {
        complain(key, text, expected);
      } else {
        into.push_back({*first, *last});
      }
    }
  }

  void location(std::string& into) {
    cctz::time_zone zone;
    into = written.location;
    if (into == "Local" || cctz::load_time_zone(into, &zone)) return;
    complain("location", written.location, "a time zone such as \"Europe/Berlin\"");
    into = "UTC";
  }
};

TimeInterval TimeInterval::compile(const config::TimeIntervalConfig& written,
                                   std::vector<config::Problem>& problems) {
  TimeIntervalReader reader{written, problems};
  TimeInterval out;
  for (const auto& text : written.times) {
    const auto cut = text.find('-');
    const auto first = cut == std::string::npos ? std::nullopt : minute(text.substr(0, cut));
    const auto last = cut == std::string::npos ? std::nullopt : minute(text.substr(cut + 1));
    if (first && last && *first < *last) {
      out.minutes_.push_back({*first, *last});
    } else {
      reader.complain("times", text, "a range such as \"08:00-17:30\", its end after its begin");
    }
  }
  reader.ranges("weekdays", written.weekdays, ':', "a day or a range such as \"monday:friday\"",
                out.weekdays_, weekday);
  reader.ranges("days_of_month", written.days_of_month, ':',
                "a day or a range such as \"1:5\" or \"-3:-1\", within -31 and 31", out.days_, day);
  reader.ranges("months", written.months, ':', "a month or a range such as \"june:august\"",
                out.months_, month);
  reader.ranges("years", written.years, ':', "a year or a range such as \"2026:2028\"", out.years_,
                year);
  reader.location(out.location_);
  return out;
}

bool TimeInterval::contains(WallTime time) const {
  // The zone was found when this was compiled; a tzdata that is gone by now is taken for UTC.
  cctz::time_zone zone = cctz::utc_time_zone();
  if (location_ == "Local") {
    zone = cctz::local_time_zone();
  } else {
    cctz::load_time_zone(location_, &zone);
  }
  const auto local = cctz::convert(time, zone);
  const cctz::civil_day today(local);
  const int minutes = local.hour() * 60 + local.minute();
  const int days = (cctz::civil_day(cctz::civil_month(today) + 1) - 1).day();
  const auto within = [](const std::vector<Range>& ranges, int value) {
    return ranges.empty() || std::ranges::any_of(ranges, [&](const Range& range) {
             return value >= range.first && value <= range.last;
           });
  };
  const int in_month = today.day();
  const bool day_holds =
      days_.empty() || std::ranges::any_of(days_, [&](const Range& range) {
        return in_month >= day_of(range.first, days) && in_month <= day_of(range.last, days);
      });
  const bool minute_holds =
      minutes_.empty() || std::ranges::any_of(minutes_, [&](const Range& range) {
        return minutes >= range.first && minutes < range.last;
      });
  return minute_holds && day_holds &&
         within(weekdays_, (static_cast<int>(cctz::get_weekday(today)) + 1) % 7)  // 0 is Sunday
         && within(months_, today.month()) && within(years_, static_cast<int>(today.year()));
}

}  // namespace nexus::publish
