// What of a fill is no growth: jumps and clean-ups, how often they come, and another rate.
#include <algorithm>
#include <array>
#include <cmath>

#include "analyze/forecast/jumps.hpp"
#include "nexus/analyze/fill.hpp"

namespace nexus::analyze {
namespace {

constexpr std::size_t kHours = 168;
constexpr double kOfRate = 0.25;        // growth of a usual day, against the rate
constexpr double kSooner = 1.3;         // than clean-ups came so far
constexpr double kSameLevel = 0.2;      // of a jump, within which rows are of one level
constexpr std::int64_t kJumpsFor = 35;  // days, for what comes weekly
constexpr double kLeastOfPace = 0.15;   // the error of how often and how large, at least

}  // namespace

double Fill::shifted(std::size_t ago) const {
  double offset = 0;
  const std::int64_t slot = slot_ - static_cast<std::int64_t>(ago);
  for (const Shift& shift : shifts_) {
    if (slot >= shift.end) break;
    if (slot >= shift.begin) {
      const auto part = static_cast<double>(slot - shift.begin) /
                        static_cast<double>(std::max<std::int64_t>(shift.end - shift.begin, 1));
      return offset + shift.from + part * (shift.to - shift.from);
    }
    offset += shift.size;
  }
  return offset + kept(ago);
}

/// Jumps that are no growth, of the rows kept. The hourly means without them, the newest first.
std::vector<double> Fill::find_shifts(bool and_lean) {
  shifts_.clear();
  usual_ = 0;
  std::vector<double> means = hourly_means();
  if (day_ != 24 * hour_ || rows_ < 3 * day_) return means;
  const auto hours = std::span(means).first(std::min(means.size(), kHours));
  const auto slot_of = [&](std::size_t ago) { return slot_ - static_cast<std::int64_t>(ago); };
  const LevelChanges changes = find_level_changes(hours, and_lean);
  if (and_lean) {
    leans_ = changes.leans;
    lean_ = changes.lean / static_cast<double>(hour_);
  }
  usual_ = changes.usual / static_cast<double>(hour_);
  if (saw_teeth() > 0) return means;  // clean-ups are the pattern
  std::vector<Shift> found;
  for (const LevelJump& jump : changes.jumps) {
    Shift shift;
    shift.undone = jump.undone;
    shift.size = jump.size;
    // Rows of an hour that has some of it are replaced.
    shift.begin = slot_of(jump.before * hour_) + 1;
    shift.end = slot_of((jump.after + 1) * hour_) + 1;
    shift.to = hours[jump.after];
    if (jump.after == 0) {
      // It may go on: what the last rows agree on is the new level.
      std::size_t same = 1;
      double sum = kept(0);
      const double near = kSameLevel * std::abs(jump.size);
      while (same < hour_ && std::abs(kept(same) - kept(0)) < near) sum += kept(same++);
      shift.to = sum / static_cast<double>(same);
      shift.end = slot_of(same) + 1;
      shift.size = shift.to - hours[jump.before] - jump.usual;
    }
    shift.from = hours[jump.before] + shift.size;
    found.push_back(shift);
  }
  if (found.empty()) return means;
  shifts_ = std::move(found);
  return hourly_means();
}

/// Of all whole hours kept, the newest first.
std::vector<double> Fill::hourly_means() const {
  std::vector<double> out(rows_ / hour_);
  for (std::size_t h = 0; h < out.size(); ++h) out[h] = mean_of(h * hour_, hour_);
  return out;
}

/// Of those that may come again what is needed to tell how often; older ones stay for five weeks.
void Fill::remember_shifts() {
  // At the far end of what is kept a jump is no longer seen whole: what was known of it stays.
  const std::int64_t window = slot_ - static_cast<std::int64_t>(rows_) +
                              (rows_ == kKept ? static_cast<std::int64_t>(day_ / 2) : 0);
  const std::int64_t oldest = slot_ - kJumpsFor * static_cast<std::int64_t>(day_);
  std::uint32_t n = 0;
  for (std::uint32_t i = 0; i < jump_count_; ++i) {
    if (jump_slots_[i] > window || jump_slots_[i] < oldest) continue;
    jump_slots_[n] = jump_slots_[i];
    jump_sizes_[n++] = jump_sizes_[i];
  }
  for (std::size_t i = shifts_.size(); i-- > 0;) {
    if (shifts_[i].undone || shifts_[i].begin <= window) continue;
    if (n == kJumps) {
      std::shift_left(jump_slots_.begin(), jump_slots_.end(), 1);
      std::shift_left(jump_sizes_.begin(), jump_sizes_.end(), 1);
      --n;
    }
    jump_slots_[n] = shifts_[i].begin;
    jump_sizes_[n++] = static_cast<float>(shifts_[i].size);
  }
  jump_count_ = n;
}

/// What jumps in one direction bring a row if they come again as often as they came, or may have:
/// of one nothing is known but that none was for as long as it was seen before it and after it.
Fill::Pace Fill::pace(bool upward) const {
  Pace out;
  double sum = 0;
  double square = 0;
  double gaps = 0;
  std::int64_t first = 0;
  std::int64_t last = 0;
  for (std::uint32_t i = 0; i < jump_count_; ++i) {
    const auto size = static_cast<double>(jump_sizes_[i]);
    if ((size > 0) != upward) continue;
    if (out.count == 0) {
      first = jump_slots_[i];
    } else {
      gaps += std::pow(static_cast<double>(jump_slots_[i] - last), 2);
    }
    last = jump_slots_[i];
    ++out.count;
    sum += size;
    square += size * size;
  }
  if (out.count == 0) return out;
  const auto n = static_cast<double>(out.count);
  const auto since = static_cast<double>(slot_ - last);
  const double span = std::max(static_cast<double>(last - first), 1.0);
  const double before = static_cast<double>(seen_) - static_cast<double>(slot_ - first);
  const double gap = out.count > 1 ? span / (n - 1) : before;
  out.rate = sum / n / std::max({gap, since, 1.0});
  if (out.count > 2) {
    const double sizes = square * n / (sum * sum) - 1;
    const double times = gaps * (n - 1) / (span * span) - 1;
    out.error = std::abs(out.rate) *
                std::max(std::sqrt(std::max(sizes + times, 0.0) / (n - 1)), kLeastOfPace);
  }
  return out;
}

/// It goes another way than the days before: for some hours that may be a large file as well; then
/// it is the rate, and what the rate is said to be has to come near it.
void Fill::lean_away() {
  const double away = std::abs(usual_ + lean_ - path_.rate);
  path_.error = std::max(path_.error, away);
}

/// One or two jumps may come again or not, three are growth. Clean-ups may come sooner than they
/// did, and are never said to empty what fills between them.
void Fill::widen_by_jumps() {
  path_.up = path_.down = 0;
  const double rate = path_.rate;
  for (const bool upward : {true, false}) {
    const Pace jumps = pace(upward);
    if (jumps.count > 2) {
      path_.rate += jumps.rate;
      path_.error = std::hypot(path_.error, jumps.error);
    } else {
      const bool against = upward != (rate > 0);
      (upward ? path_.up : path_.down) = std::abs(jumps.rate) * (against ? kSooner : 1);
    }
  }
  if (path_.rate * rate < 0) path_.rate = 0;
  // What clean-ups alone bring down is not on its way down.
  if (path_.rate * usual_ < 0 && std::abs(usual_) > kOfRate * std::abs(path_.rate))
    path_.error = std::max(path_.error, std::abs(path_.rate));
}

}  // namespace nexus::analyze
