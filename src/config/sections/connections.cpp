// [postgres], [redis], [docker] and [kubernetes]. No message shows what was written as a value
// here: it may be a secret in the wrong place.
#include <fmt/core.h>

#include <array>

#include "config/secret.hpp"
#include "config/sections/sections.hpp"
#include "config/shapes.hpp"
#include "nexus/config/name_space.hpp"

namespace nexus::config {
namespace {

constexpr Period kTimeout{100ms, 60s};
constexpr std::int64_t kMost = 100'000;

bool is_peer(std::string_view text) {
  return text.empty() || text.starts_with('/') || kHostName.accepts(text);
}
bool is_path_or_nothing(std::string_view text) {
  return text.empty() || text.starts_with('/');
}

bool may_be_opened(std::string_view text) {
  return is_name_space(text) && !is_protected_name_space(text);
}

const Shape kOpenNameSpace{may_be_opened,
                           "the name of a namespace (not kube-system, kube-public or "
                           "kube-node-lease, which are protected)"};
const Shape kServerOrDirectory{
    is_peer, "a host name, an address, or the absolute path of the directory of a unix socket"};
const Shape kServerOrSocket{is_peer,
                            "a host name, an address, or the absolute path of a unix socket"};
const Shape kOptionalPath{is_path_or_nothing, "an absolute path, or \"\" for none"};

// hiredis of Debian 12 (0.14) has no libhiredis_ssl; to talk in clear text to who wants TLS, or
// silently without, would be worse than to refuse.
constexpr std::array<std::string_view, 4> kRedisTls = {"tls", "ca_file", "cert_file", "key_file"};
constexpr std::string_view kNoRedisTls =
    "Redis over TLS is not possible: expected its unix socket, its plain port on loopback, or that "
    "of a local stunnel";

constexpr std::array<std::string_view, 3> kSources = {"_file", "_env", "_credential"};

}  // namespace

void read_secret(Section& section, Reading& reading, std::string_view name, Secret& out) {
  const auto expected = fmt::format("at most one of {0}_file, {0}_env and {0}_credential", name);
  if (section.take(name) != nullptr) {
    section.complain(name,
                     fmt::format("a secret does not belong into this file; expected {}", expected));
  }
  std::string source;
  std::string value;
  int given = 0;
  for (const auto ending : kSources) {
    const auto key = fmt::format("{}{}", name, ending);
    if (section.has(key)) ++given;
    if (section.text(key, value) != nullptr) source = key;
  }
  if (given > 1) {
    section.complain(source, fmt::format("expected {}", expected));
    return;
  }
  if (source.empty()) return;  // none, or of a wrong type and reported
  auto secret =
      secret_of(std::string_view(source).substr(source.rfind('_') + 1), value, reading.options);
  if (secret && secret->empty()) secret = fail(Errc::kInvalidArgument, "the secret is empty");
  if (!secret) {
    section.complain(source, secret.error().message());
    return;
  }
  out = Secret(*std::move(secret));
}

void read_postgres(Section& root, Reading& reading) {
  PostgresSection& out = reading.config.connections.postgres;
  root.table(
      "postgres",
      [&](Section& postgres) {
        postgres.text("host", out.host, kServerOrDirectory);
        postgres.integer("port", out.port, 1, 65535);
        postgres.text("database", out.database);
        postgres.text("user", out.user);
        read_secret(postgres, reading, "password", out.password);
        postgres.choice("tls", out.tls,
                        {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"});
        postgres.text("ca_file", out.ca_file, kOptionalPath);
        postgres.text("cert_file", out.cert_file, kOptionalPath);
        postgres.text("key_file", out.key_file, kOptionalPath);
        postgres.duration("timeout", out.timeout, kTimeout);
        postgres.duration("slow_interval", out.slow_interval, {1s, 24h});
        postgres.integer("max_tables", out.max_tables, 0, kMost);
        postgres.integer("max_statements", out.max_statements, 0, kMost);
        postgres.integer("statement_length", out.statement_length, 0, 4096);
      },
      Disclosure::kTypesOnly);
}

void read_redis(Section& root, Reading& reading) {
  RedisSection& out = reading.config.connections.redis;
  root.table(
      "redis",
      [&](Section& redis) {
        redis.text("host", out.host, kServerOrSocket);
        for (const auto key : kRedisTls) {
          if (redis.has(key) && redis.take(key) != nullptr) redis.complain(key, kNoRedisTls);
        }
        redis.integer("port", out.port, 1, 65535);
        redis.text("user", out.user, kAnyText);
        read_secret(redis, reading, "password", out.password);
        redis.integer("database", out.database, 0, 1'000'000);
        redis.duration("timeout", out.timeout, kTimeout);
        redis.integer("slowlog_entries", out.slowlog_entries, 0, 1000);
      },
      Disclosure::kTypesOnly);
}

void read_docker(Section& root, Reading& reading) {
  DockerSection& out = reading.config.connections.docker;
  root.table("docker", [&](Section& docker) {
    docker.boolean("enabled", out.enabled);
    docker.text("socket", out.socket, kOptionalPath);
    docker.duration("timeout", out.timeout, kTimeout);
    docker.integer("max_containers", out.max_containers, 1, kMost);
  });
}

void read_kubernetes(Section& root, Reading& reading) {
  KubernetesSection& out = reading.config.connections.kubernetes;
  if (reading.options.environment && out.node.empty())
    out.node = reading.options.environment("NODE_NAME").value_or("");
  root.table("kubernetes", [&](Section& kubernetes) {
    kubernetes.boolean("enabled", out.enabled);
    kubernetes.text("kubeconfig", out.kubeconfig, kOptionalPath);
    kubernetes.text("context", out.context, kAnyText);
    kubernetes.text("node", out.node, kAnyText);
    kubernetes.boolean("all_nodes", out.all_nodes);
    kubernetes.text("namespace", out.name_space, kAnyText);
    kubernetes.duration("timeout", out.timeout, kTimeout);
    kubernetes.integer("max_pods", out.max_pods, 1, kMost);
    kubernetes.integer("max_objects", out.max_objects, 1, kMost);
    kubernetes.texts("change_in", out.change_in, kOpenNameSpace);
    kubernetes.choice("change_nodes", out.change_nodes, {"none", "own", "all"});
  });
}

}  // namespace nexus::config
