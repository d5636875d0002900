// Calendar functions over Unix seconds, in UTC.
//
// Prometheus computes with 64-bit arithmetic that wraps around, so that even nonsense (NaN, 1e300)
// has a date; so do we, to give the same one. Days are counted from an origin far before any date,
// the first of January of a year that is one more than a multiple of 400.
#include <array>
#include <cstdint>
#include <limits>

#include "knowledge/promql/bodies.hpp"

namespace nexus::knowledge::promql {
namespace {

constexpr std::int64_t kOriginYear = -292277022399;
constexpr std::uint64_t kUnixToOrigin = 9223372028715321600ULL;  // s
constexpr std::uint64_t kSecondsADay = 86'400;
constexpr std::uint64_t kDaysIn400Years = 146'097;
constexpr std::uint64_t kDaysIn100Years = 36'524;
constexpr std::uint64_t kDaysIn4Years = 1'461;

std::uint64_t seconds_since_origin(double unix_seconds) {
  constexpr double kLimit = 0x1p63;
  const bool fits = unix_seconds >= -kLimit && unix_seconds < kLimit;  // false for NaN
  const std::int64_t whole =
      fits ? static_cast<std::int64_t>(unix_seconds) : std::numeric_limits<std::int64_t>::min();
  return static_cast<std::uint64_t>(whole) + kUnixToOrigin;
}

struct Date {
  std::int64_t year = 0;
  int day_of_year = 0;  // from 0
  int month = 0;        // from 0
  int day = 0;          // from 0
  int days_in_month = 0;
};

Date date_of(double unix_seconds) {
  std::uint64_t days = seconds_since_origin(unix_seconds) / kSecondsADay;
  const std::uint64_t eras = days / kDaysIn400Years;
  days %= kDaysIn400Years;
  // The last century of an era and the last year of four are a day longer than the others.
  const std::uint64_t centuries = days / kDaysIn100Years - (days / kDaysIn100Years) / 4;
  days -= centuries * kDaysIn100Years;
  const std::uint64_t fours = days / kDaysIn4Years;
  days -= fours * kDaysIn4Years;
  const std::uint64_t ones = days / 365 - (days / 365) / 4;
  days -= ones * 365;
  const std::uint64_t years = eras * 400 + centuries * 100 + fours * 4 + ones;
  Date date;
  date.year = static_cast<std::int64_t>(years) + kOriginYear;
  date.day_of_year = static_cast<int>(days);
  const bool leap = ones == 3 && (fours != 24 || centuries == 3);
  constexpr std::array<int, 12> kLengths = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  date.day = date.day_of_year;
  for (;; ++date.month) {
    date.days_in_month =
        kLengths[static_cast<std::size_t>(date.month)] + (leap && date.month == 1 ? 1 : 0);
    if (date.day < date.days_in_month) return date;
    date.day -= date.days_in_month;
  }
}

double within_day(double unix_seconds, std::uint64_t unit, std::uint64_t count) {
  return static_cast<double>(seconds_since_origin(unix_seconds) / unit % count);
}

}  // namespace

double year(double v, double, double) {
  return static_cast<double>(date_of(v).year);
}
double month(double v, double, double) {
  return date_of(v).month + 1;
}
double day_of_month(double v, double, double) {
  return date_of(v).day + 1;
}
double day_of_year(double v, double, double) {
  return date_of(v).day_of_year + 1;
}
double days_in_month(double v, double, double) {
  return date_of(v).days_in_month;
}
double day_of_week(double v, double, double) {
  // The origin was a Monday.
  return static_cast<double>((seconds_since_origin(v) / kSecondsADay + 1) % 7);
}
double hour(double v, double, double) {
  return within_day(v, 3600, 24);
}
double minute(double v, double, double) {
  return within_day(v, 60, 60);
}

}  // namespace nexus::knowledge::promql
