#include "knowledge/disk/names.hpp"

#include <algorithm>

namespace nexus::knowledge::disk {
namespace {

/// What was not asked for within so many questions is no part of what goes on now: a query over
/// more segments than that is not helped.
constexpr std::uint64_t kQuestions = 64;

}  // namespace

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
    ++asked_;
    if (const auto found = by_file_.find(file.serial()); found != by_file_.end()) {
      items_.splice(items_.begin(), items_, found->second);
      found->second->asked = asked_;
      return found->second->names;
    }
    ++files_read_;
  }
  auto names = std::make_shared<Names>();
  bool is_complete = true;
  for (const Entry& entry : entries) {
    if (entry.kind != Kind::kSeries) continue;
    const auto payload = file.read(entry);
    // What is damaged stays so, and would be counted at each reading.
    if (!payload && payload.error().code() != Errc::kCorrupt) is_complete = false;
    const auto definitions = payload ? decode_definitions(*payload) : Definitions();
    if (definitions) names->add(definitions->series, group_of_definitions(entry));
  }
  names->finish();
  if (is_complete) insert(file, names, Came::kRead);
  return names;
}

void NameCache::put(const SegmentFile& file, std::shared_ptr<const Names> names) {
  insert(file, std::move(names), Came::kWritten);
}

void NameCache::insert(const SegmentFile& file, std::shared_ptr<const Names> names, Came came) {
  const std::lock_guard guard(mutex_);
  if (by_file_.contains(file.serial())) return;  // somebody else was faster
  size_ += names->size();
  items_.push_front({file.serial(), std::move(names), came == Came::kRead ? asked_ : 0});
  by_file_.emplace(file.serial(), items_.begin());
  make_room(came);
}

/// mutex_ is held. The first item is the new one and stays.
void NameCache::make_room(Came came) {
  while (size_ > most_ && items_.size() > 1) {
    auto leaves = std::prev(items_.end());
    const bool is_in_use = leaves->asked != 0 && asked_ - leaves->asked < kQuestions;
    if (came == Came::kRead && is_in_use) leaves = std::next(items_.begin());
    size_ -= leaves->names->size();
    by_file_.erase(leaves->file);
    items_.erase(leaves);
  }
}

std::size_t NameCache::size() const {
  const std::lock_guard guard(mutex_);
  return size_;
}

std::uint64_t NameCache::files_read() const {
  const std::lock_guard guard(mutex_);
  return files_read_;
}

}  // namespace nexus::knowledge::disk
