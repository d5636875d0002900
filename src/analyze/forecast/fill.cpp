#include "nexus/analyze/fill.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "analyze/forecast/experts/archive.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze {
namespace {

constexpr std::uint32_t kVersion = 4;
constexpr std::array<double, 8> kWindowHours{3, 6, 12, 24, 48, 72, 120, 168};
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr double kFarthestDays = 366;
constexpr std::int64_t kLongestFill = 576;   // rows; after a longer gap all starts anew
constexpr float kJudgeMemory = 12;           // hours
constexpr double kFarOff = 6;                // mean errors of six hours' growth
constexpr std::uint32_t kSurpriseHours = 8;  // longer than a jump is seen
constexpr std::uint64_t kSurpriseFrom = 18;  // hours judged before
constexpr double kErrors = 2;                // mean errors of the rate that make the interval
constexpr double kDropChanges = 8;           // mean changes that a clean-up is at least
constexpr double kDropOfRise = 0.3;          // and of the rise since the last one
constexpr double kFallsOfRises = 0.05;       // of what only grows
constexpr int kRisingHours = 8;              // one jump is no growth
constexpr double kOneStep = 0.5;             // of all growth, within two hours
constexpr double kOnlyGrows = 0.4;           // the error of its rate, at most
constexpr std::int64_t kUnsure = 5;          // hours after a jump
constexpr double kExplains = 0.5;  // of the line's variance, for the day to be the pattern

}  // namespace

Fill::Fill(Millis step, const Combination* rows)
    : step_(step),
      day_(static_cast<std::size_t>(std::max<std::int64_t>(86'400'000 / step.count(), 1))),
      hour_(std::max<std::size_t>(day_ / 24, 1)),
      shared_(rows),
      values_(rows != nullptr ? 0 : kKept),
      judged_(kJudged * (kCandidates + 2)) {}

double Fill::kept(std::size_t ago) const {
  if (shared_ != nullptr) return static_cast<double>(shared_->kept(ago + behind_));
  return static_cast<double>(values_[(seen_ - 1 - ago) % kKept]);
}

/// The value so many rows before the last one, as if what is no growth had been before all of them.
double Fill::back(std::size_t ago) const {
  return shifts_.empty() ? kept(ago) : shifted(ago);
}

double Fill::mean_of(std::size_t ago, std::size_t rows) const {
  double sum = 0;
  for (std::size_t i = 0; i < rows; ++i) sum += back(ago + i);
  return sum / static_cast<double>(rows);
}

bool Fill::add(std::int64_t slot, double value) {
  if (seen_ > 0 && slot <= slot_) return false;
  if (shared_ != nullptr && shared_->last_slot() != slot) return false;
  const bool given = std::isfinite(value) && std::abs(value) < 1e30;
  if (seen_ == 0) {
    if (!given) return true;
    anchor_ = shared_ != nullptr ? shared_->base() : value;
  } else if (slot - slot_ > kLongestFill) {
    *this = Fill(step_, shared_);
    return add(slot, value);
  }
  const double z = given ? value - anchor_ : (seen_ == 0 ? 0 : kept(0));
  std::int64_t missing = seen_ == 0 ? 0 : slot - slot_ - 1;
  const std::uint64_t rows = rows_ + static_cast<std::uint64_t>(missing) + 1;
  for (; missing >= 0; --missing) {
    slot_ = slot - missing;
    const double next = next_value(z, missing);
    note_drop(next);
    if (shared_ == nullptr) values_[seen_ % kKept] = static_cast<float>(next);
    behind_ = shared_ != nullptr ? static_cast<std::size_t>(missing) : 0;
    ++seen_;
    // What the combination keeps reaches less far back from a row that is not its last.
    rows_ = std::min<std::uint64_t>(rows_ + 1, kKept);
    if (shared_ != nullptr) rows_ = std::min<std::uint64_t>(rows_, shared_->keeps() - behind_);
    if (seen_ % hour_ == 0 && ready()) judge();
  }
  rows_ = std::min<std::uint64_t>(rows, kKept);
  solve();
  return true;
}

/// The row `missing` rows before the one that was given as `z`.
double Fill::next_value(double z, std::int64_t missing) {
  if (shared_ != nullptr) {
    behind_ = static_cast<std::size_t>(missing) + 1;  // kept(0) is the row before it
    return static_cast<double>(shared_->kept(static_cast<std::size_t>(missing)));
  }
  const double before = seen_ == 0 ? z : kept(0);
  return before + (z - before) / static_cast<double>(missing + 1);
}

/// A fall out of all proportion is a clean-up: the ends of saw teeth.
void Fill::note_drop(double next) {
  if (seen_ == 0) {
    since_low_ = next;
    return;
  }
  const double step = next - kept(0);
  const double rise = kept(0) - since_low_;
  if (seen_ > 12 && -step > kDropChanges * change_ && -step > kDropOfRise * rise) {
    drops_[drop_count_++ % drops_.size()] = slot_;
    since_low_ = next;
    return;
  }
  since_low_ = std::min(since_low_, next);
  change_ += std::max(0.005, 1.0 / static_cast<double>(seen_)) * (std::abs(step) - change_);
}

/// The usual distance of clean-ups when they are about regular; 0 otherwise.
std::size_t Fill::saw_teeth() const {
  const auto n = std::min<std::uint64_t>(drop_count_, drops_.size());
  std::vector<std::int64_t> gaps;
  for (std::uint64_t i = 1; i < n; ++i) {
    const std::int64_t later = drops_[(drop_count_ - i) % drops_.size()];
    if (slot_ - later > static_cast<std::int64_t>(kKept)) break;
    gaps.push_back(later - drops_[(drop_count_ - i - 1) % drops_.size()]);
  }
  if (gaps.empty()) return 0;
  const auto middle = gaps.begin() + static_cast<std::ptrdiff_t>(gaps.size() / 2);
  std::ranges::nth_element(gaps, middle);
  const std::int64_t usual = *middle;
  // One gap in four may be another; a pattern that is overdue by half is over.
  const auto regular = std::ranges::count_if(
      gaps, [&](std::int64_t gap) { return std::abs(gap - usual) <= usual / 5 + 1; });
  const std::int64_t since = slot_ - drops_[(drop_count_ - 1) % drops_.size()];
  if (regular * 4 < static_cast<std::int64_t>(gaps.size()) * 3 || since > usual * 3 / 2) return 0;
  const auto rows = static_cast<std::size_t>(usual);
  return rows >= 4 && rows * 2 <= rows_ ? rows : 0;
}

/// Whether a day ago with a drift explains the last day better than a line does.
bool Fill::daily() const {
  if (rows_ < day_ + day_ / 4) return false;
  const std::size_t n = std::min<std::size_t>(day_, rows_ - day_);
  double mean = 0;
  double mean_x = 0;
  double mean_d = 0;
  for (std::size_t i = 0; i < n; ++i) {
    mean += back(i);
    mean_x += static_cast<double>(i);
    mean_d += back(i) - back(i + day_);
  }
  const auto count = static_cast<double>(n);
  mean /= count;
  mean_x /= count;
  mean_d /= count;
  double xx = 0;
  double xy = 0;
  double yy = 0;
  double dd = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double x = static_cast<double>(i) - mean_x;
    const double y = back(i) - mean;
    const double d = back(i) - back(i + day_) - mean_d;
    xx += x * x;
    xy += x * y;
    yy += y * y;
    dd += d * d;
  }
  return dd / 2 < kExplains * (yy - xy * xy / xx);
}

std::size_t Fill::find_pattern() const {
  if (const std::size_t teeth = saw_teeth(); teeth > 0) return teeth;
  return daily() ? day_ : 0;
}

/// All candidate rates, a row; NaN where there are rows too few.
Fill::Rates Fill::rates(std::size_t pattern) const {
  Rates out;
  out.fill(kNaN);
  double sum = 0;
  double weighted = 0;
  std::size_t i = 0;
  for (std::size_t w = 0; w < kWindows; ++w) {
    const auto window = static_cast<std::size_t>(kWindowHours[w] * static_cast<double>(day_) / 24);
    if (window < 3 || window > rows_) break;
    for (; i < window; ++i) {
      const double value = back(i);
      sum += value;
      weighted += static_cast<double>(i) * value;
    }
    const auto n = static_cast<double>(window);
    const double centre = (n - 1) / 2;
    out[w] = static_cast<float>(-(weighted - centre * sum) / (n * (n * n - 1) / 12));
  }
  const std::size_t m = pattern > 0 ? pattern : day_;
  for (std::size_t lag = 0; lag < kLags; ++lag) {
    const std::size_t apart = m * (std::size_t{1} << lag);
    if (apart + hour_ > rows_) break;
    // Means over as much of a pattern as is there.
    const std::size_t n = std::min<std::size_t>(m, rows_ - apart);
    out[kWindows + lag] =
        static_cast<float>((mean_of(0, n) - mean_of(apart, n)) / static_cast<double>(apart));
  }
  return out;
}

/// Once an hour: how the rates of 6 and 24 hours ago foretold what came.
void Fill::judge() {
  constexpr std::size_t kWidth = kCandidates + 2;
  find_shifts(true);
  remember_shifts();
  const double now = mean_of(0, std::min<std::size_t>(hour_, rows_));
  const auto toward = [](float& mean, float& count, double error) {
    count = std::min(count + 1, kJudgeMemory);
    mean += (static_cast<float>(error) - mean) / count;
  };
  for (const std::uint64_t hours : {6ULL, 24ULL}) {
    if (judgements_ < hours) continue;
    const float* then = &judged_[(judgements_ - hours) % kJudged * kWidth];
    const std::size_t ago = hours * hour_;
    if (ago >= rows_) continue;
    const double growth = now - mean_of(ago, std::min<std::size_t>(hour_, rows_ - ago));
    const auto rows = static_cast<double>(ago);
    for (std::size_t c = 0; c < kCandidates; ++c) {
      if (std::isnan(then[c])) continue;
      const double error = std::abs(growth - static_cast<double>(then[c]) * rows) / rows;
      if (hours == 6) {
        toward(error_short_[c], count_short_[c], error);
      } else {
        toward(error_long_[c], count_long_[c], error);
      }
    }
    if (hours == 6 && !std::isnan(then[kCandidates]) &&
        then[kCandidates + 1] == static_cast<float>(path_.pattern))
      watch_rate(growth, static_cast<double>(then[kCandidates]) * rows);
    if (hours == 24 && !std::isnan(then[kCandidates]) &&
        then[kCandidates + 1] == static_cast<float>(path_.pattern)) {
      toward(chosen_error_, chosen_count_,
             std::abs(growth - static_cast<double>(then[kCandidates]) * rows) / rows);
    }
  }
  solve();
  // What was said while one of the last hours was not yet known to be a jump says nothing.
  for (const Shift& shift : shifts_) {
    if (slot_ - shift.end > kUnsure * static_cast<std::int64_t>(hour_)) break;
    const auto hours = static_cast<std::uint64_t>(slot_ - shift.begin) / hour_ + 1;
    for (std::uint64_t h = 1; h <= std::min<std::uint64_t>({hours, judgements_, kJudged}); ++h)
      std::fill_n(&judged_[(judgements_ - h) % kJudged * kWidth], kCandidates + 1, kNaN);
  }
  float* now_at = &judged_[judgements_++ % kJudged * kWidth];
  const Rates mine = rates(path_.pattern);
  std::ranges::copy(mine, now_at);
  now_at[kCandidates] = static_cast<float>(path_.rate);
  now_at[kCandidates + 1] = static_cast<float>(path_.pattern);
}

/// Growth far from what was foretold, on one side for hours, is a new slope. A large jump may be
/// taken for one as well, when rates that had it in their window are wrong for hours after it. What
/// was learnt of candidates before counts little from then on.
void Fill::watch_rate(double growth, double foretold) {
  const double off = growth - foretold;
  const bool out =
      judgements_ > kSurpriseFrom && std::abs(off) > kFarOff * surprise_ && surprise_ > 0;
  const std::int32_t side = off > 0 ? 1 : -1;
  surprises_ = !out ? 0 : (surprise_side_ == side ? surprises_ + 1 : 1);
  surprise_side_ = side;
  if (!out || surprises_ > kSurpriseHours) surprise_ += (std::abs(off) - surprise_) / 12;
  if (surprises_ != kSurpriseHours) return;
  ++rate_changes_;
  rate_changed_ = slot_;
  for (float& count : count_short_) count = std::min(count, 1.0F);
  for (float& count : count_long_) count = std::min(count, 1.0F);
}

/// The days that a candidate rate looks over.
double Fill::days_of(std::size_t candidate) const {
  if (candidate < kWindows) return kWindowHours[candidate] / 24;
  const std::size_t m = path_.pattern > 0 ? path_.pattern : day_;
  return static_cast<double>(m << (candidate - kWindows)) / static_cast<double>(day_);
}

/// The standard error of the rate from one pattern to the next, hours taken as independent.
double Fill::pattern_error() const {
  const std::size_t m = path_.pattern;
  if (rows_ < m + hour_) return std::abs(path_.rate);
  const std::size_t n = std::min<std::size_t>(m, rows_ - m);
  double mean = 0;
  for (std::size_t i = 0; i < n; ++i) mean += back(i) - back(i + m);
  mean /= static_cast<double>(n);
  double square = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double d = back(i) - back(i + m) - mean;
    square += d * d;
  }
  const double independent = std::max(static_cast<double>(n) / static_cast<double>(hour_), 1.0);
  return std::sqrt(square / static_cast<double>(n) / independent) / static_cast<double>(m);
}

/// Whether most of the growth of all days kept came within one hour: a package, a large file.
bool Fill::one_step(std::span<const double> hours) const {
  if (path_.pattern > 0) return false;
  const double sign = path_.rate >= 0 ? 1 : -1;
  double largest = 0;
  // Two hours: a step in the middle of one is spread over both.
  for (std::size_t h = 1; h < hours.size(); ++h)
    largest = std::max(largest, sign * (hours[h >= 2 ? h - 2 : 0] - hours[h]));
  return largest > kOneStep * sign * (hours.front() - hours.back());
}

/// Whether hour after hour there was next to no fall in the direction of the rate for two days: its
/// size may be uncertain, as when it grows by jumps, its sign is not.
bool Fill::only_grows(std::span<const double> hours) const {
  if (path_.pattern > 0 || rows_ < day_) return false;
  const double sign = path_.rate >= 0 ? 1 : -1;
  const std::size_t two_days = std::min<std::size_t>(hours.size(), 48);
  double up = 0;
  double down = 0;
  int rising = 0;
  for (std::size_t h = 1; h < two_days; ++h) {
    const double step = sign * (hours[h - 1] - hours[h]);
    (step > 0 ? up : down) += std::abs(step);
    rising += step > 0 ? 1 : 0;
  }
  return rising >= kRisingHours && down < kFallsOfRises * up;
}

/// Pattern, rate and level as they stand.
void Fill::solve() {
  if (!ready()) return;
  const std::vector<double> hours = find_shifts();
  const std::size_t pattern = find_pattern();
  if (pattern != path_.pattern)
    chosen_count_ = 0;  // what was said without it says nothing about it
  path_.pattern = pattern;
  const Rates mine = rates(path_.pattern);
  // A pattern makes every rate wrong but those over whole ones.
  std::array<double, kCandidates> cost{};
  double best = std::numeric_limits<double>::infinity();
  for (std::size_t c = 0; c < kCandidates; ++c) {
    cost[c] = -1;
    if (std::isnan(mine[c])) continue;
    const bool whole = c >= kWindows;
    if (path_.pattern > 0 && !whole) continue;
    // Six hours of a day's cycle say nothing about the rate.
    const bool short_counts = count_short_[c] > 0 && path_.pattern == 0;
    if (short_counts || count_long_[c] > 0) {
      const double quick = short_counts ? static_cast<double>(error_short_[c]) : 0;
      const double slow = count_long_[c] > 0 ? static_cast<double>(error_long_[c]) : quick;
      cost[c] = (short_counts ? quick : slow) + slow + 1e-12;
      best = std::min(best, cost[c]);
    } else {
      cost[c] = 0;  // not judged yet
    }
  }
  double sum = 0;
  double total = 0;
  double days = 0;
  std::array<double, kCandidates> weights{};
  for (std::size_t c = 0; c < kCandidates; ++c) {
    if (cost[c] < 0) continue;
    const bool judged = cost[c] > 0;
    weights[c] = judged                                  ? std::pow(best / cost[c], 4)
                 : c >= kWindows || !std::isfinite(best) ? 1
                                                         : 0;
    sum += weights[c] * static_cast<double>(mine[c]);
    total += weights[c];
    days += weights[c] * days_of(c);
  }
  path_.rate = total > 0 ? sum / total : 0;
  double spread = 0;
  for (std::size_t c = 0; c < kCandidates; ++c) {
    if (weights[c] > 0) spread += weights[c] * std::abs(static_cast<double>(mine[c]) - path_.rate);
  }
  spread = total > 0 ? spread / total : 0;
  days = total > 0 ? std::max(days / total, 1.0) : 1;
  if (chosen_count_ > 0) {
    path_.error = std::max(static_cast<double>(chosen_error_) / std::sqrt(days), spread) / 2;
  } else if (path_.pattern > 0) {
    path_.error = std::max(spread / 2, pattern_error());
  } else {
    path_.error = std::max(spread, std::isfinite(best) ? best / 2 : std::abs(path_.rate));
  }
  if (one_step(hours)) {
    path_.error = std::max(path_.error, std::abs(path_.rate));
  } else if (only_grows(hours)) {
    path_.error = std::min(path_.error, kOnlyGrows * std::abs(path_.rate));
  }
  if (leans_ > 0 && (path_.pattern == 0 || path_.pattern == day_)) lean_away();
  widen_by_jumps();
  const std::size_t n = std::min<std::size_t>(hour_, rows_);
  path_.level = mean_of(0, n) + path_.rate * (static_cast<double>(n) - 1) / 2;
}

double Fill::path_at(std::size_t rows, double rate) const {
  if (path_.pattern == 0) return path_.level + rate * static_cast<double>(rows);
  const std::size_t m = path_.pattern;
  const std::size_t back_by = (rows + m - 1) / m * m;
  const std::size_t ago = back_by - rows;
  // Three rows are enough against noise, and blunt no tooth.
  double sum = 0;
  double n = 0;
  for (std::size_t i = ago > 0 ? ago - 1 : 0; i <= std::min<std::size_t>(ago + 1, rows_ - 1); ++i) {
    sum += back(i);
    n += 1;
  }
  return sum / n + rate * static_cast<double>(back_by);
}

std::optional<double> Fill::meets(double limit, bool rising, double rate) const {
  const double sign = rising ? 1 : -1;
  const double goal = sign * (limit - anchor_);
  const auto seconds = [&](double rows) {
    return rows * static_cast<double>(step_.count()) / 1000;
  };
  if (sign * path_.level >= goal && path_.pattern == 0) return 0;
  if (sign * rate <= 0 && path_.pattern == 0) return std::nullopt;
  const double farthest = kFarthestDays * static_cast<double>(day_);
  if (path_.pattern == 0) {
    const double rows = (goal - sign * path_.level) / (sign * rate);
    return rows <= farthest ? std::optional(seconds(rows)) : std::nullopt;
  }
  if (sign * kept(0) >= goal) return 0;
  if (sign * rate <= 0) return std::nullopt;
  // The first pattern whose highest point gets there, then the first row in it.
  const std::size_t m = path_.pattern;
  double highest = -std::numeric_limits<double>::infinity();
  for (std::size_t k = 1; k <= m; ++k) highest = std::max(highest, sign * path_at(k, rate));
  const double whole =
      std::max(std::ceil((goal - highest) / (sign * rate * static_cast<double>(m))), 0.0);
  if (whole * static_cast<double>(m) > farthest) return std::nullopt;
  const std::size_t first = static_cast<std::size_t>(whole) * m;
  for (std::size_t k = 1; k <= m; ++k)
    if (sign * path_at(first + k, rate) >= goal) return seconds(static_cast<double>(first + k));
  return seconds(static_cast<double>(first + m));
}

FillOutlook Fill::outlook() const {
  FillOutlook out;
  out.level = seen_ == 0 ? 0 : anchor_ + (ready() ? path_.level : back(0));
  out.days_seen = static_cast<double>(seen_) / static_cast<double>(day_);
  out.rate_changes = rate_changes_;
  if (rate_changes_ > 0)
    out.rate_changed_days_ago =
        static_cast<double>(slot_ - rate_changed_) / static_cast<double>(day_);
  if (!ready()) return out;
  out.per_day = path_.rate * static_cast<double>(day_);
  out.per_day_error = path_.error * static_cast<double>(day_);
  out.certain =
      std::abs(path_.rate) > kErrors * path_.error + (path_.rate > 0 ? path_.down : path_.up);
  out.pattern = path_.pattern == 0      ? "line"
                : path_.pattern == day_ ? "day"
                                        : "every " + base::format_duration(step_ * path_.pattern);
  return out;
}

FillTime Fill::until(double limit, bool rising) const {
  FillTime out;
  if (!ready()) return out;
  const double sign = rising ? 1 : -1;
  const double least =
      path_.rate - sign * (kErrors * path_.error + (rising ? path_.down : path_.up));
  out.earliest =
      meets(limit, rising,
            path_.rate + sign * (kErrors * path_.error + (rising ? path_.up : path_.down)));
  if (sign * least > 0) {
    out.seconds = meets(limit, rising, path_.rate);
    out.latest = meets(limit, rising, least);
  } else if (sign * (path_.level + anchor_ - limit) >= 0) {
    out.seconds = out.latest = 0;
  }
  return out;
}

double Fill::at(double seconds) const {
  if (!ready()) return outlook().level;
  const double rows = std::clamp(seconds * 1000 / static_cast<double>(step_.count()), 1.0,
                                 kFarthestDays * static_cast<double>(day_));
  return anchor_ + path_at(static_cast<std::size_t>(rows), path_.rate);
}

template <typename Archive>
void Fill::archive(Archive& a) {
  a.value(rows_);
  a.value(seen_);
  a.value(slot_);
  a.value(anchor_);
  a.value(change_);
  a.value(since_low_);
  a.values(values_);
  a.values(judged_);
  a.value(judgements_);
  a.value(error_short_);
  a.value(error_long_);
  a.value(count_short_);
  a.value(count_long_);
  a.value(chosen_error_);
  a.value(chosen_count_);
  a.value(drops_);
  a.value(drop_count_);
  a.value(surprise_);
  a.value(surprises_);
  a.value(surprise_side_);
  a.value(rate_changes_);
  a.value(rate_changed_);
  a.value(jump_slots_);
  a.value(jump_sizes_);
  a.value(jump_count_);
  a.value(leans_);
  a.value(lean_);
}

std::string Fill::save() const {
  ArchiveWriter out;
  out.value(kVersion);
  out.value(step_.count());
  const_cast<Fill*>(this)->archive(out);
  std::string text = out.take();
  const std::uint64_t sum = base::fnv1a(text);
  text.append(reinterpret_cast<const char*>(&sum), sizeof sum);
  return text;
}

Status Fill::load(std::string_view saved) {
  std::uint64_t sum = 0;
  if (saved.size() < sizeof sum) return fail(Errc::kCorrupt, "the saved trend is cut off");
  std::memcpy(&sum, saved.data() + saved.size() - sizeof sum, sizeof sum);
  saved.remove_suffix(sizeof sum);
  if (sum != base::fnv1a(saved)) return fail(Errc::kCorrupt, "the saved trend is damaged");
  ArchiveReader in(saved);
  std::uint32_t version = 0;
  Millis::rep step = 0;
  in.value(version);
  in.value(step);
  if (version != kVersion || step != step_.count())
    return fail(Errc::kConflict, "the saved trend has another step or version");
  Fill loaded(step_, shared_);
  loaded.archive(in);
  if (!in.complete()) return fail(Errc::kCorrupt, "the saved trend is damaged");
  if (loaded.jump_count_ > kJumps) return fail(Errc::kCorrupt, "the saved trend is damaged");
  loaded.solve();
  *this = std::move(loaded);
  return {};
}

}  // namespace nexus::analyze
