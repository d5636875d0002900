// What the agent says about itself, as tests ask for it.
#pragma once

#include <string_view>

#include "nexus/knowledge/self_metrics.hpp"

namespace nexus::test {

/// The value of an own metric, summed over what has the label value `with` (all when empty).
inline double metric(const knowledge::SelfMetrics& self, std::string_view name,
                     std::string_view with = {}) {
  double sum = 0;
  self.visit([&](const knowledge::SelfMetrics::Reading& reading) {
    if (reading.name != name) return;
    bool match = with.empty();
    for (const knowledge::LabelView& label : reading.labels) match = match || label.value == with;
    if (match) sum += reading.value;
  });
  return sum;
}

}  // namespace nexus::test
