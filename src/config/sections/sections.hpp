// The sections of agent.toml: one reader each, and the checks that need more than one key.
//
// A reader takes the root of one source (a file, the environment, the flags) and changes the
// configuration as far as that source speaks about it; sources are read one after the other. The
// checks run once, after the last source. A new section is one reader here and one line in
// load.cpp's table. Thread safety: none; one load, one thread.
#pragma once

#include "config/section.hpp"

namespace nexus::config {

struct Reading {
  const LoadOptions& options;
  Report& report;
  Config& config;
};

// server.cpp
void read_agent(Section& root, Reading& reading);
void read_http(Section& root, Reading& reading);
void check_http(Reading& reading);
// auth.cpp
void read_auth(Section& root, Reading& reading);
// measure.cpp
void read_collect(Section& root, Reading& reading);
void read_history(Section& root, Reading& reading);
// connections.cpp
void read_postgres(Section& root, Reading& reading);
void read_redis(Section& root, Reading& reading);
void read_docker(Section& root, Reading& reading);
void read_kubernetes(Section& root, Reading& reading);
/// At most one of NAME_file, NAME_env and NAME_credential; several, NAME itself and what cannot be
/// read are reported. Leaves `out` alone when there is none.
void read_secret(Section& section, Reading& reading, std::string_view name, Secret& out);
// scrape.cpp
void read_scrapes(Section& root, Reading& reading);
void read_push(Section& root, Reading& reading);
// probe.cpp
void read_probes(Section& root, Reading& reading);
// streams.cpp
void read_statsd(Section& root, Reading& reading);
void read_logs(Section& root, Reading& reading);
// analyze.cpp
/// A table of labels, e.g. `labels = { team = "web" }`.
void read_labels(Section& section, std::string_view key, StringMap& out);
void read_vitals(Section& root, Reading& reading);
void read_forecast(Section& root, Reading& reading);
void read_anomaly(Section& root, Reading& reading);
void read_alerts(Section& root, Reading& reading);
void read_rule_files(Section& root, Reading& reading);
void place_rule_files(Reading& reading);
// act.cpp
void read_operations(Section& root, Reading& reading);
void read_commands(Section& root, Reading& reading);
void read_remedies(Section& root, Reading& reading);
void read_guardrails(Section& root, Reading& reading);
void check_guardrails(Reading& reading);
void read_fleet(Section& root, Reading& reading);
void check_fleet(Reading& reading);
// permit.cpp
void read_allow(Section& root, Reading& reading);
void read_cleanups(Section& root, Reading& reading);
void read_sysctls(Section& root, Reading& reading);
void read_requests(Section& root, Reading& reading);
void read_maintenance(Section& root, Reading& reading);
void check_cleanups(Reading& reading);
// publish.cpp
void read_routing(Section& root, Reading& reading);  // and [[route]], [[inhibit]], ...
void read_notify(Section& root, Reading& reading);
// services.cpp
void read_services(Section& root, Reading& reading);
void check_services(Reading& reading);

}  // namespace nexus::config
