#include "nexus/knowledge/backfill.hpp"

#include <algorithm>
#include <bit>
#include <functional>
#include <span>

#include "knowledge/hash.hpp"
#include "knowledge/merge_samples.hpp"

namespace nexus::knowledge {
namespace {

// So many samples of a series at the step of the first one fill a window, and nearly a block.
constexpr std::int64_t kRowsOfWindow = 3600;
constexpr std::int64_t kLeastStep = 1000;
constexpr std::int64_t kMostStep = 60'000;
constexpr std::size_t kSampleBytes = sizeof(std::int64_t) + sizeof(double);
constexpr std::size_t kSetBytes = 64 + sizeof(PastRows);  // what a set of times costs beside them

std::uint64_t hash_of(std::span<const std::int64_t> times) noexcept {
  const auto bytes = std::as_bytes(times);
  return hash_bytes({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, hash_seed());
}

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
    const auto [part, is_new] = open_.try_emplace(*id);
    current_ = &part->second;
    if (is_new) {
      current_->id = *id;
      remember(*id, labels);
    }
    if (series != 0) by_series_.emplace(series, current_);
  }
  current_->series = series;
  if (before != nullptr) before->next = current_;
  current_series_ = series;
  return {};
}

Status Backfill::add(const Labels& labels, std::uint64_t series, std::int64_t time, double value) {
  if (bytes_ > most_bytes_ || labels_.size() > registry_.limit()) {
    if (Status room = make_room(); !room) return room;
  }
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
  return {};
}

/// A disk that takes nothing is not asked again for each sample, but by flush().
Status Backfill::make_room() {
  if (obstacle_.empty()) {
    Status written = write();
    if (written) return written;
    obstacle_ = written.error().message();
  }
  return fail(Errc::kUnavailable, "samples that came before wait to be written: {}", obstacle_);
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
  // What is held is found by the id that the series has now. Without one store() tells that it is
  // lost.
  if (const auto id = revived(part.id)) part.id = *id;
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
  // Many series hardly ever change; they take a place until they are written, and no more.
  PastSeries series{part.id, std::move(column.values)};
  if (is_constant(series.values)) series.values = {series.values.front()};
  series.values.shrink_to_fit();
  bytes_ += sizeof(PastSeries) + series.values.size() * sizeof(double);
  if (window_millis_ == 0) window_millis_ = kLeastStep * kRowsOfWindow;
  set_of(std::move(column.times)).series.push_back(std::move(series));
}

PastRows& Backfill::set_of(std::vector<std::int64_t> times) {
  const std::uint64_t hash = hash_of(times);
  Sets& sets = closed_[window_of(times.front())];
  const auto [first, last] = sets.by_times.equal_range(hash);
  for (auto one = first; one != last; ++one) {
    if (sets.rows[one->second].times == times) return sets.rows[one->second];
  }
  bytes_ += times.size() * sizeof(std::int64_t) + kSetBytes;
  sets.by_times.emplace(hash, sets.rows.size());
  return sets.rows.emplace_back(PastRows{std::move(times), {}});
}

void Backfill::remember(SeriesId id, const Labels& labels) {
  auto shared = registry_.share(id);  // no copy, as long as the registry has them too
  if (shared == nullptr) shared = std::make_shared<const Labels>(labels);
  labels_.emplace(id, std::move(shared));
}

void Backfill::keep_alive() {
  for (const auto& [id, labels] : labels_) {
    if (registry_.known(id)) static_cast<void>(registry_.intern(*labels));
  }
}

/// The id that the series has now. A write may take minutes, and nobody but this knows of a series
/// of which nothing is written yet: it may have been forgotten.
Result<SeriesId> Backfill::revived(SeriesId id) {
  const auto known = labels_.find(id);
  NEXUS_CHECK(known != labels_.end());
  const std::shared_ptr<const Labels> labels = known->second;
  const auto now = registry_.intern(*labels);
  if (now && *now != id) labels_.emplace(*now, labels);
  return now;
}

void Backfill::leave_out_lost(PastRows& rows) {
  std::erase_if(rows.series, [&](PastSeries& one) {
    const auto id = revived(one.id);
    if (id) {
      one.id = *id;
      return false;
    }
    lost_ += rows.times.size();
    why_lost_ = id.error().message();
    return true;
  });
}

Status Backfill::store(PastRows& rows) {
  leave_out_lost(rows);
  std::ranges::stable_sort(rows.series, {}, &PastSeries::id);
  const auto doubled = std::ranges::unique(rows.series, {}, &PastSeries::id);
  held_ += doubled.size() * rows.times.size();
  rows.series.erase(doubled.begin(), doubled.end());
  for (PastSeries& series : rows.series) {
    if (series.values.size() < rows.times.size()) {
      series.values.resize(rows.times.size(), series.values.front());
    }
  }
  while (!rows.series.empty()) {
    if (Status stored = history_.store_past(rows); !stored) return stored;
    // It waits for whoever else writes. Nobody finds what was written of a series that was
    // forgotten in that time: it is written once more. Asked once of each: the next may be
    // forgotten at any moment.
    const std::size_t found =
        std::erase_if(rows.series, [&](const PastSeries& one) { return registry_.known(one.id); });
    stored_ += found * rows.times.size();
    leave_out_lost(rows);
    std::ranges::sort(rows.series, {}, &PastSeries::id);
  }
  return {};
}

/// Those from place `first` on stay; the others have been written.
void Backfill::keep_from(Sets& sets, std::size_t first) {
  sets.rows.erase(sets.rows.begin(), sets.rows.begin() + static_cast<std::ptrdiff_t>(first));
  std::erase_if(sets.by_times, [&](const auto& one) { return one.second < first; });
  for (auto& [hash, place] : sets.by_times) place -= first;
}

/// What cannot be written stays where it is. Of rows that were written in part all will be written
/// again, which readers do not see.
Status Backfill::write() {
  for (auto& [id, part] : open_) close(part);
  open_.clear();
  by_series_.clear();
  current_series_ = 0;
  current_ = nullptr;
  for (; !closed_.empty(); closed_.erase(closed_.begin())) {
    Sets& sets = closed_.begin()->second;
    for (std::size_t i = 0; i < sets.rows.size(); ++i) {
      if (Status stored = store(sets.rows[i]); !stored) {
        keep_from(sets, i);
        bytes_ = waiting().bytes;
        return stored;
      }
      sets.rows[i] = {};
    }
  }
  bytes_ = 0;
  labels_.clear();
  return {};
}

Backfill::Waiting Backfill::waiting() const {
  Waiting out;
  for (const auto& [window, sets] : closed_) {
    for (const PastRows& rows : sets.rows) {
      out.bytes += kSetBytes;
      out.samples += rows.series.size() * rows.times.size();
      out.bytes += rows.times.size() * sizeof(std::int64_t);
      for (const PastSeries& series : rows.series) {
        out.bytes += sizeof(PastSeries) + series.values.size() * sizeof(double);
      }
    }
  }
  return out;
}

Status Backfill::flush() {
  Status written = write();
  if (!written) {
    lost_ += waiting().samples;
    why_lost_ = written.error().message();
    closed_.clear();
    labels_.clear();
    bytes_ = 0;
  }
  obstacle_.clear();
  const Status finished = history_.finish_past();
  return written ? finished : written;
}

}  // namespace nexus::knowledge
