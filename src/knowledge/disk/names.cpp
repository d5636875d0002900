#include "knowledge/disk/names.hpp"

#include <algorithm>

namespace nexus::knowledge::disk {

std::uint32_t group_of_definitions(const Entry& entry) noexcept {
  return (entry.flags & kOfGroup) != 0 ? entry.group : kAnyGroup;
}

void Names::add(std::span<const SeriesDefinition> series, std::uint32_t group) {
  const auto before = static_cast<std::ptrdiff_t>(names_.size());
  for (const SeriesDefinition& one : series) {
    names_.push_back({one.labels.hash(), one.number, group});
  }
  std::sort(names_.begin() + before, names_.end());
  std::inplace_merge(names_.begin(), names_.begin() + before, names_.end());
}

std::span<const Names::Name> Names::find(std::uint64_t hash) const noexcept {
  const auto found = std::ranges::equal_range(names_, hash, {}, &Name::hash);
  return {found.begin(), found.end()};
}

std::shared_ptr<const Names> NameCache::get(const SegmentFile& file,
                                            std::span<const Entry> entries) {
  {
    const std::lock_guard guard(mutex_);
    if (const auto found = by_file_.find(file.serial()); found != by_file_.end()) {
      items_.splice(items_.begin(), items_, found->second);
      return found->second->names;
    }
  }
  auto names = std::make_shared<Names>();
  for (const Entry& entry : entries) {
    if (entry.kind != Kind::kSeries) continue;
    const auto payload = file.read(entry);
    const auto definitions = payload ? decode_definitions(*payload) : Definitions();
    if (definitions) names->add(definitions->series, group_of_definitions(entry));
  }
  put(file, names);
  return names;
}

void NameCache::put(const SegmentFile& file, std::shared_ptr<const Names> names) {
  const std::lock_guard guard(mutex_);
  if (by_file_.contains(file.serial())) return;  // somebody else was faster
  size_ += names->size();
  items_.push_front({file.serial(), std::move(names)});
  by_file_.emplace(file.serial(), items_.begin());
  while (size_ > most_ && items_.size() > 1) {
    size_ -= items_.back().names->size();
    by_file_.erase(items_.back().file);
    items_.pop_back();
  }
}

std::size_t NameCache::size() const {
  const std::lock_guard guard(mutex_);
  return size_;
}

}  // namespace nexus::knowledge::disk
