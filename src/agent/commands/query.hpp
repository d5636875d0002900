// `nexus-agent query`: a PromQL expression evaluated by the running agent. Thread safety: one
// thread.
#pragma once

#include <array>
#include <string>

#include "agent/client.hpp"

namespace nexus::agent {

/// `range` is start, end, step; all three or none.
int query_agent(const ClientFlags& flags, const std::string& expression, const std::string& time,
                const std::array<std::string, 3>& range);

}  // namespace nexus::agent
