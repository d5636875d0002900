// A namespace of one test on the bed of tests/support/kubernetes_bed.hpp, and who may change it.
// Thread safety: one thread.
#pragma once

#include <fmt/core.h>

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <cctype>
#include <set>
#include <string>

#include "drivers/kubernetes_calls.hpp"
#include "nexus/drivers/kubernetes_control.hpp"
#include "support/kubernetes_bed.hpp"

namespace nexus::test {

using namespace std::chrono_literals;

/// A namespace of one test and who may change it.
struct KubernetesRig {
  explicit KubernetesRig(const std::string& version)
      : bed(KubernetesBed::of(version)),
        name_space(bed.new_name_space()),
        api(clock, bed.access("admin")),
        control(api, {{name_space}, drivers::NodeScope::kAll, "n1"}) {
    make("/api/v1/namespaces",
         fmt::format(R"({{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{}"}}}})",
                     name_space));
  }
  ~KubernetesRig() {
    std::ignore = api.request("DELETE", "/api/v1/namespaces/" + name_space, {}, soon());
    CHECK(bed.complaints() == "");
  }
  KubernetesRig(const KubernetesRig&) = delete;
  KubernetesRig& operator=(const KubernetesRig&) = delete;

  SteadyTime soon() const { return clock.steady() + 60s; }
  drivers::KubernetesPatience patience(Millis limit = 60s) const {
    return {clock.steady() + limit};
  }
  std::string in(const std::string& group, const std::string& kind) const {
    return fmt::format("{}/namespaces/{}/{}", group, name_space, kind);
  }
  drivers::Workload workload(
      const std::string& name,
      drivers::WorkloadKind kind = drivers::WorkloadKind::kDeployment) const {
    return {name_space, kind, name};
  }

  void make(const std::string& path, const std::string& object) const {
    // A namespace that was just made is not known to every part of a real server yet.
    std::string last;
    const bool made = eventually([&] {
      auto answer = api.request("POST", path, object, soon());
      if (!answer) last = answer.error().message();
      return answer.has_value();
    });
    if (!made) FAIL(last);
  }
  void make_workload(const std::string& name, int replicas = 2,
                     const std::string& kind = "Deployment", const std::string& image = "app:1",
                     const std::string& more = "") const {
    const std::string sized = kind == "DaemonSet" ? "" : fmt::format(R"("replicas":{},)", replicas);
    const std::string service = kind == "StatefulSet" ? R"("serviceName":"none",)" : "";
    std::string resource = kind + "s";
    for (char& c : resource) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    make(in("/apis/apps/v1", resource),
         fmt::format(
             R"({{"apiVersion":"apps/v1","kind":"{}","metadata":{{"name":"{}"}},"spec":{{{}{}{}
                 "selector":{{"matchLabels":{{"app":"{}"}}}},
                 "template":{{"metadata":{{"labels":{{"app":"{}"}}}},
                              "spec":{{"terminationGracePeriodSeconds":1,
                                       "containers":[{{"name":"main","image":"{}"}}]}}}}}}}})",
             kind, name, sized, service, more, name, name, image));
  }
  /// Made and rolled out.
  drivers::Workload running(const std::string& name, int replicas = 2) const {
    make_workload(name, replicas);
    await(workload(name));
    return workload(name);
  }
  /// How long a deployment may come no further before it has failed; a slow machine takes long for
  /// what is meant to succeed.
  void give_time(const drivers::Workload& deployment, int seconds) const {
    REQUIRE(api.request("PATCH", in("/apis/apps/v1", "deployments/" + deployment.name),
                        fmt::format(R"({{"spec":{{"progressDeadlineSeconds":{}}}}})", seconds),
                        soon(), drivers::kMergePatch));
  }
  drivers::WorkloadStatus await(const drivers::Workload& what,
                                std::string_view known_failure = {}) const {
    auto done = control.await_rollout(what, patience(), {}, known_failure);
    if (!done) FAIL(done.error().message());
    return *done;
  }
  boost::json::value get(const std::string& path) const {
    auto answer = api.request("GET", path, {}, soon());
    if (!answer) FAIL(answer.error().message());
    return boost::json::parse(answer->body);
  }
  std::set<std::string> pods(const std::string& app) const {
    std::set<std::string> out;
    const auto list = get(in("/api/v1", "pods") + "?labelSelector=app%3D" + app);
    for (const auto& pod : list.at("items").as_array()) {
      const auto& metadata = pod.at("metadata").as_object();
      if (!metadata.contains("deletionTimestamp"))
        out.insert(std::string(metadata.at("uid").as_string()));
    }
    return out;
  }

  KubernetesBed& bed;
  const std::string name_space;
  mutable base::SystemClock clock;
  const drivers::Kubernetes api;
  const drivers::KubernetesControl control;
};

}  // namespace nexus::test
