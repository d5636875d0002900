#include <algorithm>
#include <array>
#include <cmath>

#include "analyze/anomaly/alarm_budget.hpp"
#include "analyze/anomaly/archive.hpp"
#include "analyze/anomaly/extremes.hpp"
#include "analyze/anomaly/fresh.hpp"
#include "analyze/anomaly/half_space_trees.hpp"
#include "analyze/anomaly/pattern_memory.hpp"
#include "analyze/anomaly/row_clock.hpp"
#include "analyze/anomaly/sequence_memory.hpp"
#include "analyze/anomaly/tail.hpp"
#include "nexus/analyze/detect.hpp"

namespace nexus::analyze {
namespace {

constexpr std::uint32_t kKind = 0x33444156;  // "VAD3"
constexpr double kMostSurprise = 8;          // of one part: none decides alone
constexpr double kExtreme = 3;               // a new extreme: one in a thousand rows
constexpr double kFarExtreme = 6;            // more for one beyond by a tenth of the range
constexpr double kFar = 0.1;
constexpr double kSlow = 0.02;
// Products of surprises lie in heavier tails than independent ones would: about ten times as many
// rows reach them.
constexpr double kHeavy = 10;
constexpr int kFollowing = 10;  // rows after a strange one that belong to it

}  // namespace

struct VitalDetector::Impl {
  explicit Impl(double a_day) : alarms_a_day(a_day) {}

  template <class A>
  void visit(A& archive) {
    archive(trees, sequence, extremes, trees_tail, sequence_tail, fresh, budget, memory, clock,
            recent, rows, low, high, clipped, mean, distance, following);
  }
  [[nodiscard]] bool sound() const noexcept {
    return trees.sound() && sequence.sound() && fresh.sound() && memory.sound();
  }

  RowScore push(std::int64_t time, double value);
  double trees_push(double value);
  void learn_window();
  [[nodiscard]] HalfSpaceTrees::Shingle shingle(std::uint64_t row) const noexcept;
  void decide(RowScore& out, double value, std::int64_t time);
  [[nodiscard]] double progress() const noexcept {
    return std::min(1.0, static_cast<double>(rows) / kFull);
  }
  void learn_usual(double value) noexcept {
    if (rows == 0) mean = value;
    const double away = std::clamp(value - mean, -1e300, 1e300);
    const double rate = std::max(kSlow, 1 / (static_cast<double>(rows) + 1));
    mean += rate * away;
    distance += rate * (std::abs(away) - distance);
  }

  static constexpr std::uint64_t kWindow = HalfSpaceTrees::kWindow;
  // A window, and what its first shingles look back to.
  static constexpr std::uint64_t kRecent = kWindow + HalfSpaceTrees::kShingle - 1;
  HalfSpaceTrees trees;
  SequenceMemory sequence;
  Extremes extremes;
  TailProbability trees_tail;
  TailProbability sequence_tail;
  Fresh fresh;
  AlarmBudget budget;
  PatternMemory memory;
  RowClock clock;
  std::array<double, kRecent> recent{};  // the last values, at row % kRecent
  std::uint64_t rows = 0;
  double low = 0;  // what the trees take as 0.25 and 0.75
  double high = 0;
  std::uint32_t clipped = 0;  // rows of this window beyond their space
  double mean = 0;
  double distance = 0;
  int following = 0;

  double alarms_a_day;
};

HalfSpaceTrees::Shingle VitalDetector::Impl::shingle(std::uint64_t row) const noexcept {
  HalfSpaceTrees::Shingle out{};
  const double span = high / 2 - low / 2;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double value = recent[(row - std::min<std::uint64_t>(i, row)) % kRecent];
    const double place = span > 0 ? 0.25 + (value / 2 - low / 2) / span / 2 : 0.5;
    out[i] = static_cast<float>(std::clamp(place, 0.0, 1.0));
  }
  return out;
}

/// The last window is what the trees know from now on.
void VitalDetector::Impl::learn_window() {
  std::array<HalfSpaceTrees::Shingle, kWindow> window;
  for (std::uint64_t i = 0; i < kWindow; ++i) window[i] = shingle(rows + 1 - kWindow + i);
  trees.learn(window);
}

double VitalDetector::Impl::trees_push(double value) {
  recent[rows % kRecent] = value;
  if (rows + 1 < kWindow) return 0;
  // The first range is that of few rows: look again when there are three times as many.
  const bool first = rows + 1 == kWindow || rows + 1 == 3 * kWindow;
  double out = 0;
  if (first) {
    low = extremes.low();
    high = extremes.high();
    clipped = 0;
  } else {
    const auto row = shingle(rows);
    clipped += row.front() <= 0 || row.front() >= 1 ? 1 : 0;
    out = trees.score(row);
  }
  if ((rows + 1) % kWindow != 0) return out;
  if (!first) {
    double least = value;
    double most = value;
    for (std::uint64_t i = 0; i < kWindow; ++i) {
      least = std::min(least, recent[(rows - i) % kRecent]);
      most = std::max(most, recent[(rows - i) % kRecent]);
    }
    const bool lost = clipped > kWindow / 5;
    const bool flat = most > least && most / 2 - least / 2 < 0.01 * (high / 2 - low / 2);
    clipped = 0;
    if (lost || flat) {
      low = least;
      high = most;
    }
  }
  learn_window();
  return out;
}

RowScore VitalDetector::Impl::push(std::int64_t time, double value) {
  RowScore out;
  const double beyond = extremes.push(value);
  const double half = extremes.span();
  const double place = half > 0 ? (value / 2 - extremes.low() / 2) / half : 0;
  const auto symbol = static_cast<std::uint32_t>(
      std::clamp(place * SequenceMemory::kSymbols, 0.0, SequenceMemory::kSymbols - 1.0));
  const double bits = sequence.push(symbol);
  const double odd = trees_push(value);

  double sum = std::min(sequence_tail.surprise(bits), kMostSurprise);
  sequence_tail.learn(bits);
  if (trees.ready() && rows + 1 != 3 * kWindow && rows + 1 != kWindow) {
    sum += std::min(trees_tail.surprise(odd), kMostSurprise);
    trees_tail.learn(odd);
  }
  if (beyond > 0) sum += kExtreme + kFarExtreme * std::min(beyond / kFar, 1.0);
  // What has never changed is no surprise.
  if (half <= 0) sum = 0;
  learn_usual(value);
  ++rows;
  out.progress = progress();
  out.ready = rows > kMinimum;
  out.raw = sum;
  out.score = fresh.push(sum) ? sum : 0;
  // Fisher: the probability of a product of two probabilities this small.
  out.probability = std::min(1.0, kHeavy * std::pow(10.0, -sum) * (1 + sum * std::log(10.0)));
  decide(out, value, time);
  return out;
}

void VitalDetector::Impl::decide(RowScore& out, double value, std::int64_t time) {
  const double a_day = alarms_a_day * kVitalShare;
  budget.advance(time, a_day);
  const double wanted = std::log10(std::max(clock.rows_a_day() / std::max(a_day, 1e-9), 1.0));
  if (out.ready && out.score > 0 && -std::log10(out.probability) >= wanted + budget.extra()) {
    out.known = memory.knows(value, time, 0.2 * extremes.span());
    out.flag = !out.known;
    if (out.flag) budget.alarmed();
    // What it was before belongs to the band: the way back is no news either.
    if (following == 0) memory.note(recent[(rows + kRecent - 2) % kRecent], time);
    following = kFollowing;
  }
  if (following > 0) {
    --following;
    memory.note(value, time);
  }
}

VitalDetector::VitalDetector(double alarms_a_day) : impl_(std::make_unique<Impl>(alarms_a_day)) {}
VitalDetector::~VitalDetector() = default;
VitalDetector::VitalDetector(VitalDetector&&) noexcept = default;
VitalDetector& VitalDetector::operator=(VitalDetector&&) noexcept = default;

std::optional<RowScore> VitalDetector::push(std::int64_t time, double value) {
  if (!std::isfinite(value)) return std::nullopt;
  if (impl_->clock.push(time) == RowClock::Row::kOld) return std::nullopt;
  return impl_->push(time, value);
}

double VitalDetector::usual() const noexcept {
  return impl_->mean;
}

double VitalDetector::usual_distance() const noexcept {
  return impl_->distance;
}

bool VitalDetector::knows(double value, std::int64_t time) const noexcept {
  return impl_->memory.knows(value, time, 0.2 * impl_->extremes.span());
}

void VitalDetector::note(double value, std::int64_t time) {
  impl_->memory.note(value, time);
}

double VitalDetector::judge(std::int64_t time, double value, bool real, double before) {
  if (!impl_->memory.judge(time, value, real)) {
    impl_->memory.note(value, time);
    (void)impl_->memory.judge(time, value, real);
  }
  return impl_->budget.judged(real, before);
}

void VitalDetector::set_budget(double alarms_a_day) noexcept {
  impl_->alarms_a_day = alarms_a_day;
}

double VitalDetector::progress() const noexcept {
  return impl_->progress();
}

std::uint64_t VitalDetector::rows() const noexcept {
  return impl_->rows;
}

std::size_t VitalDetector::bytes() const noexcept {
  return sizeof(Impl) + impl_->trees.bytes() + impl_->sequence.bytes();
}

std::string VitalDetector::save() {
  Saver saver;
  impl_->visit(saver);
  return std::move(saver).finish(kKind);
}

bool VitalDetector::load(std::string_view bytes) {
  auto fresh = std::make_unique<Impl>(impl_->alarms_a_day);
  Loader loader(bytes, kKind);
  fresh->visit(loader);
  if (!loader.complete() || !fresh->sound()) return false;
  impl_ = std::move(fresh);
  return true;
}

}  // namespace nexus::analyze
