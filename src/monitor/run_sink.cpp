#include "monitor/run_sink.hpp"

#include <algorithm>
#include <iterator>
#include <thread>
#include <unordered_set>
#include <utility>

#include "nexus/knowledge/queryable.hpp"

namespace nexus::monitor {
namespace {

/// Whether `stored` (with its __name__) is what a collector called `given`. `metric`: empty when it
/// is the family's name.
bool same_labels(const knowledge::Labels& stored, std::string_view metric,
                 std::span<const LabelView> given) {
  if (!metric.empty() && stored.metric() != metric) return false;
  std::size_t present = 1;
  for (const LabelView& label : given) {
    if (stored.get(label.name) != label.value) return false;
    if (!label.value.empty()) ++present;
  }
  return present == stored.size();
}

}  // namespace

RunSink::RunSink(knowledge::SeriesRegistry& registry, std::size_t budget)
    : registry_(registry), budget_(budget), forgotten_(registry.forgotten()) {}

void RunSink::begin() {
  ids_.resize(live_);
  ids_.swap(last_ids_);
  keys_.swap(last_keys_);
  ids_.clear();
  keys_.clear();
  values_.clear();
  live_ = 0;
  dropped_ = 0;
  differs_ = false;
  if (!enter()) return;
  renew_forgotten();
  leave();
}

/// Whether the registry may be touched, until leave().
bool RunSink::enter() noexcept {
  // Both sequentially consistent: either this sees the cut, or cut_off() sees this inside and
  // waits.
  inside_.store(true);
  if (!cut_off_.load()) return true;
  leave();
  return false;
}

/// An id that was forgotten may not be used again: its samples would be refused.
void RunSink::renew_forgotten() {
  const std::uint64_t forgotten = registry_.forgotten();
  if (std::exchange(forgotten_, forgotten) == forgotten) return;
  for (std::size_t i = 0; i < last_ids_.size(); ++i) {
    if (!registry_.known(last_ids_[i])) last_keys_[i].labels.reset();
  }
}

void RunSink::add(FamilyId family, std::span<const LabelView> labels, double value) {
  if (!enter()) return;
  take(family, {}, labels, value);
  leave();
}

void RunSink::add_named(FamilyId family, std::string_view metric, std::span<const LabelView> labels,
                        double value) {
  if (!enter()) return;
  take(family, metric, labels, value);
  leave();
}

void RunSink::take(FamilyId family, std::string_view metric, std::span<const LabelView> labels,
                   double value) {
  const std::size_t position = ids_.size();
  if (position >= budget_) {
    ++dropped_;
    return;
  }
  if (position < last_ids_.size() && last_keys_[position].family == family &&
      last_keys_[position].labels != nullptr &&
      same_labels(*last_keys_[position].labels, metric, labels)) {
    ids_.push_back(last_ids_[position]);
    keys_.push_back(std::move(last_keys_[position]));
    values_.push_back(value);
    return;
  }
  differs_ = true;
  const auto id = registry_.intern(family, labels, metric);
  if (!id) {
    ++dropped_;
    return;
  }
  ids_.push_back(*id);
  keys_.push_back({family, registry_.share(*id)});
  values_.push_back(value);
}

bool RunSink::finish() {
  const bool differs = differs_ || ids_.size() != last_ids_.size();
  if (differs) {
    sorted_.assign(ids_.begin(), ids_.end());
    std::ranges::sort(sorted_);
    if (std::ranges::adjacent_find(sorted_) != sorted_.end()) drop_doubles();
  }
  live_ = ids_.size();
  if (differs || !owed_.empty()) mark_vanished();
  return differs;
}

void RunSink::drop_doubles() {
  std::unordered_set<knowledge::SeriesId> seen;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < ids_.size(); ++i) {
    if (!seen.insert(ids_[i]).second) {
      ++dropped_;
      continue;
    }
    ids_[kept] = ids_[i];
    keys_[kept] = std::move(keys_[i]);
    values_[kept] = values_[i];
    ++kept;
  }
  ids_.resize(kept);
  keys_.resize(kept);
  values_.resize(kept);
}

void RunSink::mark_vanished() {
  sorted_.assign(ids_.begin(), ids_.end());
  std::ranges::sort(sorted_);
  owe(last_ids_);
  last_sorted_.swap(owed_);
  owed_.clear();
  std::erase_if(last_sorted_, [this](knowledge::SeriesId id) { return !registry_.known(id); });
  std::ranges::set_difference(last_sorted_, sorted_, std::back_inserter(owed_));
  ids_.insert(ids_.end(), owed_.begin(), owed_.end());
  values_.resize(ids_.size(), knowledge::stale_marker());
}

void RunSink::owe(std::span<const knowledge::SeriesId> ids) {
  owed_.insert(owed_.end(), ids.begin(), ids.end());
  std::ranges::sort(owed_);
  const auto doubled = std::ranges::unique(owed_);
  owed_.erase(doubled.begin(), doubled.end());
}

void RunSink::append(MetaSeries& series, std::string_view collector, double value) {
  if (!registry_.known(series.id)) {
    const LabelView label{"collector", collector};
    series.id = registry_.intern(series.family, std::span(&label, 1)).value_or(series.id);
  }
  ids_.push_back(series.id);
  values_.push_back(value);
}

void RunSink::cut_off() noexcept {
  cut_off_.store(true);
  // An add() takes microseconds and never blocks.
  while (inside_.load()) std::this_thread::yield();
}

}  // namespace nexus::monitor
