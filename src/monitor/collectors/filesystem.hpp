// The filesystem collector with another statfs, for tests.
#pragma once

#include "monitor/statfs_pool.hpp"
#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

[[nodiscard]] Result<std::unique_ptr<Collector>> make_filesystem(const CollectorContext& context,
                                                                 StatfsFunction statfs);

}  // namespace nexus::monitor
