// The routes of DESIGN.md section 8 over the rooms they show. One file a group in src/serve/routes,
// one line a route in its table.
//
// Rooms holds references that outlive the server; config and reload go through functions because
// they change. Thread safety: everything referenced is safe for any thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nexus/analyze/anomaly.hpp"
#include "nexus/analyze/book.hpp"
#include "nexus/analyze/forecast.hpp"
#include "nexus/analyze/rules.hpp"
#include "nexus/analyze/services.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/base/memory_budget.hpp"
#include "nexus/config/values.hpp"
#include "nexus/drivers/systemd.hpp"
#include "nexus/execute/executor.hpp"
#include "nexus/execute/journal.hpp"
#include "nexus/knowledge/audit.hpp"
#include "nexus/knowledge/exposition.hpp"
#include "nexus/knowledge/history.hpp"
#include "nexus/knowledge/importer.hpp"
#include "nexus/knowledge/self_metrics.hpp"
#include "nexus/monitor/observed.hpp"
#include "nexus/monitor/scheduler.hpp"
#include "nexus/monitor/sources.hpp"
#include "nexus/plan/planner.hpp"
#include "nexus/serve/http.hpp"

namespace nexus::serve {

struct AgentInfo {
  std::string version;
  WallTime started{};
  SteadyTime started_steady{};
};

/// Health of one part of the agent, for /health and /health/components.
struct Component {
  std::string name;
  std::string status;  // healthy, degraded, failed, unknown, not_configured
  std::string message;
};

struct Rooms {
  Clock& clock;
  AgentInfo info;
  knowledge::SeriesRegistry& registry;
  knowledge::History& history;
  knowledge::Importer& importer;
  knowledge::Audit& audit;
  std::function<std::vector<monitor::CollectorStatus>()> collectors;
  monitor::Sources& sources;
  analyze::Book& book;
  analyze::Rules& rules;
  analyze::Forecaster& forecaster;
  analyze::AnomalyDetector& anomalies;
  analyze::Services& services;
  plan::Planner& planner;
  execute::Executor& executor;
  execute::Journal& journal;
  drivers::Systemd& systemd;
  monitor::Observed& observed;
  knowledge::SelfMetrics& self;
  std::function<std::shared_ptr<const config::Config>()> config;
  /// Reads the configuration anew; problems in the error's message, one a line.
  std::function<Status()> reload;
  /// What the running agent cannot apply before it is started again: settings of the present
  /// configuration, with the reason.
  std::function<std::vector<std::string>()> needs_restart;
  std::function<bool()> ready;
  /// What the watchdog asks; says why not.
  std::function<bool(std::string& why)> healthy;
  std::function<std::vector<Component>()> components;
  /// What queries over HTTP and the answers that their clients have not read yet hold together:
  /// each at most 32 MiB and a column. A fifth of what the unit's MemoryMax allows.
  std::shared_ptr<base::MemoryBudget> answers =
      std::make_shared<base::MemoryBudget>(96U << 20, 16U << 20, 1U << 20);
};

/// Every route. Changes (POST) are in the audit log with who, from where, what, result; what cannot
/// be recorded is not made, but for the kill switch, which stops first.
[[nodiscard]] std::vector<Route> all_routes(const Rooms& rooms);

}  // namespace nexus::serve
