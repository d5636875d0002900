// The vitals and [[alert]] rules as groups of Prometheus's API. Thread safety: pure functions.
#pragma once

#include "nexus/analyze/book.hpp"
#include "nexus/analyze/rules.hpp"

namespace nexus::analyze {

[[nodiscard]] GroupReport report_vitals(const RuleSet& rules,
                                        const std::vector<RuleStatus>& status);
[[nodiscard]] GroupReport report_alerts(const RuleSet& rules, const std::vector<RuleStatus>& status,
                                        const Findings& findings);

}  // namespace nexus::analyze
