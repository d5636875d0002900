#include "knowledge/merge_samples.hpp"

#include <algorithm>
#include <functional>

namespace nexus::knowledge {

void merge_samples(const Column& in, Column& out) {
  if (std::ranges::adjacent_find(in.times, std::greater_equal{}) == in.times.end()) {
    out.times.insert(out.times.end(), in.times.begin(), in.times.end());
    out.values.insert(out.values.end(), in.values.begin(), in.values.end());
    return;
  }
  std::vector<std::size_t> order(in.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, {}, [&](std::size_t i) { return std::pair(in.times[i], i); });
  const std::size_t first = out.size();
  for (const std::size_t i : order) {
    if (out.size() > first && out.times.back() == in.times[i]) continue;
    out.times.push_back(in.times[i]);
    out.values.push_back(in.values[i]);
  }
}

}  // namespace nexus::knowledge
