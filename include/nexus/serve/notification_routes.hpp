// The routes of notifications: receivers and their queues, a test, and silences in the shape of
// Alertmanager's API v2, so that amtool and whatever else speaks it manages those of the agent.
//
// Thread safety: as all_routes().
#pragma once

#include <vector>

#include "nexus/publish/publisher.hpp"
#include "nexus/serve/routes.hpp"

namespace nexus::serve {

/// `publisher` outlives the server. Changes are in the audit log like all others.
[[nodiscard]] std::vector<Route> notification_routes(const Rooms& rooms,
                                                     publish::Publisher& publisher);

}  // namespace nexus::serve
