// What of a fill is no growth: jumps and clean-ups, how often they come, and another rate.
#include <algorithm>
#include <array>
#include <cmath>

#include "analyze/forecast/jumps.hpp"
#include "nexus/analyze/fill.hpp"

namespace nexus::analyze {
namespace {

constexpr double kOfRate = 0.25;        // growth of a usual day, against the rate
constexpr double kSooner = 1.3;         // than clean-ups came so far
constexpr double kSameLevel = 0.2;      // of a jump, within which rows are of one level
constexpr std::int64_t kJumpsFor = 35;  // days, for what comes weekly
constexpr std::int64_t kSameJump = 14;  // hours, within which it is the same one
constexpr double kUndoes = 0.3;         // of a jump, by which what went again may differ
constexpr double kAsMuch = 0.8;         // of the rate, that two jumps may bring
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
  const std::span<const double> hours = means;
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

/// Of those that may come again what is needed to tell how often: they stay for five weeks, also
/// when what is kept no longer shows them whole. What went again stays as a jump of no size, so
/// that its clean-up is known for one when the rise is out of sight.
void Fill::remember_shifts() {
  const std::int64_t whole =
      slot_ - static_cast<std::int64_t>(rows_) + static_cast<std::int64_t>(day_ / 2);
  const std::int64_t oldest = slot_ - kJumpsFor * static_cast<std::int64_t>(day_);
  const std::int64_t near = kSameJump * static_cast<std::int64_t>(hour_);
  const std::uint32_t known = jump_count_;
  const std::array<std::int64_t, kJumps> slots = jump_slots_;
  const std::array<float, kJumps> sizes = jump_sizes_;
  const auto add = [&](std::int64_t slot, double size) {
    if (jump_count_ == kJumps) {
      std::shift_left(jump_slots_.begin(), jump_slots_.end(), 1);
      std::shift_left(jump_sizes_.begin(), jump_sizes_.end(), 1);
      --jump_count_;
    }
    jump_slots_[jump_count_] = slot;
    jump_sizes_[jump_count_++] = static_cast<float>(size);
  };
  jump_count_ = 0;
  for (std::uint32_t i = 0; i < known; ++i)
    if (slots[i] <= whole && slots[i] >= oldest) add(slots[i], static_cast<double>(sizes[i]));
  const auto is_near = [&](std::int64_t a, std::int64_t b) { return std::abs(a - b) <= near; };
  for (std::size_t i = shifts_.size(); i-- > 0;) {
    const Shift& shift = shifts_[i];
    const auto has = [&](std::uint32_t k) {
      const auto size = static_cast<double>(jump_sizes_[k]);
      return is_near(jump_slots_[k], shift.begin) && (size == 0 || size * shift.size > 0);
    };
    bool there = false;
    for (std::uint32_t k = 0; k < jump_count_; ++k) there |= has(k);
    if (there) continue;
    double size = shift.undone ? 0 : shift.size;
    for (std::uint32_t k = 0; k < known; ++k)
      if (sizes[k] == 0 && is_near(slots[k], shift.begin)) size = 0;
    // Of what went away again after more than a week the rise is remembered alone.
    for (std::uint32_t k = 0; k < jump_count_ && size != 0; ++k) {
      const auto rise = static_cast<double>(jump_sizes_[k]);
      if (rise * size < 0 && std::abs(rise + size) <= kUndoes * std::abs(rise)) {
        jump_sizes_[k] = 0;
        size = 0;
      }
    }
    add(shift.begin, size);
  }
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
    if (size == 0 || (size > 0) != upward) continue;
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
  const auto watched = static_cast<double>(std::min<std::int64_t>(
      static_cast<std::int64_t>(seen_), kJumpsFor * static_cast<std::int64_t>(day_)));
  const double before = std::max(watched - static_cast<double>(slot_ - first), 0.0);
  // Two within hours may have been one.
  const double gap = out.count > 2   ? span / (n - 1)
                     : out.count > 1 ? std::max(span, before / 2)
                                     : before;
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
      const bool against = upward != ((usual_ != 0 ? usual_ : rate) > 0);
      // Of two that would bring as much as all else nobody knows which it is.
      if (jumps.count == 2 && !against && std::abs(jumps.rate) > kAsMuch * std::abs(rate))
        path_.error = std::max(path_.error, std::abs(rate));
      (upward ? path_.up : path_.down) = std::abs(jumps.rate) * (against ? kSooner : 1);
    }
  }
  if (path_.rate * rate < 0) path_.rate = 0;
  // What clean-ups alone bring down is not on its way down.
  if (path_.rate * usual_ < 0 && std::abs(usual_) > kOfRate * std::abs(path_.rate))
    path_.error = std::max(path_.error, std::abs(path_.rate));
}

}  // namespace nexus::analyze
