#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "analyze/anomaly/alarm_budget.hpp"
#include "analyze/anomaly/archive.hpp"
#include "analyze/anomaly/row_clock.hpp"
#include "analyze/anomaly/tail.hpp"
#include "analyze/anomaly/whitening.hpp"
#include "nexus/analyze/detect.hpp"

namespace nexus::analyze {
namespace {

constexpr std::uint32_t kKind = 0x31444148;  // "HAD1"
constexpr std::size_t kFeatures = 3;         // level, change, deviation from a slow mean
constexpr double kMemory = 20'000;           // rows: two weeks of minutes
constexpr double kSlow = 0.02;
constexpr double kClip = 40;     // standard deviations
constexpr double kFloor = 0.02;  // of the range: the least standard deviation
constexpr double kStrange = 2;   // times the usual score: from here on hardly learnt
constexpr double kSmooth = 1.0 / 3;
constexpr std::uint32_t kFirstFit = 500;
constexpr std::uint32_t kRefit = 256;
constexpr std::uint32_t kTrust = HostDetector::kTrusted;  // from here on it knows what is strange
constexpr double kEpisode = 15;      // rows: what an alarm takes, smoothing and all
constexpr double kMostShare = 0.03;  // of rows that may be alarms, however far apart rows are
constexpr double kLowest = -0.5;     // how far quiet days lower the level, in decades
constexpr double kHuge = 1e150;      // so that squares do not overflow
constexpr double kLasting = 1440;    // rows: what lasts so long, and a day, is the new normal

}  // namespace

/// What is known of one column.
struct ColumnState {
  std::array<double, kFeatures> mean{};
  std::array<double, kFeatures> variance{};
  std::array<double, 2> before{};  // the last two values
  double slow = 0;
  double low = 0;
  double high = 0;
  double value = 0;
  std::uint64_t seen = 0;
};

struct HostDetector::Impl {
  Impl(std::size_t columns, double a_day) : alarms_a_day(a_day), state(columns) {
    for (std::size_t begin = 0; begin < columns; begin += kBlock) {
      blocks.emplace_back(std::min(kBlock, columns - begin) * kFeatures);
      z.emplace_back(blocks.back().padded(), 0.0F);
      y.emplace_back(blocks.back().padded(), 0.0F);
    }
  }

  template <class A>
  void visit(A& archive) {
    archive(state, tail, budget, clock, rows, covered, usual, smooth, strange_rows, quiet_rows);
    for (Whitening& block : blocks) block.visit(archive);
  }

  RowScore push(std::int64_t time, std::span<const double> row, bool gap);
  void standardise(std::size_t column, double value, bool gap);
  void learn(std::size_t column, double weight);
  double weight_of(double ratio);
  void decide(RowScore& out, std::int64_t time, double ratio);

  double alarms_a_day;
  std::vector<ColumnState> state;
  std::vector<Whitening> blocks;
  TailProbability tail{kMemory};
  AlarmBudget budget{kLowest};
  RowClock clock;
  std::uint64_t rows = 0;
  std::uint64_t covered = 0;  // rows in the covariance
  double usual = 0;           // slow mean of the score
  double smooth = 0;
  std::uint64_t strange_rows = 0;  // in a row, more or less
  std::uint64_t quiet_rows = 0;    // since the last alarm

  // Of the present row.
  std::vector<std::vector<float>> z;
  std::vector<std::vector<float>> y;
  std::vector<std::array<double, kFeatures>> features;
};

/// The row's features of a column; z 0 where the value is missing.
void HostDetector::Impl::standardise(std::size_t column, double value, bool gap) {
  ColumnState& c = state[column];
  std::vector<float>& out = z[column / kBlock];
  const std::size_t width = blocks[column / kBlock].size() / kFeatures;
  const std::size_t place = column % kBlock;
  auto& feature_row = features[column];
  if (!std::isfinite(value)) {
    for (std::size_t f = 0; f < kFeatures; ++f) {
      out[f * width + place] = 0;
      feature_row[f] = std::numeric_limits<double>::quiet_NaN();
    }
    return;
  }
  value = std::clamp(value, -kHuge, kHuge);
  if (c.seen == 0) {
    c.slow = c.low = c.high = value;
    c.before = {value, value};
  }
  if (gap) c.before = {value, value};
  // One value beyond all bounds does not stretch the range for good: it grows by three times what
  // it is, at most, a row.
  const double span = c.high - c.low;
  const double room = c.seen > kTrust && span > 0 ? 3 * span : 2 * kHuge;
  c.low = std::max(std::min(c.low, value), c.low - room);
  c.high = std::min(std::max(c.high, value), c.high + room);
  const double away = value - c.slow;
  c.slow += kSlow * away;
  feature_row = {value, (value - c.before[1]) / 2, away};
  c.before = {value, c.before[0]};
  c.value = value;
  const double least = kFloor * (c.high - c.low) + 1e-9 * (std::abs(c.mean[0]) + 1e-9);
  for (std::size_t f = 0; f < kFeatures; ++f) {
    const double score =
        c.seen == 0 ? 0 : (feature_row[f] - c.mean[f]) / (std::sqrt(c.variance[f]) + least);
    out[f * width + place] = static_cast<float>(std::clamp(score, -kClip, kClip));
  }
}

void HostDetector::Impl::learn(std::size_t column, double weight) {
  ColumnState& c = state[column];
  if (std::isnan(features[column][0])) return;
  const double rate = weight * std::max(1 / kMemory, 1 / (static_cast<double>(c.seen) + 1));
  if (c.seen == 0) c.mean = features[column];
  const double range = c.high - c.low;
  for (std::size_t f = 0; f < kFeatures; ++f) {
    const double most = kClip * (std::sqrt(c.variance[f]) + range);
    const double away = std::clamp(features[column][f] - c.mean[f], -most, most);
    c.mean[f] += rate * away;
    c.variance[f] = (1 - rate) * (c.variance[f] + rate * away * away);
  }
  ++c.seen;
}

/// How much of a row is learnt. Beyond kStrange it falls with the sixteenth power, but what lasts
/// for a day is the new normal.
double HostDetector::Impl::weight_of(double ratio) {
  if (rows <= kTrust) return 1;
  if (ratio <= kStrange) {
    strange_rows -= std::min<std::uint64_t>(strange_rows, 5);
    return 1;
  }
  ++strange_rows;
  if (static_cast<double>(strange_rows) > std::max(clock.rows_a_day(), kLasting)) return 1;
  return std::pow(kStrange / ratio, 16);
}

RowScore HostDetector::Impl::push(std::int64_t time, std::span<const double> row, bool gap) {
  features.resize(state.size());
  for (std::size_t i = 0; i < state.size(); ++i)
    standardise(i, i < row.size() ? row[i] : std::numeric_limits<double>::quiet_NaN(), gap);
  double size = 0;
  std::size_t count = 0;
  const bool fitted = !blocks.empty() && blocks.front().ready();
  for (std::size_t b = 0; fitted && b < blocks.size(); ++b) {
    blocks[b].whiten(z[b], y[b]);
    float sum = 0;
    for (const float v : y[b]) sum += std::abs(v);
    size += static_cast<double>(sum);
    count += blocks[b].size();
  }
  const double now = count > 0 ? size / static_cast<double>(count) : 0;
  smooth += (now - smooth) * kSmooth;
  double weight = 1;
  if (fitted) {
    weight = weight_of(now / std::max(usual, 1e-9));
    const double rate = 1 / std::min(static_cast<double>(rows) - kFirstFit + 2, 5000.0);
    usual += rate * (std::min(now, 3 * std::max(usual, 0.3)) - usual);
  }
  for (std::size_t i = 0; i < state.size(); ++i) learn(i, weight);
  if (rows >= 50) {
    ++covered;
    const double rate = weight * std::max(1 / kMemory, 1 / static_cast<double>(covered));
    for (std::size_t b = 0; b < blocks.size(); ++b) blocks[b].learn(z[b], rate);
  }
  ++rows;
  if (rows >= kFirstFit && (rows - kFirstFit) % kRefit == 0)
    for (Whitening& block : blocks) block.refresh();
  RowScore out;
  out.progress = std::min(1.0, static_cast<double>(rows) / kMinimum);
  out.ready = rows > kMinimum;
  out.raw = now;
  out.score = smooth;
  if (out.ready) decide(out, time, smooth / std::max(usual, 0.1));
  return out;
}

void HostDetector::Impl::decide(RowScore& out, std::int64_t time, double ratio) {
  const double surprise = tail.surprise(ratio);
  tail.learn(ratio);
  out.probability = std::pow(10.0, -surprise);
  budget.advance(time, alarms_a_day);
  const double share = std::clamp(kEpisode * alarms_a_day / clock.rows_a_day(), 1e-9, kMostShare);
  ++quiet_rows;
  out.flag = rows > kTrust && surprise >= -std::log10(share) + budget.extra();
  if (!out.flag) return;
  // A lasting alarm counts once an hour.
  if (static_cast<double>(quiet_rows) > std::max(clock.rows_a_day() / 24, 10.0)) {
    budget.alarmed();
    quiet_rows = 0;
  }
}

HostDetector::HostDetector(std::size_t columns, double alarms_a_day)
    : impl_(std::make_unique<Impl>(columns, alarms_a_day)) {}
HostDetector::~HostDetector() = default;
HostDetector::HostDetector(HostDetector&&) noexcept = default;
HostDetector& HostDetector::operator=(HostDetector&&) noexcept = default;

std::optional<RowScore> HostDetector::push(std::int64_t time, std::span<const double> row) {
  if (std::ranges::none_of(row, [](double value) { return std::isfinite(value); }))
    return std::nullopt;
  const RowClock::Row kind = impl_->clock.push(time);
  if (kind == RowClock::Row::kOld) return std::nullopt;
  return impl_->push(time, row, kind == RowClock::Row::kAfterGap);
}

std::vector<Contribution> HostDetector::contributions(std::size_t most) const {
  std::vector<Contribution> out(impl_->state.size());
  double all = 0;
  for (std::size_t b = 0; b < impl_->blocks.size(); ++b) {
    const Whitening& block = impl_->blocks[b];
    std::vector<float> solved(block.padded(), 0.0F);
    block.back(impl_->y[b], solved);
    const std::size_t width = block.size() / kFeatures;
    for (std::size_t i = 0; i < block.size(); ++i) {
      Contribution& c = out[b * kBlock + i % width];
      c.share +=
          std::max(0.0, static_cast<double>(impl_->z[b][i]) * static_cast<double>(solved[i]));
    }
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i].column = i;
    out[i].usual = impl_->state[i].mean[0];
    out[i].present = impl_->state[i].value;
    all += out[i].share;
  }
  for (Contribution& c : out) c.share = all > 0 ? c.share / all : 0;
  std::ranges::sort(out, [](const Contribution& a, const Contribution& b) {
    return std::pair(-a.share, a.column) < std::pair(-b.share, b.column);
  });
  out.resize(std::min(most, out.size()));
  return out;
}

double HostDetector::judge(bool real, double before) noexcept {
  return impl_->budget.judged(real, before);
}

void HostDetector::set_budget(double alarms_a_day) noexcept {
  impl_->alarms_a_day = alarms_a_day;
}

std::size_t HostDetector::columns() const noexcept {
  return impl_->state.size();
}

std::uint64_t HostDetector::rows() const noexcept {
  return impl_->rows;
}

std::size_t HostDetector::bytes() const noexcept {
  std::size_t out = sizeof(Impl) + impl_->state.capacity() * sizeof(ColumnState);
  for (const Whitening& block : impl_->blocks) out += block.bytes();
  for (const auto& row : impl_->z) out += 2 * row.capacity() * sizeof(float);
  return out;
}

std::string HostDetector::save() {
  Saver saver;
  impl_->visit(saver);
  return std::move(saver).finish(kKind);
}

bool HostDetector::load(std::string_view bytes) {
  auto fresh = std::make_unique<Impl>(impl_->state.size(), impl_->alarms_a_day);
  Loader loader(bytes, kKind);
  fresh->visit(loader);
  if (!loader.complete() || fresh->state.size() != impl_->state.size()) return false;
  for (Whitening& block : fresh->blocks) {
    if (!block.sound()) return false;
    if (block.ready()) block.refresh();
  }
  impl_ = std::move(fresh);
  return true;
}

}  // namespace nexus::analyze
