#include "knowledge/series_index.hpp"

#include <algorithm>

namespace nexus::knowledge {
namespace {

/// Mostly at the end: only ids of reused places are not greater than all before.
void insert_sorted(std::vector<SeriesId>& ids, SeriesId id) {
  ids.insert(std::ranges::upper_bound(ids, id), id);
}

template <typename Map>
auto& at(Map& map, std::string_view key) {
  const auto found = map.find(key);
  return found != map.end() ? found->second : map[std::string(key)];
}

}  // namespace

void LabelIndex::add(SeriesId id, const Labels& labels) {
  for (const Label& label : labels) {
    Postings& of_name = at(names_, label.name);
    insert_sorted(of_name.all, id);
    insert_sorted(at(of_name.by_value, label.value), id);
  }
}

void LabelIndex::remove(std::span<const Labels* const> leaving,
                        const std::function<bool(SeriesId)>& is_leaving) {
  std::vector<std::pair<std::string_view, std::string_view>> pairs;
  for (const Labels* labels : leaving) {
    for (const Label& label : *labels) pairs.emplace_back(label.name, label.value);
  }
  std::ranges::sort(pairs);
  const auto doubled = std::ranges::unique(pairs);
  pairs.erase(doubled.begin(), doubled.end());
  const Postings* done = nullptr;  // the last one whose whole list was gone through
  for (const auto& [label, value] : pairs) {
    const auto of_name = names_.find(label);
    Postings& postings = of_name->second;
    const auto of_value = postings.by_value.find(value);
    std::erase_if(of_value->second, is_leaving);
    if (of_value->second.empty()) postings.by_value.erase(of_value);
    if (&postings == done) continue;
    done = &postings;
    std::erase_if(postings.all, is_leaving);
  }
  std::erase_if(names_, [](const auto& of_name) { return of_name.second.all.empty(); });
}

const std::vector<SeriesId>* LabelIndex::shortest(std::span<const Matcher> matchers) const {
  const std::vector<SeriesId>* best = nullptr;
  for (const Matcher& matcher : matchers) {
    if (matcher.matches(std::string_view())) continue;  // series without the label satisfy it too
    const auto of_name = names_.find(matcher.name());
    if (of_name == names_.end()) return &none_;
    const std::vector<SeriesId>* list = &of_name->second.all;
    if (matcher.op() == MatchOp::kEqual) {
      const auto of_value = of_name->second.by_value.find(matcher.value());
      if (of_value == of_name->second.by_value.end()) return &none_;
      list = &of_value->second;
    }
    if (best == nullptr || list->size() < best->size()) best = list;
  }
  return best;
}

}  // namespace nexus::knowledge
