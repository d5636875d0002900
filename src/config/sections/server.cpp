// [agent] and [http].
#include <fmt/core.h>

#include <set>

#include "config/sections/sections.hpp"
#include "config/shapes.hpp"

namespace nexus::config {
namespace {

constexpr std::int64_t kMost = 1'000'000;

void read_listen(Section& http, HttpSection& out) {
  const Node* node = http.texts("listen", out.listen, kListenAddress);
  if (node == nullptr) return;
  const auto& items = *node->as<Array>();
  if (items.empty()) http.expect("listen", *node, "at least one address");
  std::set<std::string> seen;
  for (std::size_t i = 0; i < items.size(); ++i) {
    http.report().note_place(fmt::format("http.listen[{}]", i), items[i].where);
    if (!seen.insert(out.listen[i]).second) http.expect("listen", items[i], "every address once");
  }
}

}  // namespace

void read_agent(Section& root, Reading& reading) {
  AgentSection& out = reading.config.agent;
  root.table("agent", [&](Section& agent) {
    agent.text("data_dir", out.data_dir);
    agent.choice("log_level", out.log_level, {"debug", "info", "warning", "error"});
    agent.choice("log_format", out.log_format, {"text", "json"});
    agent.number("cpu_budget_percent", out.cpu_budget_percent, {0, 10'000, true});
    agent.bytes("memory_budget", out.memory_budget, 16ULL << 20);
    read_labels(agent, "external_labels", out.external_labels);
    agent.text("external_url", out.external_url, kAnyText);
  });
}

void read_http(Section& root, Reading& reading) {
  HttpSection& out = reading.config.http;
  root.table("http", [&](Section& http) {
    read_listen(http, out);
    http.boolean("allow_insecure", out.allow_insecure);
    http.texts("allowed_hosts", out.allowed_hosts, kHostName);
    http.integer("max_connections", out.max_connections, 1, kMost);
    http.integer("max_requests_per_connection", out.max_requests_per_connection, 1, 1'000 * kMost);
    http.bytes("max_header_bytes", out.max_header_bytes, 1024);
    http.bytes("max_body_bytes", out.max_body_bytes, 1024);
    http.duration("idle_timeout", out.idle_timeout, {100ms, 24h});
    http.duration("read_timeout", out.read_timeout, {100ms, 24h});
    http.duration("write_timeout", out.write_timeout, {100ms, 24h});
  });
}

void check_http(Reading& reading) {
  const HttpSection& http = reading.config.http;
  if (http.allow_insecure) return;
  for (std::size_t i = 0; i < http.listen.size(); ++i) {
    if (is_loopback(http.listen[i])) continue;
    reading.report.add(reading.report.place_of(fmt::format("http.listen[{}]", i)),
                       fmt::format("http.listen: \"{}\" is reachable from other hosts, and there "
                                   "is no TLS; expected a loopback "
                                   "address, or http.allow_insecure = true",
                                   http.listen[i]));
  }
}

}  // namespace nexus::config
