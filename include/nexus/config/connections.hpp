// [postgres], [redis], [docker] and [kubernetes]: what the agent is connected to, for collectors
// that watch it and for actions on it.
//
// Secrets come from a file, the environment or a systemd credential, never from the configuration
// itself. A section that names no host is not configured. Thread safety: plain values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nexus/config/values.hpp"

namespace nexus::config {

struct PostgresSection {
  std::string host;  // name, address, or the directory of its unix socket; empty: not configured
  std::uint16_t port = 5432;
  std::string database = "postgres";
  std::string user = "nexus";
  Secret password;
  std::string tls = "prefer";  // libpq's sslmode
  std::string ca_file;
  std::string cert_file;
  std::string key_file;
  Millis timeout = 3s;                   // for one whole collection, connecting included
  Millis slow_interval = 60s;            // tables, sizes and statements
  std::uint32_t max_tables = 100;        // the largest
  std::uint32_t max_statements = 50;     // those that took the most time; 0: none
  std::uint32_t statement_length = 120;  // characters of their text; 0: no text
  bool operator==(const PostgresSection&) const = default;
};

struct RedisSection {
  std::string host;  // name, address, or the path of its unix socket; empty: not configured
  std::uint16_t port = 6379;
  std::string user;  // of an access control list; empty: the default user
  Secret password;
  std::uint32_t database = 0;
  Millis timeout = 2s;                 // for one whole collection, connecting included
  std::uint32_t slowlog_entries = 16;  // read at a time
  bool operator==(const RedisSection&) const = default;
};

struct DockerSection {
  bool enabled = true;
  /// Absolute path of the engine's socket; empty: Docker's own, while a dockerd runs.
  std::string socket;
  Millis timeout = 3s;
  std::uint32_t max_containers = 500;
  bool operator==(const DockerSection&) const = default;
};

struct KubernetesSection {
  bool enabled = true;
  /// Empty: the token of the pod that the agent runs in, if it does.
  std::string kubeconfig;
  std::string context;     // of the kubeconfig; empty: its current one
  std::string node;        // empty: NODE_NAME of the environment, else the host's name
  bool all_nodes = false;  // false: nodes, pods and events of this node only
  std::string name_space;  // `namespace`; empty: all
  Millis timeout = 4s;
  std::uint32_t max_pods = 1000;
  std::uint32_t max_objects = 5000;    // deployments, events
  std::vector<std::string> change_in;  // namespaces in which actions may change something
  std::string change_nodes = "none";   // own, all: which nodes they may cordon and drain
  bool operator==(const KubernetesSection&) const = default;
};

struct Connections {
  PostgresSection postgres;
  RedisSection redis;
  DockerSection docker;
  KubernetesSection kubernetes;
  bool operator==(const Connections&) const = default;
};

}  // namespace nexus::config
