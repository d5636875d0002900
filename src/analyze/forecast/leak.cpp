#include "nexus/analyze/leak.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "analyze/forecast/student_t.hpp"
#include "nexus/analyze/forecast.hpp"

namespace nexus::analyze {
namespace {

constexpr std::int64_t kHour = 3'600'000;
constexpr double kSameStart = 2;  // seconds: start times are rounded by the kernel's tick
constexpr double kFilling = 3600 * LeakTrend::kFillingHours;
constexpr int kRounds = 60;         // of removing both effects in turn
constexpr double kLeastSpread = 2;  // hours: what is left of the time, root of the mean square
constexpr double kMostCorrelated = 0.95;
constexpr double kSignificant = 0.001;
constexpr double kOfSlope = 0.25;     // of each third
constexpr double kOfLastSlope = 0.5;  // of the last one
constexpr std::size_t kNewest = 12;   // rows that tell whether it has stopped
constexpr double kOneSided = 1.645;   // 95 %
constexpr double kOneStep = 0.5;      // of all growth within two hours
constexpr double kMatters = 0.01;     // of the present value a day

using Vector = std::vector<double>;

/// The rows of one fit; `x` hours since the first, effects as places in tables.
struct Panel {
  Vector y;
  Vector x;
  std::vector<std::size_t> life;
  std::vector<std::size_t> hour;  // of the day, UTC
  std::size_t lives = 0;

  void remove(Vector& v, const std::vector<std::size_t>& by, std::size_t groups) const {
    Vector sums(groups);
    Vector counts(groups);
    for (std::size_t i = 0; i < v.size(); ++i) {
      sums[by[i]] += v[i];
      counts[by[i]] += 1;
    }
    for (std::size_t i = 0; i < v.size(); ++i) v[i] -= sums[by[i]] / counts[by[i]];
  }
  /// What lives and hours of the day do not explain.
  [[nodiscard]] Vector rest_of(Vector v) const {
    for (int round = 0; round < kRounds; ++round) {
      remove(v, hour, 24);
      remove(v, life, lives);
    }
    return v;
  }
  [[nodiscard]] bool follows(std::size_t i) const {
    return i > 0 && life[i] == life[i - 1] && x[i] - x[i - 1] < 1.5;
  }
};

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// From hour to hour within a life.
double autocorrelation(const Panel& panel, const Vector& e) {
  double cross = 0;
  double square = 0;
  std::size_t n = 0;
  for (std::size_t i = 0; i < e.size(); ++i) {
    square += e[i] * e[i];
    if (!panel.follows(i)) continue;
    cross += e[i] * e[i - 1];
    ++n;
  }
  if (n == 0 || !(square > 0)) return 0;
  const double r = cross / static_cast<double>(n) / (square / static_cast<double>(e.size()));
  return std::clamp(r, 0.0, kMostCorrelated);
}

/// A slope of its own for a part of the rows, each life with a level of its own.
struct PartSlope {
  double slope = 0;
  double error = 0;    // standard error, widened for autocorrelation
  bool known = false;  // false: no life in it is long enough to say anything
};

/// `grown`: the values without the hours' effects.
PartSlope slope_of(const Panel& panel, const Vector& grown, std::size_t begin, std::size_t end) {
  constexpr std::size_t kFewest = 6;
  Panel part;
  for (std::size_t i = begin; i < end;) {
    std::size_t last = i;
    while (last < end && panel.life[last] == panel.life[i]) ++last;
    for (std::size_t k = i; k < last && last - i >= kFewest; ++k) {
      part.x.push_back(panel.x[k]);
      part.y.push_back(grown[k]);
      part.life.push_back(part.lives);
    }
    part.lives += last - i >= kFewest ? 1 : 0;
    i = last;
  }
  if (part.x.empty()) return {};
  Vector x = part.x;  // `follows` asks for the hours themselves
  part.remove(x, part.life, part.lives);
  part.remove(part.y, part.life, part.lives);
  const double xx = dot(x, x);
  PartSlope out{dot(x, part.y) / xx, 0, true};
  for (std::size_t i = 0; i < x.size(); ++i) part.y[i] -= out.slope * x[i];
  const double r = autocorrelation(part, part.y);
  const auto degrees = static_cast<double>(x.size() - part.lives - 1);
  out.error = std::sqrt(dot(part.y, part.y) / degrees / xx * (1 + r) / (1 - r));
  return out;
}

/// Whether every third has a good part of the slope, the last one half of it.
bool steady(const Panel& panel, const Vector& grown, double slope) {
  const std::size_t third = grown.size() / 3;
  for (std::size_t part = 0; part < 3; ++part) {
    const std::size_t end = part == 2 ? grown.size() : (part + 1) * third;
    const PartSlope here = slope_of(panel, grown, part * third, end);
    if (!here.known || here.slope < (part == 2 ? kOfLastSlope : kOfSlope) * slope) return false;
  }
  return true;
}

/// Whether growth becomes slower, and not by chance: the newest hours have less than half of the
/// slope (what filled up has stopped), or the last third less than half of the first one's.
bool slows_down(const Panel& panel, const Vector& grown, double slope) {
  const std::size_t n = grown.size();
  const PartSlope newest = slope_of(panel, grown, n - std::min(kNewest, n), n);
  const PartSlope first = slope_of(panel, grown, 0, n / 3);
  const PartSlope last = slope_of(panel, grown, n / 3 * 2, n);
  const auto below = [](const PartSlope& part, double goal, double error) {
    return part.known && part.slope + kOneSided * std::hypot(part.error, error) < goal;
  };
  return below(newest, kOfLastSlope * slope, 0) ||
         (first.known && below(last, kOfLastSlope * first.slope, kOfLastSlope * first.error));
}

bool one_step(const Panel& panel, const Vector& grown, double slope) {
  double total = 0;
  double largest = 0;
  for (std::size_t i = 1; i < grown.size(); ++i) {
    if (panel.life[i] != panel.life[i - 1]) continue;
    total += slope * (panel.x[i] - panel.x[i - 1]);
    // Two hours: a step in the middle of one is spread over both.
    const std::size_t from = i >= 2 && panel.life[i - 2] == panel.life[i] ? i - 2 : i - 1;
    largest = std::max(largest, grown[i] - grown[from]);
  }
  return largest > kOneStep * total;
}

}  // namespace

void LeakTrend::finish_hour() {
  const bool young = started_known_ && static_cast<double>(open_.hour) * 3600 - started_ < kFilling;
  if (!mixed_ && !young && std::isfinite(open_.value)) {
    open_.life = life_;
    rows_.push_back(open_);
    if (rows_.size() > kMostHours) rows_.pop_front();
  }
  // Two weeks, not so many hours: what is older than that says little about today.
  while (!rows_.empty() &&
         rows_.back().hour - rows_.front().hour >= static_cast<std::int64_t>(kMostHours))
    rows_.pop_front();
  mixed_ = false;
}

void LeakTrend::add(std::int64_t time_ms, double value, double started) {
  if (!std::isfinite(value) || (any_ && time_ms <= last_)) return;
  last_ = time_ms;
  const std::int64_t hour = time_ms / kHour;
  if (any_ && hour != open_.hour) finish_hour();
  if (!any_ || hour != open_.hour) open_ = {hour, value, life_};
  if (std::isfinite(started)) {
    if (any_ && std::abs(started - started_) > kSameStart) {
      ++life_;
      mixed_ = true;
    }
    started_ = started;
    started_known_ = true;
  }
  any_ = true;
  open_.value = std::min(open_.value, value);
}

std::optional<Leak> LeakTrend::fit(double least_a_day) const {
  if (rows_.size() < kFewestHours) return std::nullopt;
  Panel panel;
  std::map<std::uint32_t, std::size_t> lives;
  std::array<bool, 24> seen{};
  const double base = rows_.front().value;
  for (const Row& row : rows_) {
    panel.y.push_back(row.value - base);
    panel.x.push_back(static_cast<double>(row.hour - rows_.front().hour));
    panel.life.push_back(lives.try_emplace(row.life, lives.size()).first->second);
    const auto of_day = static_cast<std::size_t>(((row.hour % 24) + 24) % 24);
    panel.hour.push_back(of_day);
    seen[of_day] = true;
  }
  panel.lives = lives.size();
  const auto n = static_cast<double>(rows_.size());
  const double effects =
      static_cast<double>(lives.size()) + static_cast<double>(std::ranges::count(seen, true));
  const double degrees = n - effects;  // the two constants count once, the slope once
  const Vector x = panel.rest_of(panel.x);
  const Vector y = panel.rest_of(panel.y);
  const double xx = dot(x, x);
  if (degrees < 6 || xx < n * kLeastSpread * kLeastSpread) return std::nullopt;
  const double slope = dot(x, y) / xx;
  Vector rest(y.size());
  for (std::size_t i = 0; i < y.size(); ++i) rest[i] = y[i] - slope * x[i];
  const double r = autocorrelation(panel, rest);
  const double independent = std::max(degrees * (1 - r) / (1 + r), 2.0);
  const double error = std::sqrt(dot(rest, rest) / degrees / xx * (1 + r) / (1 - r));
  Leak out;
  out.current = rows_.back().value;
  out.per_day = 24 * slope;
  out.per_day_error = 24 * error * student_t_quantile(0.975, independent);
  out.p_value = slope == 0   ? 1
                : error == 0 ? 0
                             : student_t_two_sided(std::abs(slope) / error, independent);
  out.from = base::from_unix_millis(rows_.front().hour * kHour);
  out.to = base::from_unix_millis((rows_.back().hour + 1) * kHour);
  out.hours = rows_.size();
  out.restarts = rows_.back().life - rows_.front().life;
  Vector grown(rest.size());
  for (std::size_t i = 0; i < rest.size(); ++i) grown[i] = rest[i] + slope * panel.x[i];
  out.certain = slope > 0 && out.p_value < kSignificant && out.per_day > out.per_day_error &&
                out.per_day >= std::max(least_a_day, kMatters * std::abs(out.current)) &&
                steady(panel, grown, slope) && !slows_down(panel, grown, slope) &&
                !one_step(panel, grown, slope);
  return out;
}

}  // namespace nexus::analyze
