#include "analyze/forecast/jumps.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <numeric>

namespace nexus::analyze {
namespace {

constexpr std::size_t kDay = 24;
constexpr std::size_t kFewestHours = 3 * kDay + 1;
constexpr std::size_t kMostDays = 8;
constexpr double kStandsOut = 6;       // robust deviations
constexpr double kLeans = 2;           // of an hour beside it
constexpr double kOfLargest = 0.03;    // an hour beside it that has a part of it, at least
constexpr double kHoursOfGrowth = 4;   // less does not matter
constexpr std::size_t kShort = 4;      // changes from hour to hour: a ramp of three hours
constexpr std::size_t kLongest = 14;   // a ramp of twelve, once it is over
constexpr std::size_t kOver = 3;       // hours without it
constexpr double kOfItself = 0.5;      // of its size that is seen in the values themselves
constexpr double kOfAKind = 1.0 / 6;   // of its size, to be the same again
constexpr std::size_t kOften = 3;      // within kClose
constexpr std::size_t kClose = 87;     // hours
constexpr std::size_t kAbout = 3;      // hours by which what comes daily may be early or late
constexpr double kUndone = 0.3;        // of the size, by which what went may differ
constexpr double kBeyond = 1.3;        // what one such sum in twenty is
constexpr std::size_t kLeastLean = 5;  // hours
constexpr std::size_t kMostLean = 48;
constexpr std::size_t kFewestForLean = 4 * kDay;
constexpr double kOfUsual = 0.3;        // of the usual growth, for another rate to matter
constexpr double kOfMostMarked = 0.95;  // the shortest that is about as marked as the most marked

double median(std::span<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

/// What each change from one hour to the next usually is: of the same hour of all days.
std::vector<double> usual_changes(const std::vector<double>& changes) {
  std::vector<double> out(changes.size());
  std::array<double, kMostDays> same{};
  for (std::size_t hour = 0; hour < kDay; ++hour) {
    std::size_t n = 0;
    for (std::size_t k = hour; k < changes.size() && n < same.size(); k += kDay)
      same[n++] = changes[k];
    const double usual = median(std::span(same).first(n));
    for (std::size_t k = hour; k < changes.size(); k += kDay) out[k] = usual;
  }
  return out;
}

double median_size(std::vector<double> values) {
  for (double& value : values) value = std::abs(value);
  return median(values);
}

/// The median size of what is left; of every hour of the day one day is its median, and says
/// nothing.
double usual_size(std::vector<double> excess) {
  for (double& value : excess) value = std::abs(value);
  const std::size_t at = kDay + (excess.size() - kDay) / 2;
  std::ranges::nth_element(excess, excess.begin() + static_cast<std::ptrdiff_t>(at));
  return excess[at];
}

/// Hours on end that lean one way, the newest first.
struct Run {
  LevelJump jump;
  double largest = 0;
  [[nodiscard]] std::size_t length() const { return jump.before - jump.after; }
};

std::vector<Run> all_runs(const std::vector<double>& excess, const std::vector<double>& usual,
                          double deviation) {
  std::vector<Run> out;
  for (std::size_t k = 0; k < excess.size();) {
    const double sign = excess[k] >= 0 ? 1 : -1;
    const auto leans = [&](std::size_t i) {
      return i < excess.size() && sign * excess[i] > kLeans * deviation;
    };
    if (!leans(k)) {
      ++k;
      continue;
    }
    Run run;
    std::size_t begin = k;
    for (; leans(k); ++k) run.largest = std::max(run.largest, sign * excess[k]);
    // A jump on top of another rate is no longer for it.
    const auto matters = [&](std::size_t i) { return sign * excess[i] > kOfLargest * run.largest; };
    std::size_t end = k;
    while (!matters(begin)) ++begin;
    while (!matters(end - 1)) --end;
    for (std::size_t i = begin; i < end; ++i) {
      run.jump.size += excess[i];
      run.jump.usual += usual[i];
    }
    run.jump.after = begin;
    run.jump.before = end;
    out.push_back(run);
  }
  return out;
}

bool is_jump(const Run& run, double deviation, double least) {
  const double size = std::abs(run.jump.size);
  // Where growth was to be expected and none came, nothing fell.
  const double seen = (run.jump.size + run.jump.usual) * (run.jump.size > 0 ? 1 : -1);
  if (size <= least || seen < kOfItself * size) return false;
  if (run.length() <= kShort) return run.largest > kStandsOut * deviation;
  return run.length() <= kLongest && run.jump.after >= kOver &&
         size > kStandsOut * deviation * std::sqrt(static_cast<double>(run.length()));
}

/// Marks what came and went again, each with the newest of its size before it.
void pair_up(std::vector<LevelJump>& jumps) {
  for (std::size_t i = jumps.size(); i-- > 0;) {
    for (std::size_t j = i + 1; j < jumps.size(); ++j) {
      if (jumps[j].undone || jumps[j].size * jumps[i].size >= 0) continue;
      if (std::abs(jumps[i].size + jumps[j].size) > kUndone * std::abs(jumps[j].size)) continue;
      jumps[i].undone = jumps[j].undone = true;
      jumps[i].partner = j;
      jumps[j].partner = i;
      break;
    }
  }
}

/// Whether other days have about the same at about the same time.
bool comes_daily(const LevelJump& jump, const std::vector<double>& changes, double hourly) {
  const std::size_t length = jump.before - jump.after;
  const double sign = jump.size > 0 ? 1 : -1;
  std::size_t days = 0;
  std::size_t like = 0;
  for (std::size_t at = jump.after % kDay; at + length <= changes.size(); at += kDay) {
    if (at == jump.after) continue;
    ++days;
    double most = 0;
    const std::size_t last = std::min(at + kAbout, changes.size() - length);
    for (std::size_t from = at - std::min(at, kAbout); from <= last; ++from) {
      double sum = 0;
      for (std::size_t k = from; k < from + length; ++k) sum += sign * (changes[k] - hourly);
      most = std::max(most, sum);
    }
    like += most >= sign * jump.size / 2 ? 1 : 0;
  }
  return like >= 2 && like * 3 >= days;
}

/// Where it goes now, if that is another way than it went: the sum of what was more than usual over
/// the last hours, against such sums before.
void find_lean(const std::vector<double>& excess, double hourly, LevelChanges& out) {
  std::array<double, kMostLean + 1> marked{};
  double sum = 0;
  double most = 0;
  double deviation = 0;
  for (std::size_t k = 1; k <= kMostLean && 4 * k < excess.size(); ++k) {
    sum += excess[k - 1];
    if (k < kLeastLean) continue;
    // How much such sums were is about the same for some hours more.
    if (k == kLeastLean || k % 8 == 0) {
      std::vector<double> sums;
      double one =
          std::accumulate(excess.begin(), excess.begin() + static_cast<std::ptrdiff_t>(k), 0.0);
      for (std::size_t from = 1; from + k <= excess.size(); ++from) {
        one += excess[from + k - 1] - excess[from - 1];
        if (from >= k) sums.push_back(one);
      }
      for (double& value : sums) value = std::abs(value);
      const auto often = sums.begin() + static_cast<std::ptrdiff_t>(sums.size() * 19 / 20);
      std::ranges::nth_element(sums, often);
      deviation = std::max(deviation, kBeyond * *often);
      deviation = std::max(deviation, kStandsOut * 1.4826 * median_size(std::move(sums)));
    }
    if (std::abs(sum) <= deviation ||
        std::abs(sum) <= std::max(kHoursOfGrowth, kOfUsual * static_cast<double>(k)) * hourly)
      continue;
    marked[k] = sum;
    most = std::max(most, std::abs(sum));
  }
  for (std::size_t k = kLeastLean; k <= kMostLean; ++k) {
    if (marked[k] == 0 || std::abs(marked[k]) < kOfMostMarked * most) continue;
    out.leans = k;
    out.lean = marked[k] / static_cast<double>(k);
    return;
  }
}

}  // namespace

LevelChanges find_level_changes(std::span<const double> hours, bool and_lean) {
  LevelChanges out;
  if (hours.size() < kFewestHours) return out;
  std::vector<double> changes(hours.size() - 1);
  for (std::size_t k = 0; k + 1 < hours.size(); ++k) changes[k] = hours[k] - hours[k + 1];
  const std::vector<double> usual = usual_changes(changes);
  std::vector<double> excess(changes.size());
  for (std::size_t k = 0; k < changes.size(); ++k) excess[k] = changes[k] - usual[k];
  const double deviation = 1.4826 * usual_size(excess);
  std::vector<double> sorted = changes;
  const double hourly = median(sorted);
  const double least = kHoursOfGrowth * std::abs(hourly);
  std::vector<LevelJump> all;
  std::vector<double> daily;
  for (const Run& run : all_runs(excess, usual, deviation)) {
    if (!is_jump(run, deviation, least)) continue;
    all.push_back(run.jump);
    if (comes_daily(run.jump, changes, hourly)) daily.push_back(run.jump.size);
  }
  pair_up(all);
  const auto like = [](double size, double other) {
    return size * other > 0 && std::abs(other) >= kOfAKind * std::abs(size);
  };
  // What went again says nothing of what stays.
  const auto is_growth = [&](const LevelJump& jump) {
    std::size_t most = 0;
    for (const LevelJump& first : all) {
      if (first.after > jump.after || jump.after - first.after >= kClose) continue;
      const auto others = std::ranges::count_if(all, [&](const LevelJump& other) {
        return other.undone == jump.undone && other.after >= first.after &&
               other.after - first.after < kClose && like(jump.size, other.size);
      });
      most = std::max(most, static_cast<std::size_t>(others));
    }
    return most >= kOften ||
           std::ranges::any_of(daily, [&](double size) { return like(jump.size, size); });
  };
  for (const LevelJump& jump : all)
    if (!is_growth(jump) && (!jump.undone || !is_growth(all[jump.partner])))
      out.jumps.push_back(jump);
  for (const LevelJump& jump : out.jumps)
    std::fill(excess.begin() + static_cast<std::ptrdiff_t>(jump.after),
              excess.begin() + static_cast<std::ptrdiff_t>(jump.before), 0.0);
  const std::size_t day = std::min<std::size_t>(kDay, usual.size());
  out.usual =
      std::accumulate(usual.begin(), usual.begin() + static_cast<std::ptrdiff_t>(day), 0.0) /
      static_cast<double>(day);
  if (and_lean && out.jumps.size() == all.size() && excess.size() >= kFewestForLean)
    find_lean(excess, std::abs(hourly), out);
  return out;
}

}  // namespace nexus::analyze
