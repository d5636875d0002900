// [agent], [http] and [auth]: the process itself, who may speak to it and how.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nexus/config/values.hpp"

namespace nexus::config {

struct AgentSection {
  std::string data_dir = "/var/lib/nexus-agent";
  std::string log_level = "info";
  std::string log_format = "text";
  double cpu_budget_percent = 10;              // of one core
  std::uint64_t memory_budget = 256ULL << 20;  // resident bytes
  // Whose samples, alerts and reports these are, for whoever gets them from several hosts.
  StringMap external_labels = {};
  std::string external_url = {};  // under which people reach this agent
  bool operator==(const AgentSection&) const = default;
};

struct HttpSection {
  std::vector<std::string> listen = {"127.0.0.1:8060", "127.0.0.1:8061",
                                     "unix:/run/nexus-agent/agent.sock"};
  bool allow_insecure = false;  // needed to listen beyond loopback: there is no TLS yet
  std::vector<std::string> allowed_hosts =
      {};  // Host headers accepted besides loopback names and listen addresses
  std::uint32_t max_connections = 5000;
  std::uint32_t max_requests_per_connection = 10'000;
  std::uint64_t max_header_bytes = 8ULL << 10;
  std::uint64_t max_body_bytes = 64ULL << 10;
  Millis idle_timeout = 30s;
  Millis read_timeout = 10s;  // for one whole request, headers and body
  Millis write_timeout = 10s;
  bool operator==(const HttpSection&) const = default;
};

struct TokenConfig {
  std::string name;
  Role role = Role::kViewer;
  Secret token;
  bool operator==(const TokenConfig&) const = default;
};
struct AuthSection {
  Role anonymous_role = Role::kViewer;  // over TCP without a token
  std::vector<TokenConfig> tokens;      // [[auth.token]]
  bool operator==(const AuthSection&) const = default;
};

}  // namespace nexus::config
