// Kinds of sources: what brings series in and is no collector, described for `list`, `describe` and
// the manual. Thread safety: plain values.
#pragma once

#include <span>
#include <string_view>

#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

struct SourceKind {
  std::string_view name;   // as in SourceStatus::kind
  std::string_view table;  // of agent.toml, where its keys are shown
  std::string_view help;
  std::span<const MetricDescriptor> metrics;  // that it makes itself
};

[[nodiscard]] std::span<const SourceKind> source_kinds();
[[nodiscard]] const SourceKind* find_source_kind(std::string_view name);

}  // namespace nexus::monitor
