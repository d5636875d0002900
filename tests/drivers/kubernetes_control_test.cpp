// What may be changed in a cluster, against the double in every run, and the same against a real
// API server with its controllers by `./test --kubernetes`: see tests/support/kubernetes_bed.hpp.
#include <fmt/core.h>

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <set>

#include "drivers/kubernetes_calls.hpp"
#include "drivers/kubernetes_watch.hpp"
#include "kubernetes_rig.hpp"
#include "nexus/drivers/kubernetes_control.hpp"

using namespace nexus;
using namespace nexus::drivers;
using namespace std::chrono_literals;

namespace {

namespace json = boost::json;

using Rig = test::KubernetesRig;

template <typename T>
std::string error_of(const Result<T>& result) {
  return result ? "no error" : result.error().message();
}

/// Where versions of the API matter: the oldest and the newest.
#define FOR_EACH_SERVER(version)                                    \
  for (const std::string version : test::KubernetesBed::versions()) \
  DYNAMIC_SECTION("server " << version)

std::string any_server() {
  return test::KubernetesBed::versions().front();
}

/// Whether an operation that cannot come to its end in time says so. A slow machine may not come as
/// far as to know why: it is given twice as long each time.
bool says_late(std::string_view why, const auto& operation) {
  for (Millis limit = 250ms; limit < 120s; limit *= 2) {
    const auto late = operation(limit);
    if (late || late.error().code() != Errc::kTimeout) return false;
    if (late.error().message().contains(why)) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("kubernetes control: a restart is a new rollout, awaited by watch, once for one stamp") {
  const Rig rig(any_server());
  CHECK(rig.control.server_version(rig.patience())->starts_with("v1."));
  const Workload web = rig.running("web");
  const auto before = rig.pods("web");
  CHECK(before.size() == 2);
  std::set<RolloutPhase> seen;
  std::string stamp;
  Result<WorkloadStatus> done = fail(Errc::kUnavailable, "not asked");
  // On a busy machine a rollout may have ended before the first look at it: then another one.
  for (std::uint64_t i = 0; i < 10 && !seen.contains(RolloutPhase::kProgressing); ++i) {
    stamp = fmt::format("2026-11-26T05:00:0{}Z", i);
    const auto restarted = rig.control.restart(web, stamp, rig.patience());
    REQUIRE(restarted);
    CHECK(restarted->restarted_at == stamp);
    done = rig.control.await_rollout(web, rig.patience(),
                                     [&](const WorkloadStatus& now) { seen.insert(now.phase); });
    REQUIRE(done);
    CHECK(done->available == 2);
    CHECK(done->revision == 2 + i);
  }
  CHECK(seen.contains(RolloutPhase::kProgressing));
  for (const auto& pod : rig.pods("web")) CHECK_FALSE(before.contains(pod));
  const auto again = rig.control.restart(web, stamp, rig.patience());
  REQUIRE(again);
  CHECK(again->generation == done->generation);
  REQUIRE(rig.api.request("PATCH", rig.in("/apis/apps/v1", "deployments/web"),
                          R"({"spec":{"paused":true}})", rig.soon(), kMergePatch));
  const auto paused = rig.control.restart(web, "2026-11-26T06:00:00Z", rig.patience());
  CHECK(paused.error().code() == Errc::kConflict);
  CHECK(error_of(paused).contains("is paused"));
  CHECK(error_of(rig.control.await_rollout(web, rig.patience())).contains("paused"));
  CHECK(rig.control.restart(rig.workload("none"), "x", rig.patience()).error().code() ==
        Errc::kNotFound);
}

TEST_CASE("kubernetes control: a rollout goes back to the revision before, or to a named one") {
  const Rig rig(any_server());
  const Workload web = rig.running("web");
  CHECK(rig.control.undo(web, 0, rig.patience()).error().code() == Errc::kNotFound);
  for (const auto* image : {"app:2", "app:3"}) {
    REQUIRE(rig.control.set_images(web, {{"main", image}}, rig.patience()));
    rig.await(web);
  }
  CHECK(rig.control.set_images(web, {{"other", "app:4"}}, rig.patience()).error().code() ==
        Errc::kNotFound);
  const auto revisions = rig.control.revisions(web, rig.patience());
  REQUIRE(revisions);
  REQUIRE(revisions->size() == 3);
  CHECK((*revisions)[0].number == 3);
  CHECK((*revisions)[2].images.at("main") == "app:1");
  const auto undone = rig.control.undo(web, 0, rig.patience());
  REQUIRE(undone);
  CHECK(undone->from == 3);
  CHECK(undone->to == 2);
  CHECK(undone->changed);
  CHECK(rig.await(web).images.at("main") == "app:2");
  CHECK(rig.control.undo(web, 1, rig.patience())->changed);
  const auto first = rig.await(web);
  CHECK(first.images.at("main") == "app:1");
  CHECK(first.revision == 5);
  CHECK_FALSE(rig.control.undo(web, 5, rig.patience())->changed);
  const auto unknown = rig.control.undo(web, 1, rig.patience());
  CHECK(error_of(unknown).contains("there is no revision 1, but 5, 4, 3"));
}

TEST_CASE("kubernetes control: a rollout that does not get on is said to have failed, or be late") {
  const Rig rig(any_server());
  const Workload web = rig.running("web", 1);
  rig.give_time(web, test::KubernetesBed::soon_failed());
  REQUIRE(rig.control.set_images(web, {{"main", "broken:1"}}, rig.patience()));
  const auto failed = rig.control.await_rollout(web, rig.patience());
  CHECK(failed.error().code() == Errc::kConflict);
  CHECK(error_of(failed).contains("failed: ProgressDeadlineExceeded"));
  rig.give_time(web, 600);
  // What the controller says of it stays until the next rollout gets on.
  const auto failure = rig.control.status(web, rig.patience())->failure;
  CHECK(failure.contains(" ProgressDeadlineExceeded: "));
  CHECK(rig.control.undo(web, 0, rig.patience())->changed);
  CHECK(rig.await(web, failure).failure.empty());
  rig.make_workload("slow", 1, "Deployment", "broken:1");
  CHECK(says_late("not complete in time: ", [&](Millis limit) {
    return rig.control.await_rollout(rig.workload("slow"), rig.patience(limit));
  }));
  bool asked = false;
  const auto cancelled =
      rig.control.await_rollout(rig.workload("slow"), {rig.soon(), [&] { return asked = true; }});
  CHECK(asked);
  CHECK(cancelled.error().code() == Errc::kCancelled);
  CHECK(rig.control.await_rollout(rig.workload("none"), rig.patience()).error().code() ==
        Errc::kNotFound);
}

TEST_CASE("kubernetes control: stateful sets and daemon sets restart and go back too") {
  const Rig rig(any_server());
  rig.make_workload("db", 2, "StatefulSet");
  rig.make_workload("node-agent", 0, "DaemonSet");
  for (const auto& what : {rig.workload("db", WorkloadKind::kStatefulSet),
                           rig.workload("node-agent", WorkloadKind::kDaemonSet)}) {
    CAPTURE(to_string(what));
    rig.await(what);
    const auto before = rig.pods(what.name);
    CHECK(before.size() == 2);
    REQUIRE(rig.control.restart(what, "2026-11-26T05:00:00Z", rig.patience()));
    rig.await(what);
    for (const auto& pod : rig.pods(what.name)) CHECK_FALSE(before.contains(pod));
    REQUIRE(rig.control.set_images(what, {{"main", "app:2"}}, rig.patience()));
    rig.await(what);
    const auto undone = rig.control.undo(what, 0, rig.patience());
    REQUIRE(undone);
    CHECK(undone->from == 3);
    CHECK(undone->to == 2);
    const auto status = rig.await(what);
    CHECK(status.images.at("main") == "app:1");
    CHECK(status.restarted_at == "2026-11-26T05:00:00Z");
  }
  const auto all = rig.control.workloads(rig.name_space, 10, rig.patience());
  REQUIRE(all);
  CHECK(all->items.size() == 2);
  CHECK(rig.control.scale(rig.workload("node-agent", WorkloadKind::kDaemonSet), 2, rig.patience())
            .error()
            .code() == Errc::kUnsupported);
  CHECK(rig.control.scale(rig.workload("db", WorkloadKind::kStatefulSet), 1, rig.patience()) == 2U);
  rig.make_workload("by-hand", 0, "DaemonSet", "app:1", R"("updateStrategy":{"type":"OnDelete"},)");
  const auto by_hand = rig.workload("by-hand", WorkloadKind::kDaemonSet);
  CHECK(error_of(rig.control.restart(by_hand, "now", rig.patience())).contains("OnDelete"));
  CHECK(rig.control.set_images(by_hand, {{"main", "app:2"}}, rig.patience()).error().code() ==
        Errc::kUnsupported);
}

TEST_CASE("kubernetes control: scaling, and the autoscaler that would undo it") {
  FOR_EACH_SERVER(version) {
    const Rig rig(version);
    const Workload web = rig.running("web");
    CHECK(rig.control.scale(web, 3, rig.patience()) == 2U);
    CHECK(rig.await(web).available == 3);
    CHECK(rig.control.scale(web, 3, rig.patience()) == 3U);
    CHECK(rig.control.autoscaler(web, rig.patience())->has_value() == false);
    CHECK(rig.control.set_autoscaler(web, {.min = 2}, rig.patience()).error().code() ==
          Errc::kInvalidArgument);
    const auto made =
        rig.control.set_autoscaler(web, {.min = 2, .max = 5, .cpu_percent = 70}, rig.patience());
    if (!made) FAIL(made.error().message());
    CHECK_FALSE(made->before);
    CHECK(made->after.cpu_percent == 70U);
    const auto refused = rig.control.scale(web, 2, rig.patience());
    CHECK(refused.error().code() == Errc::kConflict);
    CHECK(error_of(refused).contains("the autoscaler web scales it (2 to 5 replicas)"));
    const auto adjusted =
        rig.control.set_autoscaler(web, {.max = 8, .cpu_percent = 60}, rig.patience());
    if (!adjusted) FAIL(adjusted.error().message());
    CHECK(adjusted->before->max == 5);
    CHECK(adjusted->after.min == 2);
    CHECK(adjusted->after.max == 8);
    CHECK(adjusted->after.cpu_percent == 60U);
    CHECK(rig.control.set_autoscaler(web, {.min = 9}, rig.patience()).error().code() ==
          Errc::kInvalidArgument);
    CHECK(rig.control.remove_autoscaler(rig.name_space, "web", "another", rig.patience())
              .error()
              .code() == Errc::kConflict);
    CHECK(rig.control.remove_autoscaler(rig.name_space, "web", made->after.uid, rig.patience()));
    CHECK(rig.control.scale(web, 0, rig.patience()) == 3U);
    CHECK(rig.await(web).wanted == 0);
    const auto impossible = rig.api.request("PATCH", rig.in("/apis/apps/v1", "deployments/web"),
                                            R"({"spec":{"replicas":-1}})", rig.soon(), kMergePatch);
    CHECK(impossible.error().code() == Errc::kInvalidArgument);
    CHECK(error_of(impossible).contains("the server holds it invalid: "));
    CHECK(error_of(impossible).contains("; spec.replicas: "));
  }
}

TEST_CASE("kubernetes control: quotas, requests and limits are set, and set back") {
  const Rig rig(any_server());
  rig.make(rig.in("/api/v1", "resourcequotas"),
           R"({"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"most"},
               "spec":{"hard":{"pods":"2","requests.cpu":"4"}}})");
  const auto old = rig.control.set_quota(
      rig.name_space, "most", {{"pods", "3"}, {"requests.cpu", std::nullopt}}, rig.patience());
  if (!old) FAIL(old.error().message());
  CHECK(old->hard == QuantityTexts{{"pods", "2"}, {"requests.cpu", "4"}});
  CHECK(rig.control.quota(rig.name_space, "most", rig.patience())->hard ==
        QuantityTexts{{"pods", "3"}});
  REQUIRE(rig.control.set_quota(rig.name_space, "most", {{"pods", "2"}}, rig.patience()));
  CHECK(error_of(rig.control.set_quota(rig.name_space, "most", {{"pods", "2 x"}}, rig.patience()))
            .contains("\"2 x\" is no quantity"));
  const Workload web = rig.running("web");
  std::string refused;
  REQUIRE(test::eventually([&] {  // the quota's own count follows a little later
    const auto third =
        rig.api.request("POST", rig.in("/api/v1", "pods"),
                        R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"third"},
            "spec":{"containers":[{"name":"main","image":"app:1"}]}})",
                        rig.soon());
    if (third) {
      std::ignore = rig.api.request(
          "DELETE", rig.in("/api/v1", "pods/third"),
          R"({"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0})", rig.soon());
      return false;
    }
    refused = third.error().message();
    return refused.contains("exceeded quota");
  }));
  CHECK(refused.contains("exceeded quota: most"));
  CHECK(refused.ends_with("(status 403)"));
  REQUIRE(rig.control.set_quota(rig.name_space, "most", {{"pods", "20"}}, rig.patience()));

  const auto before = rig.control.set_resources(web, "main", {{"cpu", "100m"}, {"memory", "64Mi"}},
                                                {{"memory", "128Mi"}}, rig.patience());
  if (!before) FAIL(before.error().message());
  CHECK(before->requests.empty());
  rig.await(web);
  const auto now = rig.control.resources(web, rig.patience());
  CHECK(now->at("main").limits == QuantityTexts{{"memory", "128Mi"}});
  const auto wrong =
      rig.control.set_resources(web, "main", {}, {{"memory", "32Mi"}}, rig.patience());
  CHECK(wrong.error().code() == Errc::kInvalidArgument);
  CHECK(error_of(wrong).contains("must be less than or equal to memory limit"));
  CHECK(
      rig.control.set_resources(web, "other", {{"cpu", "1"}}, {}, rig.patience()).error().code() ==
      Errc::kNotFound);
  // The same in other words is no change, and no rollout.
  const auto generation = rig.control.status(web, rig.patience())->generation;
  REQUIRE(rig.control.set_resources(web, "main", {{"cpu", "0.1"}}, {}, rig.patience()));
  CHECK(rig.control.status(web, rig.patience())->generation == generation);
  REQUIRE(rig.control.set_resources(web, "main", {{"cpu", std::nullopt}, {"memory", std::nullopt}},
                                    {{"memory", std::nullopt}}, rig.patience()));
  const auto back = rig.control.resources(web, rig.patience());
  CHECK(back->at("main").requests.empty());
  CHECK(back->at("main").limits.empty());
}

TEST_CASE("kubernetes control: who was slower decides anew, about the same object") {
  const Rig rig(any_server());
  rig.make_workload("web", 1);
  const std::string path = rig.in("/apis/apps/v1", "deployments/web");
  int looked = 0;
  const auto note = [&](const json::value&) -> Result<std::optional<KubernetesEdit>> {
    // Somebody else is quicker, the first time.
    if (++looked == 1) {
      REQUIRE(rig.api.request("PATCH", path, R"({"metadata":{"labels":{"theirs":"1"}}})",
                              rig.soon(), kMergePatch));
    }
    return KubernetesEdit{json::object{{"metadata", {{"labels", {{"ours", "1"}}}}}}};
  };
  REQUIRE(edit(rig.api, path, rig.patience(), note));
  CHECK(looked >= 2);
  const auto labels = rig.get(path).at("metadata").at("labels").as_object();
  CHECK(labels.contains("ours"));
  CHECK(labels.contains("theirs"));
  int remade = 0;
  const auto remake = [&](const json::value&) -> Result<std::optional<KubernetesEdit>> {
    if (++remade == 1) {
      REQUIRE(rig.api.request("DELETE", path, {}, rig.soon()));
      rig.make_workload("web", 1);
    }
    return KubernetesEdit{json::object{{"metadata", {{"labels", {{"ours", "2"}}}}}}};
  };
  const auto another = edit(rig.api, path, rig.patience(), remake);
  CHECK(another.error().code() == Errc::kConflict);
  CHECK(error_of(another).contains("deleted and made again"));
  CHECK_FALSE(rig.get(path).at("metadata").as_object().contains("labels"));
}

TEST_CASE("kubernetes control: a watch goes on through bookmarks, its end and versions too old") {
  const Rig rig(any_server());
  rig.make_workload("web", 0);
  const std::string path = rig.in("/apis/apps/v1", "deployments");
  WatchCounts counts;
  std::set<std::string> present;
  bool modified = false;
  bool listed_anew = false;
  const auto on_event = [&](WatchEvent event, const json::value& object) {
    if (event == WatchEvent::kReset) {
      listed_anew = counts.expired > 0;
      present.clear();
      return true;
    }
    if (event == WatchEvent::kListed) {
      rig.make_workload("other", 0);
      return true;
    }
    const std::string name(object.at("metadata").at("name").as_string());
    if (event == WatchEvent::kAdded && name == "other")
      REQUIRE(rig.api.request("DELETE", path + "/web", {}, rig.soon()));
    modified = modified || event == WatchEvent::kModified;
    if (event == WatchEvent::kDeleted) {
      present.erase(name);
    } else {
      present.insert(name);
    }
    return true;
  };
  // Version 1 is older than anything that is kept: 410, and a list. Then a watch to its end, with
  // a bookmark, and one more from there.
  const auto enough = [&] {
    return counts.watches >= 3 && counts.bookmarks >= 1 && !present.contains("web") && modified;
  };
  const Millis turn = test::KubernetesBed::is_real() ? 5s : 1s;
  const Status watched = watch_objects(rig.api, {.path = path, .version = "1", .turn = turn},
                                       {rig.soon(), enough}, on_event, &counts);
  CHECK(watched.error().code() == Errc::kCancelled);
  CHECK(listed_anew);
  CHECK(counts.expired == 1);
  CHECK(counts.lists == 1);
  CHECK(counts.bookmarks >= 1);
  CHECK(present == std::set<std::string>{"other"});
}

TEST_CASE("kubernetes control: what may not be changed is refused, before or by the server") {
  const Rig rig(any_server());
  const Workload web = rig.running("web", 1);
  const KubernetesControl viewer(Kubernetes(rig.clock, rig.bed.access("viewer")),
                                 {{rig.name_space}, NodeScope::kAll, ""});
  CHECK(viewer.status(web, rig.patience()));
  const auto forbidden = viewer.restart(web, "now", rig.patience());
  CHECK(forbidden.error().code() == Errc::kPermissionDenied);
  CHECK(error_of(forbidden).contains("a Role and its binding have to allow it"));
  CHECK(error_of(forbidden).contains("cannot patch resource \"deployments\""));
  CHECK(viewer.set_schedulable("n1", false, rig.patience()).error().code() ==
        Errc::kPermissionDenied);

  const KubernetesControl elsewhere(rig.api, {{"other", "kube-system"}, NodeScope::kOwn, "n1"});
  const auto outside = elsewhere.restart(web, "now", rig.patience());
  CHECK(error_of(outside).contains("is not among those"));
  CHECK(elsewhere.scale(web, 5, rig.patience()).error().code() == Errc::kPermissionDenied);
  CHECK(elsewhere.undo(web, 0, rig.patience()).error().code() == Errc::kPermissionDenied);
  const Workload dns{"kube-system", WorkloadKind::kDeployment, "coredns"};
  CHECK(error_of(elsewhere.restart(dns, "now", rig.patience())).contains("is protected"));
  CHECK(error_of(elsewhere.drain("n2", {}, rig.patience()))
            .contains("may not be changed by the agent"));
  CHECK(rig.control.status(web, rig.patience())->generation == 1);
}

TEST_CASE("kubernetes control: a drain evicts within budgets, and says what holds it") {
  FOR_EACH_SERVER(version) {
    const Rig rig(version);
    // What other tests left on the node goes with their namespaces.
    REQUIRE(test::eventually(
        [&] { return rig.control.plan_drain("n1", {}, rig.patience())->evict.empty(); }));
    rig.make_workload("node-agent", 0, "DaemonSet");
    REQUIRE(rig.control.set_schedulable("n2", false, rig.patience()));
    const Workload web = rig.running("web");  // all of it on n1
    REQUIRE(rig.control.set_schedulable("n2", true, rig.patience()));
    rig.await(rig.workload("node-agent", WorkloadKind::kDaemonSet));
    const auto budget = [&](int least) {
      return fmt::format(R"({{"spec":{{"minAvailable":{}}}}})", least);
    };
    const bool old = version == "1.20" || test::KubernetesBed::is_real();
    const std::string group = old ? "policy/v1beta1" : "policy/v1";
    rig.make(rig.in("/apis/" + group, "poddisruptionbudgets"),
             fmt::format(R"({{"apiVersion":"{}","kind":"PodDisruptionBudget",
                              "metadata":{{"name":"web"}},"spec":{{"minAvailable":2,
                              "selector":{{"matchLabels":{{"app":"web"}}}}}}}})",
                         group));
    rig.make(rig.in("/api/v1", "pods"),
             R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"alone"},
                 "spec":{"nodeName":"n1","terminationGracePeriodSeconds":1,
                         "containers":[{"name":"main","image":"app:1"}]}})");
    const auto refused = rig.control.drain("n1", {}, rig.patience());
    CHECK(refused.error().code() == Errc::kConflict);
    CHECK(error_of(refused).contains("/alone: no controller would make it again"));
    CHECK(rig.control.schedulable("n1", rig.patience()) == true);
    // What the caller protects stays, and with it all others.
    const auto is_web = [&](std::string_view workload) {
      return workload == rig.name_space + "/deployment/web" ? std::optional<std::string>("kept")
                                                            : std::nullopt;
    };
    const auto kept =
        rig.control.drain("n1", {.unmanaged = true, .protects = is_web}, rig.patience());
    CHECK(kept.error().code() == Errc::kConflict);
    CHECK(error_of(kept).contains(fmt::format("not drained: {}/web-", rig.name_space)));
    // A pod by its own name too, of which nothing would make another.
    const auto is_alone = [&](std::string_view pod) {
      return pod == rig.name_space + "/pod/alone" ? std::optional<std::string>("kept")
                                                  : std::nullopt;
    };
    CHECK(
        error_of(rig.control.drain("n1", {.unmanaged = true, .protects = is_alone}, rig.patience()))
            .contains(rig.name_space + "/alone: kept"));
    CHECK(rig.control.schedulable("n1", rig.patience()) == true);
    const auto plan = rig.control.plan_drain("n1", {.unmanaged = true}, rig.patience());
    REQUIRE(plan);
    CHECK(plan->evict.size() == 3);
    CHECK(plan->left.size() == 1);

    CHECK(says_late("disruption budget", [&](Millis limit) {
      return rig.control.drain("n1", {.unmanaged = true}, rig.patience(limit));
    }));
    CHECK(rig.control.schedulable("n1", rig.patience()) == false);
    CHECK(rig.pods("web").size() == 2);

    REQUIRE(rig.api.request("PATCH", rig.in("/apis/" + group, "poddisruptionbudgets/web"),
                            budget(1), rig.soon(), kMergePatch));
    const auto drained = rig.control.drain("n1", {.unmanaged = true}, rig.patience());
    if (!drained) FAIL(drained.error().message());
    CHECK(drained->size() >= 2);
    CHECK(rig.control.plan_drain("n1", {}, rig.patience())->evict.empty());
    rig.await(web);
    CHECK(rig.control.set_schedulable("n1", true, rig.patience()) == false);
    CHECK(rig.control.set_schedulable("n1", true, rig.patience()) == true);
    CHECK(rig.control.set_schedulable("none", true, rig.patience()).error().code() ==
          Errc::kNotFound);
  }
}

TEST_CASE("kubernetes control: a stuck pod is deleted, but no other of its name") {
  const Rig rig(any_server());
  rig.make_workload("web", 1, "Deployment", "stubborn:1");
  rig.await(rig.workload("web"));
  const auto list = rig.get(rig.in("/api/v1", "pods"));
  const std::string name(list.at("items").at(0).at("metadata").at("name").as_string());
  const auto pod = rig.control.pod(rig.name_space, name, rig.patience());
  REQUIRE(pod);
  CHECK(pod->ready);
  CHECK(pod->owner_kind == "ReplicaSet");
  CHECK(pod->workload == "deployment/web");
  CHECK_FALSE(pod->deleting);
  const auto another =
      rig.control.delete_pod(rig.name_space, name, "0-0", std::nullopt, rig.patience());
  CHECK(another.error().code() == Errc::kConflict);
  CHECK(says_late("has not ended yet", [&](Millis limit) {
    return rig.control.delete_pod(rig.name_space, name, pod->uid, std::nullopt,
                                  rig.patience(limit));
  }));
  CHECK(rig.control.pod(rig.name_space, name, rig.patience())->deleting);
  CHECK(rig.control.delete_pod(rig.name_space, name, pod->uid, 0ms, rig.patience()));
  const auto gone = rig.control.pod(rig.name_space, name, rig.patience());
  CHECK(gone.error().code() == Errc::kNotFound);
  CHECK(rig.control.scale(rig.workload("web"), 0, rig.patience()) == 1U);
  REQUIRE(test::eventually([&] {  // nothing stubborn is left for the next test
    const auto left = rig.get(rig.in("/api/v1", "pods"));
    for (const auto& one : left.at("items").as_array()) {
      const auto& head = one.at("metadata");
      std::ignore =
          rig.control.delete_pod(rig.name_space, std::string(head.at("name").as_string()),
                                 std::string(head.at("uid").as_string()), 0ms, rig.patience());
    }
    return left.at("items").as_array().empty();
  }));
}

TEST_CASE("kubernetes control: what a server asks to wait is waited, or said") {
  if (test::KubernetesBed::is_real()) return;  // a real one is not this busy
  Rig rig("1.20");
  rig.make_workload("web", 0);
  const std::string path = rig.in("/apis/apps/v1", "deployments/web");
  const auto fault = [&](const std::string& what) {
    rig.bed.as_double()->fault_beside("PATCH " + path, what);
  };
  fault(R"({"status": 429, "retry_after": 1, "times": 1, "body": "{\"message\":\"busy\"}"})");
  const auto began = rig.clock.steady();
  CHECK(rig.control.restart(rig.workload("web"), "2026-11-26T05:00:00Z", rig.patience()));
  CHECK(rig.clock.steady() - began >= 1s);
  fault(R"({"status": 429, "retry_after": 3600, "body": "{\"message\":\"busy\"}"})");
  const auto busy =
      rig.control.restart(rig.workload("web"), "2026-11-26T06:00:00Z", rig.patience());
  CHECK(busy.error().code() == Errc::kTimeout);
  CHECK(error_of(busy).contains("not now, to be asked again after 1h: busy (status 429)"));
  CHECK(error_of(busy).contains("longer than the time that is left"));
  fault(R"({"status": 500, "body": "{\"message\":\"etcd is away\"}"})");
  CHECK(error_of(rig.control.restart(rig.workload("web"), "x", rig.patience()))
            .contains("the server failed: etcd is away (status 500)"));
  rig.bed.as_double()->fault_beside("PATCH " + path, "{}");
}

TEST_CASE("kubernetes control: a rollback whose answer is lost does not go forward again") {
  if (test::KubernetesBed::is_real()) return;  // a real one does not lose answers at will
  Rig rig("1.20");
  const Workload web = rig.running("web", 1);
  rig.make_workload("db", 1, "StatefulSet");
  const auto db = rig.workload("db", WorkloadKind::kStatefulSet);
  rig.await(db);
  for (const auto& [what, path] : {std::pair(web, rig.in("/apis/apps/v1", "deployments/web")),
                                   std::pair(db, rig.in("/apis/apps/v1", "statefulsets/db"))}) {
    CAPTURE(to_string(what));
    REQUIRE(rig.control.set_images(what, {{"main", "app:2"}}, rig.patience()));
    rig.await(what);
    // It is done; while the answer "later" is waited out, what was there before is the newest.
    rig.bed.as_double()->fault_beside(
        "PATCH " + path, R"({"times": 1, "answer": {"status": 504, "retry_after": 1}})");
    const auto undone = rig.control.undo(what, 0, rig.patience());
    if (!undone) FAIL(undone.error().message());
    CHECK(undone->changed);
    CHECK(undone->from == 2);
    CHECK(undone->to == 1);
    CHECK(rig.await(what).images.at("main") == "app:1");
  }
  rig.bed.as_double()->fault_beside("PATCH", "{}");
}

TEST_CASE("kubernetes control: names of workloads") {
  const auto web = parse_workload("shop/deployment/web.v2");
  REQUIRE(web);
  CHECK(to_string(*web) == "shop/deployment/web.v2");
  CHECK(parse_workload("shop/statefulset/db")->kind == WorkloadKind::kStatefulSet);
  for (const auto* wrong : {"", "web", "shop/web", "shop/deployment/", "shop/pod/web",
                            "Shop/deployment/web", "shop/deployment/../x", "a.b/deployment/web",
                            "shop/deployment/web/scale", "shop/deployment/-web"}) {
    CAPTURE(wrong);
    CHECK(parse_workload(wrong).error().code() == Errc::kInvalidArgument);
  }
}
