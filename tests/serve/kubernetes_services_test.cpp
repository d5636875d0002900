// Workloads of Kubernetes through /operations/services, down to the double of its API.
#include "rooms.hpp"
#include "support/kubernetes_bed.hpp"
#include "support/server.hpp"

using namespace nexus;
using namespace nexus::serve;
using namespace nexus::serve::test;

namespace {

/// The rooms beside a cluster with the deployment shop/web, of which the namespace is open.
struct Shop {
  Shop() : bed(nexus::test::KubernetesBed::of("1.34")), api(real, bed.access("admin")) {
    auto changed = *world.configuration;
    changed.connections.kubernetes.kubeconfig = bed.kubeconfig("admin");
    changed.connections.kubernetes.change_in = {name_space};
    changed.connections.kubernetes.timeout = 30s;
    world.configuration = std::make_shared<const config::Config>(std::move(changed));
    std::vector<config::Problem> problems;
    world.planner->configure(world.configuration,
                             plan::RemedySet::compile(*world.configuration, problems));
    world.executor->configure(world.configuration);
    world.executor->start();
    make("/api/v1/namespaces",
         R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":")" + name_space + "\"}}");
    make("/apis/apps/v1/namespaces/" + name_space + "/deployments",
         R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{
             "replicas":2,"selector":{"matchLabels":{"app":"web"}},
             "template":{"metadata":{"labels":{"app":"web"}},
                         "spec":{"containers":[{"name":"main","image":"app:1"}]}}}})");
  }
  ~Shop() { CHECK(bed.complaints() == ""); }
  Shop(const Shop&) = delete;
  Shop& operator=(const Shop&) = delete;

  void make(const std::string& path, const std::string& object) const {
    REQUIRE(api.request("POST", path, object, real.steady() + 60s));
  }
  js::value web() {
    Response answer;
    REQUIRE(nexus::test::eventually([&] {
      answer = world.get(at + "/status");
      if (answer.status < 500) return true;
      world.clock.advance(
          31s);  // on a busy machine it was late: for half a minute nobody asks again
      return false;
    }));
    return expect(answer);
  }
  /// Asks for it, and waits until it has ended; its outcome.
  js::value run(const std::string& verb, const std::string& body = "{}") {
    const auto id =
        std::string(expect(world.post(at + "/" + verb, body), 202).at("id").as_string());
    js::value action;
    REQUIRE(nexus::test::eventually([&] {
      action = expect(world.get("/operations/actions/" + id));
      return !action.at("finished").is_null();
    }));
    INFO(action);
    CHECK(action.at("state") == "succeeded");
    return action.at("outcome");
  }

  mutable base::SystemClock real;
  nexus::test::KubernetesBed& bed;
  const std::string name_space = bed.new_name_space();
  const std::string at = "/operations/services/kubernetes:" + name_space + "/deployment/web";
  const drivers::Kubernetes api;
  World world;
};

std::string text(const js::value& object, std::string_view member) {
  return std::string(object.at(member).as_string());
}

}  // namespace

TEST_CASE("services of Kubernetes are listed, restarted, scaled, rolled out and back by HTTP") {
  Shop shop;
  REQUIRE(nexus::test::eventually([&] { return shop.web().at("rollout") == "complete"; }));
  const auto state = shop.web();
  CHECK(state.at("kind") == "kubernetes");
  CHECK(state.at("condition") == "up");
  CHECK(state.at("description") == "app:1");
  CHECK(state.at("replicas") == 2);
  CHECK(state.at("can") == js::array{"restart", "scale", "roll out", "roll back"});
  // Only what would not be refused for what it is.
  shop.make("/apis/apps/v1/namespaces/" + shop.name_space + "/daemonsets",
            R"({"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{"name":"agent"},"spec":{
                "selector":{"matchLabels":{"app":"agent"}},
                "template":{"metadata":{"labels":{"app":"agent"}},
                            "spec":{"containers":[{"name":"main","image":"app:1"}]}}}})");
  CHECK(expect(shop.world.get("/operations/services/kubernetes:" + shop.name_space +
                              "/daemonset/agent/status"))
            .at("can") == js::array{"restart", "roll out", "roll back"});
  const auto list = expect(shop.world.get("/operations/services", {{"kind", "kubernetes"}}));
  CHECK(list.at("unavailable").as_array().empty());
  CHECK(std::ranges::any_of(list.at("services").as_array(), [&](const js::value& one) {
    return one.at("name") == state.at("name") && one.at("watched") == false;
  }));

  CHECK(text(shop.run("restart", R"({"dry_run":true})"), "would_do").contains("would replace"));
  CHECK(text(shop.run("restart", R"({"reason":"slow"})"), "result").contains("restarted"));
  shop.run("scale", R"({"replicas":3})");
  CHECK(shop.web().at("ready") == 3);
  shop.run("rollout", R"({"image":"app:2"})");
  CHECK(shop.web().at("description") == "app:2");
  shop.run("rollout", R"({"undo":true})");
  CHECK(shop.web().at("description") == "app:1");

  const auto refused =
      shop.world.post("/operations/services/kubernetes:other/deployment/web/restart");
  CHECK(message_of(refused, 403).contains("[kubernetes] change_in"));
  CHECK(message_of(shop.world.get("/operations/services/kubernetes:web/status"), 400)
            .contains("expected NAMESPACE/KIND/NAME"));
  CHECK(shop.world.get(shop.at + "x/status").status == 404);
}
