#include "monitor/run_sink.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <thread>
#include <unordered_set>
#include <utility>

#include "nexus/knowledge/queryable.hpp"

namespace nexus::monitor {
namespace {

constexpr std::size_t kLongestWord = UINT16_MAX;

/// Whether the first and the last bytes of two words are equal, as many as a T has, which may
/// overlap.
template <typename T>
bool same_ends(const char* a, const char* b, std::size_t size) noexcept {
  T first_a, first_b, last_a, last_b;
  std::memcpy(&first_a, a, sizeof(T));
  std::memcpy(&first_b, b, sizeof(T));
  std::memcpy(&last_a, a + size - sizeof(T), sizeof(T));
  std::memcpy(&last_b, b + size - sizeof(T), sizeof(T));
  return first_a == first_b && last_a == last_b;
}

/// Equal bytes; words are short, and most of them equal: no call and hardly a branch.
bool same_bytes(const char* a, const char* b, std::size_t size) noexcept {
  for (; size > 2 * sizeof(std::uint64_t); a += 8, b += 8, size -= 8) {
    std::uint64_t of_a, of_b;
    std::memcpy(&of_a, a, sizeof of_a);
    std::memcpy(&of_b, b, sizeof of_b);
    if (of_a != of_b) return false;
  }
  if (size >= sizeof(std::uint64_t)) return same_ends<std::uint64_t>(a, b, size);
  if (size >= sizeof(std::uint32_t)) return same_ends<std::uint32_t>(a, b, size);
  if (size >= sizeof(std::uint16_t)) return same_ends<std::uint16_t>(a, b, size);
  return size == 0 || *a == *b;
}

void append_word(std::string& out, std::string_view word) {
  const auto size = static_cast<std::uint16_t>(word.size());
  out.append(reinterpret_cast<const char*>(&size), sizeof size).append(word);
}

/// The metric and all labels in the order given, each with its length in front.
std::string write_words(std::string_view metric, std::span<const LabelView> labels) {
  std::string out;
  const auto fits = [](std::string_view word) { return word.size() <= kLongestWord; };
  if (!fits(metric)) return out;
  append_word(out, metric);
  for (const LabelView& label : labels) {
    if (!fits(label.name) || !fits(label.value)) return {};
    append_word(out, label.name);
    append_word(out, label.value);
  }
  return out;
}

/// Takes `word` off the front of `rest`; false when another stands there.
bool take_word(std::string_view& rest, std::string_view word) noexcept {
  std::uint16_t size = 0;
  if (rest.size() < sizeof size + word.size()) return false;
  std::memcpy(&size, rest.data(), sizeof size);
  if (size != word.size() || !same_bytes(rest.data() + sizeof size, word.data(), size))
    return false;
  rest.remove_prefix(sizeof size + word.size());
  return true;
}

bool same_words(std::string_view words, std::string_view metric,
                std::span<const LabelView> labels) noexcept {
  if (!take_word(words, metric)) return false;
  for (const LabelView& label : labels) {
    if (!take_word(words, label.name) || !take_word(words, label.value)) return false;
  }
  return words.empty();
}

}  // namespace

RunSink::RunSink(knowledge::SeriesRegistry& registry, std::size_t budget, Allowance* allowance)
    : registry_(registry),
      budget_(budget),
      allowance_(allowance),
      forgotten_(registry.forgotten()) {}

RunSink::~RunSink() {
  if (allowance_ != nullptr) allowance_->give(held_);
}

void RunSink::begin() {
  ids_.resize(live_);
  keys_.resize(live_);
  last_ids_.clear();
  last_keys_.clear();
  values_.clear();
  dropped_ = 0;
  differs_ = false;
  repeats_ = true;
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
  for (std::size_t i = 0; i < ids_.size(); ++i) keys_[i].is_known = registry_.known(ids_[i]);
}

bool RunSink::may_hold_one_more() {
  if (allowance_ == nullptr) return true;
  if (!allowance_->take()) return false;
  ++held_;
  return true;
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

bool RunSink::repeats(std::size_t place, FamilyId family, std::string_view metric,
                      std::span<const LabelView> labels) const {
  const std::vector<Key>& keys = repeats_ ? keys_ : last_keys_;
  return place < keys.size() && keys[place].family == family && keys[place].is_known &&
         same_words(keys[place].words, metric, labels);
}

void RunSink::diverge(std::size_t place) {
  repeats_ = false;
  last_ids_.swap(ids_);
  last_keys_.swap(keys_);
  const auto count = static_cast<std::ptrdiff_t>(place);
  ids_.assign(last_ids_.begin(), last_ids_.begin() + count);
  keys_.assign(std::make_move_iterator(last_keys_.begin()),
               std::make_move_iterator(last_keys_.begin() + count));
}

void RunSink::take(FamilyId family, std::string_view metric, std::span<const LabelView> labels,
                   double value) {
  const std::size_t place = values_.size();
  if (place >= budget_ || (place >= held_ && !may_hold_one_more())) {
    ++dropped_;
    return;
  }
  const bool as_before = repeats(place, family, metric, labels);
  if (as_before && repeats_) {
    values_.push_back(value);
    return;
  }
  if (repeats_) diverge(place);
  if (as_before) {
    ids_.push_back(last_ids_[place]);
    keys_.push_back(std::move(last_keys_[place]));
    values_.push_back(value);
    return;
  }
  differs_ = true;
  // Other names in the places of former ones are as many, and more in the registry all the same.
  if (allowance_ != nullptr && !allowance_->has_room()) {
    ++dropped_;
    return;
  }
  const auto id = registry_.intern(family, labels, metric);
  if (!id) {
    ++dropped_;
    return;
  }
  ids_.push_back(*id);
  keys_.push_back({family, true, write_words(metric, labels)});
  values_.push_back(value);
}

bool RunSink::finish() {
  if (repeats_ && values_.size() < ids_.size()) diverge(values_.size());
  const bool differs = differs_ || !repeats_;
  if (differs) {
    sorted_.assign(ids_.begin(), ids_.end());
    std::ranges::sort(sorted_);
    if (std::ranges::adjacent_find(sorted_) != sorted_.end()) drop_doubles();
  }
  live_ = ids_.size();
  if (allowance_ != nullptr) allowance_->give(std::exchange(held_, live_) - live_);
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
