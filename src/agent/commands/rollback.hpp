// `nexus-agent actions rollback --all`: takes back everything that can be, newest first, as before
// the agent is removed. Thread safety: one thread.
#pragma once

#include "agent/client.hpp"

namespace nexus::agent {

/// 0 when everything that can be undone is, or with `dry_run` could be; what is not is said on
/// standard error.
[[nodiscard]] int roll_back_all(const ClientFlags& flags, const std::string& reason, bool dry_run);

}  // namespace nexus::agent
