#include "analyze/rules/memory_store.hpp"

#include <algorithm>
#include <bit>

namespace nexus::analyze {

Status MemoryStore::append(const knowledge::Labels& labels, std::int64_t time, double value) {
  const auto [entry, fresh] =
      ids_.try_emplace(labels, static_cast<knowledge::SeriesId>(series_.size()));
  if (fresh) series_.push_back({&entry->first, {}});
  auto& samples = series_[entry->second].samples;
  if (samples.size() > 0 && samples.times.back() >= time) {
    const bool same =
        samples.times.back() == time &&
        std::bit_cast<std::uint64_t>(samples.values.back()) == std::bit_cast<std::uint64_t>(value);
    if (same) return {};
    return fail(Errc::kConflict, "{} sample",
                samples.times.back() == time ? "duplicate" : "out of order");
  }
  samples.times.push_back(time);
  samples.values.push_back(value);
  return {};
}

std::vector<knowledge::SeriesId> MemoryStore::select(std::span<const knowledge::Matcher> matchers,
                                                     std::int64_t, std::int64_t) const {
  std::vector<knowledge::SeriesId> out;
  for (knowledge::SeriesId id = 0; id < series_.size(); ++id) {
    const bool wanted = std::ranges::all_of(matchers, [&](const knowledge::Matcher& matcher) {
      return matcher.matches(*series_[id].labels);
    });
    if (wanted) out.push_back(id);
  }
  return out;
}

void MemoryStore::read(knowledge::SeriesId id, std::int64_t start, std::int64_t end,
                       knowledge::Column& out) const {
  const auto& samples = series_[id].samples;
  const auto first = std::ranges::upper_bound(samples.times, start) - samples.times.begin();
  const auto last = std::ranges::upper_bound(samples.times, end) - samples.times.begin();
  if (first >= last) return;
  out.times.insert(out.times.end(), samples.times.begin() + first, samples.times.begin() + last);
  out.values.insert(out.values.end(), samples.values.begin() + first,
                    samples.values.begin() + last);
}

}  // namespace nexus::analyze
