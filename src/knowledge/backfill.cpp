#include "nexus/knowledge/backfill.hpp"

#include <algorithm>
#include <bit>
#include <functional>

#include "knowledge/merge_samples.hpp"

namespace nexus::knowledge {
namespace {

// So many samples of a series at the step of the first one fill a window, and nearly a block.
constexpr std::int64_t kRowsOfWindow = 3600;
constexpr std::int64_t kLeastStep = 1000;
constexpr std::int64_t kMostStep = 60'000;
constexpr std::size_t kSampleBytes = sizeof(std::int64_t) + sizeof(double);

bool is_constant(const std::vector<double>& values) {
  const auto bits = [](double value) { return std::bit_cast<std::uint64_t>(value); };
  return std::ranges::all_of(values, [&](double v) { return bits(v) == bits(values.front()); });
}

}  // namespace

std::int64_t Backfill::window_of(std::int64_t time) const noexcept {
  const std::int64_t rest = time % window_millis_;
  return time - rest - (rest < 0 ? window_millis_ : 0);
}

/// Makes the part of that series the current one.
Status Backfill::take_up(const Labels& labels, std::uint64_t series) {
  // Lines of scrapes come in the same order again and again.
  Part* const before = current_;
  if (series != 0 && before != nullptr && before->next != nullptr &&
      before->next->series == series) {
    current_ = before->next;
    current_series_ = series;
    return {};
  }
  current_series_ = 0;
  current_ = nullptr;
  const auto known = series == 0 ? by_series_.end() : by_series_.find(series);
  if (known != by_series_.end()) {
    current_ = known->second;
  } else {
    const auto id = registry_.intern(labels);
    if (!id) return std::unexpected(id.error());
    current_ = &open_[*id];
    current_->id = *id;
    if (series != 0) by_series_.emplace(series, current_);
  }
  current_->series = series;
  if (before != nullptr) before->next = current_;
  current_series_ = series;
  return {};
}

Status Backfill::add(const Labels& labels, std::uint64_t series, std::int64_t time, double value) {
  if (series == 0 || series != current_series_) {
    if (Status taken = take_up(labels, series); !taken) return taken;
  }
  Part& part = *current_;
  if (window_millis_ == 0 && !part.times.empty()) {
    const std::int64_t step = (time - part.times.back() + kLeastStep / 2) / kLeastStep * kLeastStep;
    window_millis_ = std::clamp(step, kLeastStep, kMostStep) * kRowsOfWindow;
  }
  if (window_millis_ != 0 && !part.times.empty()) {
    if (part.times.size() == 1) part.window = window_of(part.times.front());
    if (time < part.window || time - part.window >= window_millis_) close(part);
  }
  if (part.times.empty() && part.usual > 0) {
    part.times.reserve(part.usual);
    part.values.reserve(part.usual);
  }
  part.times.push_back(time);
  part.values.push_back(value);
  bytes_ += kSampleBytes;
  return bytes_ > most_bytes_ ? write() : Status{};
}

/// Sorts, leaves out what is held, and puts the rest to the series with the same times.
void Backfill::close(Part& part) {
  if (part.times.empty()) return;
  Column given{std::move(part.times), std::move(part.values)};
  part.times = {};
  part.values = {};
  const std::size_t count = given.size();
  part.usual = count;
  Column column;
  merge_samples(given, column);
  Column there;
  history_.read(part.id, column.times.front() - 1, column.times.back(), there);
  if (there.size() > 0) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < column.size(); ++i) {
      if (std::ranges::binary_search(there.times, column.times[i])) continue;
      column.times[kept] = column.times[i];
      column.values[kept++] = column.values[i];
    }
    column.times.resize(kept);
    column.values.resize(kept);
  }
  held_ += count - column.size();
  bytes_ -= count * kSampleBytes;
  if (column.size() == 0) return;
  stored_ += column.size();
  // Many series hardly ever change; they take a place until they are written, and no more.
  PastSeries series{part.id, std::move(column.values)};
  if (is_constant(series.values)) series.values = {series.values.front()};
  series.values.shrink_to_fit();
  bytes_ += sizeof(PastSeries) + series.values.size() * sizeof(double);
  if (window_millis_ == 0) window_millis_ = kLeastStep * kRowsOfWindow;
  std::vector<PastRows>& sets = closed_[window_of(column.times.front())];
  const auto set = std::ranges::find(sets, column.times, &PastRows::times);
  if (set != sets.end()) return set->series.push_back(std::move(series));
  bytes_ += column.times.size() * sizeof(std::int64_t);
  sets.push_back({std::move(column.times), {}});
  sets.back().series.push_back(std::move(series));
}

Status Backfill::write() {
  for (auto& [id, part] : open_) close(part);
  open_.clear();
  by_series_.clear();
  current_series_ = 0;
  current_ = nullptr;
  Windows windows;
  windows.swap(closed_);
  bytes_ = 0;
  for (auto& [window, sets] : windows) {
    for (PastRows& rows : sets) {
      std::ranges::stable_sort(rows.series, {}, &PastSeries::id);
      const auto doubled = std::ranges::unique(rows.series, {}, &PastSeries::id);
      rows.series.erase(doubled.begin(), doubled.end());
      for (PastSeries& series : rows.series) {
        if (series.values.size() < rows.times.size()) {
          series.values.resize(rows.times.size(), series.values.front());
        }
      }
      if (Status stored = history_.store_past(rows); !stored) return stored;
      rows = {};
    }
  }
  return {};
}

Status Backfill::flush() {
  Status written = write();
  const Status finished = history_.finish_past();
  return written ? finished : written;
}

}  // namespace nexus::knowledge
