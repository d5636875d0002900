// Registers the metrics of a descriptor, once, when a collector is made.
#pragma once

#include <array>

#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

template <std::size_t N>
[[nodiscard]] std::array<FamilyId, N> families_of(knowledge::SeriesRegistry& registry,
                                                  const std::array<MetricDescriptor, N>& metrics) {
  std::array<FamilyId, N> families{};
  for (std::size_t i = 0; i < N; ++i) {
    families[i] = registry.family(metrics[i].name, metrics[i].type, metrics[i].help);
  }
  return families;
}

}  // namespace nexus::monitor
