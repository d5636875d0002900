// The Kubernetes client against tests/doubles/kubernetes_api, which validates what it is asked.
#include <fmt/core.h>

#include <catch2/catch.hpp>

#include "nexus/drivers/kubernetes.hpp"
#include "support/kubernetes_double.hpp"

using namespace nexus;
using namespace nexus::drivers;
using namespace std::chrono_literals;

namespace {

/// `count` pods on nodes n0 and n1 by turns.
std::string cluster(std::size_t count, std::string_view rules = R"(["*"])",
                    std::size_t note_bytes = 0) {
  std::string pods;
  for (std::size_t i = 0; i < count; ++i) {
    pods += fmt::format(
        R"({}{{"metadata":{{"name":"p{}","namespace":"shop","uid":"u{}","annotations":{{"note":"{}"}}}},
            "spec":{{"nodeName":"n{}"}}}})",
        i > 0 ? "," : "", i, i, std::string(note_bytes, 'n'), i % 2);
  }
  return fmt::format(
      R"({{"tokens":{{"secret-token":"watcher"}},"certificates":{{"client":"watcher"}},
          "rules":{{"watcher":{}}},"objects":{{"pods":[{}],"nodes":[],"deployments":[
            {{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"web","namespace":"shop",
              "generation":3}},"spec":{{"replicas":2}},"status":{{"replicas":2}}}}]}}}})",
      rules, pods);
}

struct Rig {
  explicit Rig(const std::string& state) : api_server(state) {}
  test::KubernetesDouble api_server;
  base::SystemClock clock;

  Kubernetes client(const std::string& user = "token: secret-token",
                    const std::string& authority = "ca.crt") {
    auto access = kubernetes_from_config(api_server.kubeconfig(user, authority), "");
    if (!access) FAIL(access.error().message());
    return {clock, *std::move(access)};
  }
  SteadyTime soon() const { return clock.steady() + 20s; }
};

std::string config_error(std::string_view user, std::string_view cluster = "server: https://a") {
  const test::TemporaryDirectory directory;
  const auto path = directory.write(
      "config", fmt::format("current-context: one\nclusters: [{{name: c, cluster: {{{}}}}}]\n"
                            "contexts: [{{name: one, context: {{cluster: c, user: u}}}}]\n"
                            "users: [{{name: u, user: {{{}}}}}]\n",
                            cluster, user));
  const auto access = kubernetes_from_config(path, "");
  return access ? "" : access.error().message();
}

}  // namespace

TEST_CASE("kubernetes: a list is read page by page, of one node or all, up to a limit") {
  Rig rig(cluster(600));
  const auto api = rig.client();
  const auto all = api.pods("", "", 1000, rig.soon());
  REQUIRE(all);
  CHECK(all->items.size() == 600);
  CHECK(all->left_out == 0);
  CHECK(all->items[599].name == "p599");
  CHECK(all->items[599].node == "n1");
  const auto some = api.pods("shop", "n1", 100, rig.soon());
  REQUIRE(some);
  CHECK(some->items.size() == 100);
  CHECK(some->left_out >= 1);  // a server does not count what a selector leaves
  CHECK(some->items[1].uid == "u3");
  CHECK(api.pods("other", "", 10, rig.soon())->items.empty());
  CHECK_FALSE(rig.api_server.requests().contains("complaint"));
}

TEST_CASE(
    "kubernetes: pages of large objects are halved until they fit, and none is lost or doubled") {
  Rig rig(cluster(150, R"(["*"])", 60'000));
  const auto api = rig.client();
  const auto all = api.pods("", "", 1000, rig.soon());
  REQUIRE(all);
  REQUIRE(all->items.size() == 150);
  for (std::size_t i = 0; i < 150; ++i) CHECK(all->items[i].name == fmt::format("p{}", i));
  const auto asked = rig.api_server.requests();
  CHECK(asked.contains("limit=100"));  // 6 MB
  CHECK(asked.contains("limit=50"));
}

TEST_CASE(
    "kubernetes: a token, a token that is renewed, a client certificate as file and as data") {
  Rig rig(cluster(1));
  CHECK(rig.client().pods("", "", 1, rig.soon()));
  CHECK(rig.client("client-certificate: client.crt\nclient-key: client.key")
            .pods("", "", 1, rig.soon()));
  std::ofstream(rig.api_server.file("token")) << "old\n";
  const auto renewed = rig.client("tokenFile: token");
  CHECK(renewed.pods("", "", 1, rig.soon()).error().code() == Errc::kPermissionDenied);
  std::ofstream(rig.api_server.file("token")) << "secret-token\n";
  CHECK(renewed.pods("", "", 1, rig.soon()));
}

TEST_CASE("kubernetes: who is unknown, may not, or meets another authority is told why") {
  Rig rig(cluster(1, R"(["list pods"])"));
  const auto unknown = rig.client("token: hunter2").pods("", "", 1, rig.soon());
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().code() == Errc::kPermissionDenied);
  CHECK(unknown.error().message().ends_with("Unauthorized (status 401)"));
  CHECK_FALSE(unknown.error().message().contains("hunter2"));
  const auto forbidden = rig.client().nodes("", 1, rig.soon());
  REQUIRE_FALSE(forbidden);
  CHECK(forbidden.error().code() == Errc::kPermissionDenied);
  CHECK(forbidden.error().message().contains("User \"watcher\" cannot list resource \"nodes\""));
  const auto stranger =
      rig.client("token: secret-token", "other-ca.crt").pods("", "", 1, rig.soon());
  REQUIRE_FALSE(stranger);
  CHECK(stranger.error().code() == Errc::kUnavailable);
  CHECK(stranger.error().message().contains("certificate"));
}

TEST_CASE("kubernetes: pages that expire, answers that are slow, huge, broken or no JSON") {
  Rig rig(cluster(600));
  const auto api = rig.client();
  rig.api_server.fault("/api/v1/pods", R"({"gone_after": 1})");
  CHECK(api.pods("", "", 1000, rig.soon())->items.size() == 600);
  rig.api_server.fault("/api/v1/pods", R"({"gone_after": 1000})");
  CHECK(api.pods("", "", 1000, rig.soon()).error().message().ends_with("(status 410)"));
  rig.api_server.fault("/api/v1/pods", R"({"delay": 3})");
  CHECK(api.pods("", "", 1000, rig.clock.steady() + 200ms).error().code() == Errc::kTimeout);
  rig.api_server.fault("/api/v1/pods", R"({"huge": 30000000})");
  CHECK(api.pods("", "", 1000, rig.soon()).error().code() == Errc::kExhausted);
  rig.api_server.fault("/api/v1/pods", R"({"close": true})");
  CHECK(api.pods("", "", 1000, rig.soon()).error().code() == Errc::kUnavailable);
  rig.api_server.fault("/api/v1/pods", R"({"body": "<html>a proxy</html>"})");
  CHECK(api.pods("", "", 1000, rig.soon()).error().code() == Errc::kCorrupt);
  rig.api_server.fault("/api/v1/pods", R"({"body": "{\"items\": 5}"})");
  CHECK(api.pods("", "", 1000, rig.soon()).error().code() == Errc::kCorrupt);
  rig.api_server.fault("/api/v1/pods", R"({"status": 503, "body": "no leader"})");
  CHECK(api.pods("", "", 1000, rig.soon()).error().code() == Errc::kUnavailable);
  rig.api_server.fault("/api/v1/pods", R"({"body": "{\"items\": [5, {}, {\"spec\": []}]}"})");
  CHECK(api.pods("", "", 1000, rig.soon())->items.size() == 3);
}

TEST_CASE("kubernetes: requests with JSON change things, and say what was refused") {
  Rig rig(cluster(1));
  const auto api = rig.client();
  const std::string path = "/apis/apps/v1/namespaces/shop/deployments/web";
  const auto scaled = api.request("PATCH", path + "/scale", R"({"spec":{"replicas":5}})",
                                  rig.soon(), "application/merge-patch+json");
  REQUIRE(scaled);
  CHECK(api.deployments("shop", 10, rig.soon())->items.at(0).wanted == 5);
  CHECK(
      api.request("PATCH", path, "{}", rig.soon()).error().message().contains("not a patch type"));
  CHECK(api.request("GET", path + "x", {}, rig.soon()).error().code() == Errc::kNotFound);
  CHECK(api.request("PUT", path,
                    R"({"apiVersion":"apps/v1","kind":"Deployment",
                        "metadata":{"name":"web","resourceVersion":"0"}})",
                    rig.soon())
            .error()
            .code() == Errc::kConflict);
}

TEST_CASE("kubernetes: a kubeconfig that cannot be used is refused with its reason") {
  CHECK(config_error("exec: {command: /bin/sh}").contains("user \"u\": exec would run a command"));
  CHECK(config_error("auth-provider: {name: gcp}").contains("auth-provider would run a command"));
  CHECK(config_error("username: a, password: hunter2").contains("no Kubernetes takes passwords"));
  CHECK_FALSE(config_error("username: a, password: hunter2").contains("hunter2"));
  CHECK(config_error("token: a", "server: 'http://a'").contains("begins with https://"));
  CHECK(config_error("token: a", "server: 'https://a', proxy-url: b").contains("proxy-url"));
  CHECK(config_error("client-key-data: '!'").contains("client-key-data: expected base64"));
  CHECK(config_error("token: a, x: [").contains(":4:"));
  CHECK(config_error("token: a").empty());
  CHECK(kubernetes_from_config("/nowhere", "").error().code() == Errc::kNotFound);
  const test::TemporaryDirectory directory;
  const auto scalar = directory.write("config", "just text");
  CHECK(kubernetes_from_config(scalar, "").error().message().contains("expected a table"));
  CHECK(kubernetes_from_config(directory.write("none", "a: b"), "x")
            .error()
            .message()
            .contains("context \"x\": there is none"));
}

TEST_CASE("kubernetes: in a pod the token and authority of its account are used") {
  const test::TemporaryDirectory root;
  host::Roots roots;
  roots.rootfs = root.path();
  CHECK(kubernetes_in_cluster(roots, "10.0.0.1", "443").error().code() == Errc::kNotFound);
  const std::string account = "var/run/secrets/kubernetes.io/serviceaccount/";
  root.write(account + "token", "abc");
  root.write(account + "namespace", "monitoring\n");
  const auto access = kubernetes_in_cluster(roots, "fd00::1", "443");
  REQUIRE(access);
  CHECK(access->server == "https://[fd00::1]:443");
  CHECK(access->name_space == "monitoring");
  CHECK(access->tls.ca_file.ends_with("/serviceaccount/ca.crt"));
  CHECK(kubernetes_in_cluster(roots, "", "").error().code() == Errc::kNotFound);
}

TEST_CASE("kubernetes: quantities") {
  CHECK(parse_quantity("100m") == Approx(0.1));
  CHECK(parse_quantity("2") == 2);
  CHECK(parse_quantity("1Gi") == 1073741824);
  CHECK(parse_quantity("128974848") == 128974848);
  CHECK(parse_quantity("1e3") == 1000);
  CHECK(parse_quantity("12E") == 12e18);
  CHECK(parse_quantity("500k") == 500'000);
  for (const auto* wrong : {"", "m", "Gi", "1x", "NaN", "1 Gi"}) CHECK_FALSE(parse_quantity(wrong));
}
