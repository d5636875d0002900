// Actions on a Kubernetes cluster, by the executor, on the bed of tests/support/kubernetes_bed.hpp.
#include <fmt/core.h>

#include <boost/json.hpp>
#include <catch2/catch.hpp>

#include "bench.hpp"
#include "execute/cluster.hpp"
#include "execute/node_step.hpp"
#include "nexus/drivers/kubernetes_control.hpp"
#include "nexus/execute/service_manager.hpp"
#include "nexus/host/privileged.hpp"
#include "support/kubernetes_bed.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;

namespace {

namespace json = boost::json;

/// A namespace with the deployment "web", rolled out, and an executor that may change it.
struct Cluster {
  Cluster()
      : bed(nexus::test::KubernetesBed::of(nexus::test::KubernetesBed::versions().back())),
        name_space(bed.new_name_space()),
        control(drivers::Kubernetes(clock, bed.access("admin")),
                {{name_space}, drivers::NodeScope::kAll, "n1"}) {
    auto& section = bench.config.connections.kubernetes;
    section.kubeconfig = bed.kubeconfig("admin");
    section.change_in = {name_space};
    section.change_nodes = "all";
    section.timeout = 30s;
    bench.configure();
    bench.executor->start();
    make("/api/v1/namespaces",
         fmt::format(R"({{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{}"}}}})",
                     name_space));
    make(fmt::format("/apis/apps/v1/namespaces/{}/deployments", name_space),
         R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},
             "spec":{"replicas":2,
                     "selector":{"matchLabels":{"app":"web"}},
                     "template":{"metadata":{"labels":{"app":"web"}},
                                 "spec":{"containers":[{"name":"main","image":"app:1"}]}}}})");
    REQUIRE(control.await_rollout(web, soon()));
  }
  ~Cluster() {
    std::ignore = control.api().request("DELETE", "/api/v1/namespaces/" + name_space, {},
                                        clock.steady() + 60s);
    CHECK(bed.complaints() == "");
  }
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  void make(const std::string& path, const std::string& object) const {
    REQUIRE(nexus::test::eventually([&] {
      return control.api().request("POST", path, object, clock.steady() + 60s).has_value();
    }));
  }
  /// All its actions want a place of a fleet's lock in its namespace, or none.
  void share_lock(bool shared) {
    bench.config.fleet = {};
    if (shared) {
      bench.config.fleet.lock = "kubernetes";
      bench.config.fleet.name_space = name_space;
      bench.config.fleet.timeout = 30s;
      bench.config.fleet.actions = {"*"};
    }
    bench.configure();
  }
  /// What the only lease says of how long it lasts.
  std::int64_t lease_seconds() const {
    const auto leases = control.api().request(
        "GET", fmt::format("/apis/coordination.k8s.io/v1/namespaces/{}/leases", name_space), {},
        clock.steady() + 60s);
    REQUIRE(leases);
    const auto items = json::parse(leases->body).at("items").as_array();
    REQUIRE(items.size() == 1);
    return items.at(0).at("spec").at("leaseDurationSeconds").as_int64();
  }
  /// Name and node of one pod of "web".
  std::pair<std::string, std::string> a_pod() const {
    const auto pods = control.api().request(
        "GET", fmt::format("/api/v1/namespaces/{}/pods?labelSelector=app%3Dweb", name_space), {},
        clock.steady() + 60s);
    REQUIRE(pods);
    const auto list = json::parse(pods->body);
    for (const auto& pod : list.at("items").as_array()) {
      if (!pod.at("metadata").as_object().contains("deletionTimestamp"))
        return {std::string(pod.at("metadata").at("name").as_string()),
                std::string(pod.at("spec").at("nodeName").as_string())};
    }
    FAIL("there is no pod of web");
    return {};
  }
  /// How long "web" may come no further before its rollout has failed.
  void give_time(int seconds) const {
    REQUIRE(control.api().request(
        "PATCH", fmt::format("/apis/apps/v1/namespaces/{}/deployments/web", name_space),
        fmt::format(R"({{"spec":{{"progressDeadlineSeconds":{}}}}})", seconds),
        clock.steady() + 60s, "application/merge-patch+json"));
  }
  drivers::KubernetesPatience soon() const { return {clock.steady() + 60s}; }
  std::string target(const std::string& name = "deployment/web") const {
    return fmt::format("kubernetes:{}/{}", name_space, name);
  }
  Action action(std::string type, const std::string& on, config::Parameters parameters = {}) {
    auto out = bench.action(on);
    out.type = std::move(type);
    out.parameters = std::move(parameters);
    out.timeout = 60s;
    return out;
  }
  Action run(std::string type, const std::string& on, config::Parameters parameters = {}) {
    return bench.run(action(std::move(type), on, std::move(parameters)));
  }
  /// The action of that id, once it has ended.
  Action ended(const std::string& id) {
    std::optional<Action> out;
    REQUIRE(nexus::test::eventually([&] {
      const std::lock_guard guard(bench.mutex);
      for (const auto& one : bench.finished) {
        if (one.id == id) out = one;
      }
      return out.has_value();
    }));
    return *out;
  }
  std::string dry(std::string type, const std::string& on, config::Parameters parameters = {}) {
    auto wanted = action(std::move(type), on, std::move(parameters));
    wanted.dry_run = true;
    const auto done = bench.run(std::move(wanted));
    return done.outcome.would_do + (done.state == ActionState::kFailed ? done.outcome.result : "");
  }
  std::string invalid(std::string type, const std::string& on, config::Parameters parameters = {}) {
    const auto ok = bench.executor->validate(action(std::move(type), on, std::move(parameters)));
    return ok ? "" : ok.error().message();
  }
  drivers::WorkloadStatus status() const {
    auto now = control.status(web, soon());
    if (!now) FAIL(now.error().message());
    return *now;
  }
  /// An action whose expression never holds: it is undone.
  Action run_in_vain(std::string type, const std::string& on, config::Parameters parameters) {
    auto wanted = action(std::move(type), on, std::move(parameters));
    wanted.verify = config::VerifyConfig{.expr = {.text = "vector(1) > 2"}, .within = 300ms};
    return bench.run(std::move(wanted));
  }
  StepContext context() {
    return {clock, nullptr, std::make_shared<const config::Config>(bench.config), bench.privileged};
  }

  nexus::test::KubernetesBed& bed;
  const std::string name_space;
  mutable base::SystemClock clock;
  Bench bench{clock};
  const drivers::KubernetesControl control;
  const drivers::Workload web{name_space, drivers::WorkloadKind::kDeployment, "web"};
};

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("kubernetes control: workloads are listed, restarted, scaled, updated and rolled back") {
  Cluster cluster;
  auto* manager = service_manager("kubernetes");
  REQUIRE(manager != nullptr);
  auto context = cluster.context();
  const auto all = manager->list(context, 1000, cluster.clock.steady() + 60s);
  REQUIRE(all);
  CHECK(std::ranges::any_of(*all, [&](const auto& one) { return one.name == cluster.target(); }));
  const auto state = manager->status(cluster.name_space + "/deployment/web", Look::kAtHand, context,
                                     cluster.clock.steady() + 60s);
  REQUIRE(state);
  CHECK(state->condition == ServiceCondition::kUp);
  CHECK(state->state == "2 of 2 available");
  CHECK(state->rollout == "complete");
  CHECK(manager->step(ServiceVerb::kStop) == nullptr);
  CHECK(manager->why_not(ServiceVerb::kStop).contains("scale_service"));

  CHECK(cluster.dry("restart_service", cluster.target())
            .contains("would replace the pods of " + cluster.name_space + "/deployment/web"));
  const auto restarted = cluster.run("restart_service", cluster.target());
  CHECK(restarted.state == ActionState::kSucceeded);
  CHECK(restarted.outcome.result.contains("2 of 2 replicas are available"));
  CHECK(cluster.status().restarted_at == base::to_rfc3339(*restarted.started));

  const auto scaled =
      cluster.run("scale_service", cluster.target(), {{"replicas", std::int64_t{3}}});
  CHECK(scaled.outcome.result.contains("from 2 to 3"));
  CHECK(cluster.status().available == 3);
  const auto vain =
      cluster.run_in_vain("scale_service", cluster.target(), {{"replicas", std::int64_t{1}}});
  CHECK(vain.state == ActionState::kUnverified);
  CHECK(vain.outcome.undone.contains("scaled to 3 again"));
  CHECK(cluster.status().wanted == 3);

  // More than the quota has room for never come up: what is given up is not wanted any more.
  cluster.make(fmt::format("/api/v1/namespaces/{}/resourcequotas", cluster.name_space),
               R"({"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"few"},
                   "spec":{"hard":{"pods":"4"}}})");
  const auto too_many = [&](const std::function<void(const Action&)>& end) {
    const auto nine =
        cluster.action("scale_service", cluster.target(), {{"replicas", std::int64_t{9}}});
    REQUIRE(cluster.bench.executor->submit(nine));
    REQUIRE(nexus::test::eventually([&] { return cluster.status().wanted == 9; }));
    end(nine);
    const auto ended = cluster.ended(nine.id);
    CHECK(ended.state == ActionState::kCancelled);
    CHECK_THAT(ended.outcome.result, Catch::Contains("it is scaled back to 3"));
    return ended.outcome.result;
  };
  too_many(
      [&](const Action& nine) { REQUIRE(cluster.bench.executor->cancel(nine.id, "a person")); });
  // The kill switch, while a place of the fleet is held: for as long as it may take, and be undone.
  std::atomic<bool> stopped{false};
  cluster.bench.executor->set_halted([&] { return stopped.load(); });
  cluster.share_lock(true);
  CHECK_THAT(too_many([&](const Action&) {
               CHECK(cluster.lease_seconds() == 60 + (30 + 60) + 60);  // done, undone, a minute
               stopped = true;
             }),
             Catch::Contains("operations were stopped"));
  cluster.share_lock(false);
  stopped = false;
  REQUIRE(cluster.control.api().request(
      "DELETE", fmt::format("/api/v1/namespaces/{}/resourcequotas/few", cluster.name_space), {},
      cluster.clock.steady() + 60s));
  CHECK(cluster.control.await_rollout(cluster.web, cluster.soon())->wanted == 3);

  const auto updated =
      cluster.run("rolling_update", cluster.target(), {{"image", std::string("app:2")}});
  CHECK(updated.state == ActionState::kSucceeded);
  CHECK(cluster.status().images.at("main") == "app:2");
  cluster.give_time(nexus::test::KubernetesBed::soon_failed());
  const auto failed =
      cluster.run("rolling_update", cluster.target(), {{"image", std::string("broken:1")}});
  cluster.give_time(600);
  CHECK(failed.state == ActionState::kFailed);
  CHECK(failed.outcome.result.contains("ProgressDeadlineExceeded"));
  CHECK(failed.outcome.result.contains("is set back to app:2"));
  CHECK(cluster.status().images.at("main") == "app:2");
  REQUIRE(cluster.control.await_rollout(cluster.web, cluster.soon(), {}, cluster.status().failure));
  CHECK(cluster.dry("rollback_deployment", cluster.target(), {{"revision", std::int64_t{2}}})
            .contains("revision 2 (app:1)"));
  const auto back =
      cluster.run("rollback_deployment", cluster.target(), {{"revision", std::int64_t{2}}});
  CHECK(back.state == ActionState::kSucceeded);
  CHECK(cluster.status().images.at("main") == "app:1");
}

TEST_CASE(
    "kubernetes control: autoscalers, quotas and resources are adjusted, and taken back in vain") {
  Cluster cluster;
  const std::string newest = nexus::test::KubernetesBed::is_real() ? "v2beta2" : "v2";
  const auto scalers = fmt::format("/apis/autoscaling/{}/namespaces/{}/horizontalpodautoscalers",
                                   newest, cluster.name_space);
  // One without a target for the CPU has none again afterwards.
  cluster.make(scalers, fmt::format(R"({{"apiVersion":"autoscaling/{}",
      "kind":"HorizontalPodAutoscaler","metadata":{{"name":"by-memory"}},
      "spec":{{"scaleTargetRef":{{"apiVersion":"apps/v1","kind":"Deployment","name":"web"}},
               "minReplicas":2,"maxReplicas":3,
               "metrics":[{{"type":"Resource","resource":{{"name":"memory",
                 "target":{{"type":"Utilization","averageUtilization":80}}}}}}]}}}})",
                                    newest));
  const auto cpu = cluster.run_in_vain("adjust_autoscaler", cluster.target(),
                                       {{"cpu_percent", std::int64_t{70}}});
  CHECK(cpu.outcome.undone.contains("has 2 to 3 replicas again"));
  const auto left = cluster.control.autoscaler(cluster.web, cluster.soon());
  REQUIRE(left);
  CHECK((*left)->name == "by-memory");
  CHECK_FALSE((*left)->cpu_percent);
  REQUIRE(cluster.control.api().request("DELETE", scalers + "/by-memory", {},
                                        cluster.clock.steady() + 60s));

  const config::Parameters bounds{{"min", std::int64_t{2}}, {"max", std::int64_t{4}}};
  const auto vain = cluster.run_in_vain("adjust_autoscaler", cluster.target(), bounds);
  CHECK(vain.outcome.undone.contains("is removed again"));
  CHECK(cluster.run("adjust_autoscaler", cluster.target(), bounds).state ==
        ActionState::kSucceeded);
  const config::Parameters more{{"raise_max_by", std::int64_t{3}}, {"at_most", std::int64_t{6}}};
  CHECK(cluster.dry("adjust_autoscaler", cluster.target(), more).contains("to 2 to 6 replicas"));
  const auto raised = cluster.run("adjust_autoscaler", cluster.target(), more);
  CHECK(raised.state == ActionState::kSucceeded);
  CHECK((*cluster.control.autoscaler(cluster.web, cluster.soon()))->max == 6);
  CHECK(cluster.run("adjust_autoscaler", cluster.target(), more)
            .outcome.result.contains("at_most is 6"));
  CHECK(cluster.run("scale_service", cluster.target(), {{"replicas", std::int64_t{3}}})
            .outcome.result.contains("adjust that one"));

  cluster.make(fmt::format("/api/v1/namespaces/{}/resourcequotas", cluster.name_space),
               R"({"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"most"},
                   "spec":{"hard":{"pods":"10"}}})");
  const config::Parameters quota{{"hard", Texts{"pods=20", "configmaps=5"}}};
  const auto taken_back =
      cluster.run_in_vain("adjust_quota", cluster.target("resourcequota/most"), quota);
  CHECK(taken_back.outcome.undone.contains("pods to 10"));
  const auto now = cluster.control.quota(cluster.name_space, "most", cluster.soon());
  REQUIRE(now);
  CHECK(now->hard == drivers::QuantityTexts{{"pods", "10"}});

  const config::Parameters memory{{"limits", Texts{"memory=256Mi"}},
                                  {"requests", Texts{"memory=128Mi"}}};
  const auto set = cluster.run("adjust_resources", cluster.target(), memory);
  CHECK(set.state == ActionState::kSucceeded);
  const auto refused =
      cluster.run("adjust_resources", cluster.target(), {{"limits", Texts{"memory=64Mi"}}});
  CHECK(refused.state == ActionState::kFailed);
  CHECK(refused.outcome.result.contains("the server holds it invalid"));
  const auto undone =
      cluster.run_in_vain("adjust_resources", cluster.target(), {{"limits", Texts{"memory=-"}}});
  CHECK(undone.outcome.undone.contains("memory to 256Mi"));
  CHECK(cluster.control.resources(cluster.web, cluster.soon())->at("main").limits ==
        drivers::QuantityTexts{{"memory", "256Mi"}});
}

TEST_CASE("kubernetes control: nodes are cordoned and drained, a stuck pod is deleted") {
  Cluster cluster;
  const auto vain = cluster.run_in_vain("cordon_node", "kubernetes:node/n1", {});
  CHECK(vain.outcome.undone.contains("node n1 is open"));
  CHECK(cluster.control.schedulable("n1", cluster.soon()) == true);
  const auto drained = cluster.run("drain_node", "kubernetes:node/n1");
  CHECK(drained.state == ActionState::kSucceeded);
  CHECK(drained.outcome.result.contains("drained node n1"));
  CHECK(cluster.control.schedulable("n1", cluster.soon()) == false);
  CHECK(cluster.run("uncordon_node", "kubernetes:node/n1").state == ActionState::kSucceeded);
  CHECK(cluster.control.schedulable("n1", cluster.soon()) == true);

  REQUIRE(cluster.control.await_rollout(cluster.web, cluster.soon()));
  const std::string target = cluster.target("pod/" + cluster.a_pod().first);
  CHECK(cluster.run("delete_pod", target).outcome.result.contains("is ready"));
  CHECK(cluster.run("delete_pod", target, {{"if_ready", true}}).outcome.result.contains("s old"));
  const auto deleted =
      cluster.run("delete_pod", target, {{"if_ready", true}, {"min_age", std::string("0s")}});
  CHECK(deleted.state == ActionState::kSucceeded);
  CHECK(deleted.outcome.result.contains("which ReplicaSet web-"));
}

TEST_CASE("kubernetes control: what is protected of a workload is its pods too") {
  Cluster cluster;
  const auto [pod, node] = cluster.a_pod();
  const auto protect = [&](const std::string& pattern) {
    cluster.bench.config.guardrails.protected_units = {pattern};
    cluster.bench.configure();
  };
  protect(cluster.target());
  const auto deleted = cluster.run("delete_pod", cluster.target("pod/" + pod),
                                   {{"if_ready", true}, {"min_age", std::string("0s")}});
  CHECK(deleted.state == ActionState::kFailed);
  CHECK_THAT(deleted.outcome.result, Catch::Contains("deployment/web is protected by"));
  const auto drained = cluster.run("drain_node", "kubernetes:node/" + node);
  CHECK(drained.state == ActionState::kFailed);
  CHECK_THAT(drained.outcome.result, Catch::Contains(pod + ": kubernetes:" + cluster.name_space +
                                                     "/deployment/web is protected by"));
  CHECK_THAT(cluster.dry("drain_node", "kubernetes:node/" + node),
             Catch::Contains("is protected by"));
  CHECK(cluster.control.schedulable(node, cluster.soon()) == true);
  CHECK(cluster.a_pod().first == pod);
  protect(cluster.target("pod/" + pod));
  CHECK_THAT(
      cluster.dry("drain_node", "kubernetes:node/" + node),
      Catch::Contains(fmt::format("{}: {} is protected by", pod, cluster.target("pod/" + pod))));
  protect("kubernetes:" + cluster.name_space + "/*");
  cluster.make(fmt::format("/api/v1/namespaces/{}/pods", cluster.name_space),
               fmt::format(R"({{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"alone"}},
                               "spec":{{"nodeName":"{}","terminationGracePeriodSeconds":1,
                                        "containers":[{{"name":"main","image":"app:1"}}]}}}})",
                           node));
  CHECK_THAT(
      cluster.dry("drain_node", "kubernetes:node/" + node, {{"unmanaged", true}}),
      Catch::Contains(fmt::format("alone: {} is protected by", cluster.target("pod/alone"))));
  CHECK(cluster.invalid("delete_pod", cluster.target("pod/" + pod)).contains("is protected by"));
  CHECK(cluster
            .invalid("adjust_quota", cluster.target("resourcequota/most"),
                     {{"hard", Texts{"pods=1"}}})
            .contains("is protected by"));
  protect("kubernetes:node/" + node);
  CHECK(cluster.invalid("cordon_node", "kubernetes:node/" + node).contains("is protected by"));
}

TEST_CASE("what is done to pods counts on their workload") {
  const auto account = [](const std::string& pod) { return pod_account({"shop", pod}); };
  CHECK(account("web-5f7c9d8b6-x2k9z") == "kubernetes:shop/deployment/web");
  CHECK(account("my-web-5f7c9d8b6-x2k9z") == "kubernetes:shop/deployment/my-web");
  CHECK(account("node-agent-x2k9z") == "kubernetes:shop/daemonset/node-agent");
  CHECK(account("db-0") == "kubernetes:shop/pod/db-0");
  CHECK(account("alone") == "kubernetes:shop/pod/alone");
  Cluster cluster;
  auto action = cluster.action("delete_pod", cluster.target("pod/" + cluster.a_pod().first));
  CHECK(cluster.bench.executor->account(action) == cluster.target());
}

TEST_CASE("kubernetes control: an undo takes back what its action made, and nothing else") {
  Cluster cluster;
  auto context = cluster.context();
  const auto cordon = make_node_step(NodeWish::kCordon);
  auto action = cluster.action("cordon_node", "kubernetes:node/n2");
  const auto undo = [&](bool before, std::optional<bool> after) {
    action.outcome.before = fmt::format(R"({{"schedulable":{}}})", before);
    action.outcome.after = after ? fmt::format(R"({{"schedulable":{}}})", *after) : "";
    const auto undone = cordon->undo(action, context);
    return undone ? *undone : undone.error().message();
  };
  CHECK(undo(true, false) == "undone: node n2 is open to new pods, as before");
  REQUIRE(cluster.control.set_schedulable("n2", false, cluster.soon()));
  CHECK(undo(true, true).contains("was not closed by it"));  // somebody else has
  CHECK(undo(false, false).contains("was not closed by it"));
  CHECK(cluster.control.schedulable("n2", cluster.soon()) == false);
  CHECK(undo(true, std::nullopt) == "undone: node n2 is open to new pods");
  CHECK(cluster.control.schedulable("n2", cluster.soon()) == true);

  // Without evidence the image that is there is not the one of before.
  auto* rollout = service_manager("kubernetes")->step(ServiceVerb::kRollout);
  REQUIRE(rollout != nullptr);
  auto update =
      cluster.action("rolling_update", cluster.target(), {{"image", std::string("app:1")}});
  update.outcome.before = R"({"error":"nobody answered"})";
  const auto back = rollout->undo(update, context);
  REQUIRE_FALSE(back);
  CHECK_THAT(back.error().message(), Catch::Contains("which image it had is not known"));
}

TEST_CASE("kubernetes control: an undo that a crash cut off is brought to its end") {
  Cluster cluster;
  auto context = cluster.context();
  // Done, and undone as far as the cluster: as it was before, and nobody has written it down.
  const auto again = [&](Step& step, const std::string& type, const std::string& target,
                         config::Parameters parameters, const std::string& said,
                         const std::function<void()>& theirs) {
    CAPTURE(type, target);
    auto action = cluster.action(type, target, std::move(parameters));
    action.outcome.before = step.evidence(action, context);
    const StepRun run{.deadline = cluster.clock.steady() + 60s,
                      .cancelled = [] { return false; },
                      .leaving = [] { return false; },
                      .begun = [] {}};
    if (const auto done = step.run(action, context, run); !done) FAIL(done.error().message());
    const auto first = step.undo(action, context);
    if (!first) FAIL(first.error().message());
    CHECK_THAT(*first, !Catch::Contains("as before"));
    const auto second = step.undo(action, context);
    if (!second) FAIL(second.error().message());
    CHECK_THAT(*second, Catch::StartsWith("undone") && Catch::Contains(said));
    theirs();
    const auto kept = step.undo(action, context);
    REQUIRE_FALSE(kept);
    CHECK(kept.error().code() == Errc::kConflict);
    return action;
  };
  auto* manager = service_manager("kubernetes");
  const auto patience = [&] { return cluster.soon(); };
  again(*manager->step(ServiceVerb::kScale), "scale_service", cluster.target(),
        {{"replicas", std::int64_t{3}}}, "is scaled to 2, as before",
        [&] { REQUIRE(cluster.control.scale(cluster.web, 1, patience())); });
  auto& rollout = *manager->step(ServiceVerb::kRollout);
  const auto set_image = [&](const std::string& image) {
    REQUIRE(cluster.control.set_images(cluster.web, {{"main", image}}, patience()));
  };
  const auto update =
      again(rollout, "rolling_update", cluster.target(), {{"image", std::string("app:2")}},
            "has app:1, as before", [&] { set_image("app:3"); });
  // The agent ended while the rollout to the old image went on: it is awaited now.
  set_image("app:1");
  REQUIRE(rollout.undo(update, context));
  CHECK(cluster.status().phase == drivers::RolloutPhase::kComplete);

  const auto resources = find_action("adjust_resources")->make();
  again(*resources, "adjust_resources", cluster.target(), {{"limits", Texts{"memory=64Mi"}}},
        "memory away, as before", [&] {
          REQUIRE(cluster.control.set_resources(cluster.web, "main", {}, {{"memory", "96Mi"}},
                                                patience()));
        });
  cluster.make(fmt::format("/api/v1/namespaces/{}/resourcequotas", cluster.name_space),
               R"({"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"most"},
                   "spec":{"hard":{"pods":"10"}}})");
  const auto quota = find_action("adjust_quota")->make();
  again(*quota, "adjust_quota", cluster.target("resourcequota/most"),
        {{"hard", Texts{"pods=20", "configmaps=5"}}}, "pods to 10, as before", [&] {
          REQUIRE(
              cluster.control.set_quota(cluster.name_space, "most", {{"pods", "30"}}, patience()));
        });
  const auto scaler = find_action("adjust_autoscaler")->make();
  const auto bound = [&](std::uint32_t max) {
    REQUIRE(cluster.control.set_autoscaler(cluster.web, {.max = max}, patience()));
  };
  again(*scaler, "adjust_autoscaler", cluster.target(), {{"max", std::int64_t{4}}},
        "is not there, as before", [&] { bound(5); });
  again(*scaler, "adjust_autoscaler", cluster.target(),
        {{"max", std::int64_t{8}}, {"cpu_percent", std::int64_t{70}}}, "is as before",
        [&] { bound(6); });
}

TEST_CASE("kubernetes control: a change whose answer does not come is taken back all the same") {
  if (nexus::test::KubernetesBed::is_real()) return;  // a real one does not lose answers at will
  Cluster cluster;
  const auto path =
      fmt::format("PATCH /apis/apps/v1/namespaces/{}/deployments/web", cluster.name_space);
  // Later than the action may take.
  cluster.bed.as_double()->fault_beside(
      path, R"({"times": 1, "answer": {"status": 503, "retry_after": 3600}})");
  const auto update =
      cluster.run("rolling_update", cluster.target(), {{"image", std::string("app:2")}});
  CHECK(update.state == ActionState::kFailed);
  CHECK_THAT(update.outcome.result, Catch::Contains("it was changed all the same") &&
                                        Catch::Contains("is set back to app:1"));
  CHECK(cluster.status().images.at("main") == "app:1");
  cluster.bed.as_double()->fault_beside(
      path, R"({"times": 1, "answer": {"status": 503, "retry_after": 3600}})");
  const auto resources =
      cluster.run("adjust_resources", cluster.target(), {{"limits", Texts{"memory=64Mi"}}});
  CHECK_THAT(resources.outcome.result, Catch::Contains("it was changed all the same; set back"));
  CHECK(cluster.control.resources(cluster.web, cluster.soon())->at("main").limits.empty());
  const auto scalers = fmt::format("/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
                                   cluster.name_space);
  cluster.bed.as_double()->fault_beside(
      "POST " + scalers, R"({"times": 1, "answer": {"status": 503, "retry_after": 3600}})");
  const auto scaler =
      cluster.run("adjust_autoscaler", cluster.target(), {{"max", std::int64_t{4}}});
  CHECK(scaler.state == ActionState::kFailed);
  CHECK_THAT(scaler.outcome.result, Catch::Contains("undone: the autoscaler web is removed again"));
  CHECK_FALSE(cluster.control.autoscaler(cluster.web, cluster.soon())->has_value());
  cluster.bed.as_double()->fault_beside(path, "{}");
}

TEST_CASE("kubernetes control: what may not be touched is refused before anything is sent") {
  Cluster cluster;
  CHECK(cluster.invalid("restart_service", "kubernetes:other/deployment/web")
            .contains("[kubernetes] change_in"));
  CHECK(cluster.invalid("restart_service", "kubernetes:kube-system/deployment/coredns")
            .contains("is protected"));
  CHECK(cluster.invalid("restart_service", "kubernetes:web").contains("NAMESPACE/KIND/NAME"));
  CHECK(cluster
            .invalid("scale_service", cluster.target("daemonset/agent"),
                     {{"replicas", std::int64_t{2}}})
            .contains("cannot be scaled"));
  CHECK(cluster.invalid("adjust_quota", cluster.target(), {{"hard", Texts{"pods=1"}}})
            .contains("kubernetes:NAMESPACE/resourcequota/NAME"));
  CHECK(cluster
            .invalid("adjust_quota", cluster.target("resourcequota/a"),
                     {{"hard", Texts{"pods is 1"}}})
            .contains("expected NAME=QUANTITY"));
  CHECK(cluster.invalid("adjust_autoscaler", cluster.target()).contains("raise_max_by"));
  CHECK(cluster.invalid("delete_pod", "kubernetes:other/pod/a").contains("change_in"));
  cluster.bench.config.connections.kubernetes.change_nodes = "none";
  cluster.bench.configure();
  CHECK(cluster.invalid("drain_node", "kubernetes:node/n1").contains("change_nodes"));
  CHECK(cluster.status().generation == 1);
}

TEST_CASE("kubernetes control: a restart of the agent learns what became of a rollout") {
  Cluster cluster;
  auto context = cluster.context();
  auto* step = service_manager("kubernetes")->step(ServiceVerb::kRestart);
  auto action = cluster.action("restart_service", cluster.target());
  action.started = cluster.clock.wall();
  action.outcome.before = step->evidence(action, context);
  std::string what;
  CHECK(step->recover(action, context, what) == Recovered::kNotDone);
  REQUIRE(cluster.control.restart(cluster.web, base::to_rfc3339(*action.started), cluster.soon()));
  const auto became = step->recover(action, context, what);
  CHECK((became == Recovered::kUnderWay || became == Recovered::kDone));
  REQUIRE(cluster.control.await_rollout(cluster.web, cluster.soon()));
  CHECK(step->recover(action, context, what) == Recovered::kDone);
  // Another object of the name is not what was looked at.
  json::object other = json::parse(action.outcome.before).as_object();
  other["instance"] = "0-0";
  action.outcome.before = json::serialize(other);
  const StepRun run{.deadline = cluster.clock.steady() + 60s,
                    .cancelled = [] { return false; },
                    .leaving = [] { return false; },
                    .begun = [] {}};
  const auto refused = step->run(action, context, run);
  CHECK(refused.error().code() == Errc::kConflict);
  CHECK(refused.error().message().contains("is another one now"));
}
