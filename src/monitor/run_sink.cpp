#include "monitor/run_sink.hpp"

#include <algorithm>
#include <iterator>
#include <thread>
#include <unordered_set>

#include "nexus/knowledge/queryable.hpp"

namespace nexus::monitor {
namespace {

/// Whether `stored` (with its __name__) is what a collector called `given`.
bool same_labels(const knowledge::Labels& stored, std::span<const LabelView> given) {
  std::size_t present = 1;
  for (const LabelView& label : given) {
    if (stored.get(label.name) != label.value) return false;
    if (!label.value.empty()) ++present;
  }
  return present == stored.size();
}

}  // namespace

RunSink::RunSink(knowledge::SeriesRegistry& registry, std::size_t budget)
    : registry_(registry), budget_(budget) {}

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
}

void RunSink::add(FamilyId family, std::span<const LabelView> labels, double value) {
  // Both sequentially consistent: either this sees the cut, or cut_off() sees this inside and
  // waits.
  inside_.store(true);
  if (!cut_off_.load()) take(family, labels, value);
  inside_.store(false, std::memory_order_release);
}

void RunSink::take(FamilyId family, std::span<const LabelView> labels, double value) {
  const std::size_t position = ids_.size();
  if (position >= budget_) {
    ++dropped_;
    return;
  }
  if (position < last_ids_.size() && last_keys_[position].family == family &&
      same_labels(*last_keys_[position].labels, labels)) {
    ids_.push_back(last_ids_[position]);
    keys_.push_back(last_keys_[position]);
    values_.push_back(value);
    return;
  }
  differs_ = true;
  const auto id = registry_.intern(family, labels);
  if (!id) {
    ++dropped_;
    return;
  }
  ids_.push_back(*id);
  keys_.push_back({family, &registry_.labels(*id)});
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
  if (differs) mark_vanished();
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
    keys_[kept] = keys_[i];
    values_[kept] = values_[i];
    ++kept;
  }
  ids_.resize(kept);
  keys_.resize(kept);
  values_.resize(kept);
}

void RunSink::mark_vanished() {
  last_sorted_.assign(last_ids_.begin(), last_ids_.end());
  std::ranges::sort(last_sorted_);
  std::ranges::set_difference(last_sorted_, sorted_, std::back_inserter(ids_));
  values_.resize(ids_.size(), knowledge::stale_marker());
}

void RunSink::append(knowledge::SeriesId id, double value) {
  ids_.push_back(id);
  values_.push_back(value);
}

void RunSink::cut_off() noexcept {
  cut_off_.store(true);
  // An add() takes microseconds and never blocks.
  while (inside_.load()) std::this_thread::yield();
}

}  // namespace nexus::monitor
