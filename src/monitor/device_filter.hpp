// The filter of the collectors that have the options device_include and device_exclude.
#pragma once

#include "monitor/name_filter.hpp"
#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

/// An include that is given replaces the default exclude; both given are an error, as in
/// node_exporter.
[[nodiscard]] Result<NameFilter> device_filter(const CollectorContext& context,
                                               const CollectorDescriptor& descriptor);

}  // namespace nexus::monitor
