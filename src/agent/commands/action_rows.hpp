// How one action is shown on the command line. Thread safety: constant.
#pragma once

#include <vector>

#include "agent/client.hpp"

namespace nexus::agent {

inline const std::vector<ColumnSpec> kActionRows = {
    {"id", "id"},
    {"type", "action_type"},
    {"target", "target_component"},
    {"state", "state"},
    {"priority", "priority"},
    {"cause", "cause.summary"},
    {"requested by", "cause.requested_by"},
    {"remedy", "remedy"},
    {"attempt", "attempt"},
    {"created", "created"},
    {"started", "started"},
    {"finished", "finished"},
    {"detection to start (s)", "detection_to_start_seconds"},
    {"result", "outcome.result"},
    {"verified", "outcome.verified"},
    {"would do", "outcome.would_do"},
    {"output", "outcome.output"},
    {"why not", "outcome.reason_code"},
    {"undone", "outcome.undone"},
    {"approved by", "approved_by"},
    {"approved because", "approval_reason"},
    {"fleet lock", "outcome.fleet_lock"},
    {"experiment", "outcome.experiment"},
    {"ladder", "ladder"},
    {"steps", "steps"}};

}  // namespace nexus::agent
