// The configuration as plain values: the intermediate form between agent.toml and every engine
// (DESIGN.md section 7). Sections are in the headers beside this one; a header that needs one
// section includes that one only, so that a new key of another room does not compile it anew.
//
// Nothing here knows TOML, PromQL or a plugin. Every default is written once; etc/agent.toml
// shows it. A value that a later room has to check (an expression, a plugin's option) carries the
// place where it was written, so that its complaint names file, line and column too.
//
// Units: durations are std::chrono, sizes are bytes, percentages are 0 to 100. Thread safety: plain
// values.
#pragma once

#include <string>
#include <vector>

#include "nexus/config/analyze.hpp"
#include "nexus/config/collect.hpp"
#include "nexus/config/connections.hpp"
#include "nexus/config/history.hpp"
#include "nexus/config/operate.hpp"
#include "nexus/config/permit.hpp"
#include "nexus/config/publish.hpp"
#include "nexus/config/server.hpp"
#include "nexus/config/sources.hpp"
#include "nexus/config/values.hpp"

namespace nexus::config {

struct Config {
  AgentSection agent;
  HttpSection http;
  AuthSection auth;
  CollectSection collect;
  SourcesSection sources;
  HistorySection history;
  std::vector<VitalConfig>
      vitals;  // the shipped ones first (with what the user replaced), then the user's
  ForecastSection forecast;
  AnomalySection anomaly;
  std::vector<AlertConfig> alerts;
  OperationsSection operations;
  std::vector<CommandConfig> commands;
  std::vector<RemedyConfig> remedies;
  GuardrailsSection guardrails;
  FleetSection fleet;
  AllowSection allow;
  std::vector<CleanupConfig> cleanups;
  std::vector<SysctlConfig> sysctls;
  std::vector<RequestConfig> requests;
  std::vector<MaintenanceConfig> maintenance;
  std::vector<ServiceConfig> services;  // [services] watch
  Connections connections;              // [postgres], [redis], [docker], [kubernetes]
  PublishSection publish;               // [routing], [[route]], [notify.NAME], ...
  /// Prometheus rule files, * ? [ ] allowed; beside the configuration when not absolute.
  std::vector<std::string> rule_files = {"rules.d/*.yml"};
  bool operator==(const Config&) const = default;
};

}  // namespace nexus::config
