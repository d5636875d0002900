// Nodes and pods: cordon, drain, and deleting a pod that is stuck.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "drivers/json.hpp"
#include "drivers/kubernetes_calls.hpp"
#include "drivers/kubernetes_list.hpp"
#include "drivers/kubernetes_watch.hpp"
#include "drivers/kubernetes_workload.hpp"
#include "nexus/base/text.hpp"

namespace nexus::drivers {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

constexpr std::size_t kMostPods = 5'000;
// Between two tries of evictions that a budget holds: longer each time.
constexpr Millis kFirstRound = 250ms;
constexpr Millis kLongestRound = 5s;
constexpr std::string_view kMirror = "kubernetes.io/config.mirror";

std::string node_path(const std::string& node) {
  return object_path("/api/v1", "", "nodes", node);
}

struct Victim {
  std::string name_space;
  std::string name;
  std::string uid;
  bool ending = false;  // deleted already, its node has not ended it yet
  [[nodiscard]] std::string shown() const { return fmt::format("{}/{}", name_space, name); }
};

struct Sorted {
  std::vector<Victim> evict;
  DrainPlan plan;
};

Victim to_victim(const json::value& pod) {
  const auto* metadata = member(&pod, "metadata");
  return {text_of(member(metadata, "namespace")), text_of(member(metadata, "name")),
          text_of(member(metadata, "uid")), member(metadata, "deletionTimestamp") != nullptr};
}

bool is_mirror(const json::value& pod) {
  return member(member(member(&pod, "metadata"), "annotations"), kMirror) != nullptr;
}

bool has_local_data(const json::value& pod) {
  const auto* volumes = array_of(member(member(&pod, "spec"), "volumes"));
  return volumes != nullptr && std::ranges::any_of(*volumes, [](const json::value& one) {
           return member(&one, "emptyDir") != nullptr;
         });
}

/// What a drain does with a pod, by the rules of `kubectl drain`.
void sort_pod(const json::value& pod, const DrainWish& wish, Sorted& out) {
  Victim victim = to_victim(pod);
  const auto* controller = controller_of(pod);
  const std::string phase = text_of(member(member(&pod, "status"), "phase"));
  const bool over = phase == "Succeeded" || phase == "Failed";
  if (is_mirror(pod) || (text_of(member(controller, "kind")) == "DaemonSet" && !over)) {
    out.plan.left.push_back(victim.shown());
    return;
  }
  if (!over && !victim.ending) {
    const std::string workload = workload_of_pod(pod);
    const auto kept = [&](const std::string& what) {
      return wish.protects ? wish.protects(fmt::format("{}/{}", victim.name_space, what))
                           : std::nullopt;
    };
    auto why = workload.empty() ? std::nullopt : kept(workload);
    if (!why) why = kept("pod/" + victim.name);
    if (why) {
      out.plan.refuse.push_back(fmt::format("{}: {}", victim.shown(), *why));
      return;
    }
    if (controller == nullptr && !wish.unmanaged) {
      out.plan.refuse.push_back(victim.shown() + ": no controller would make it again");
      return;
    }
    if (has_local_data(pod) && !wish.local_data) {
      out.plan.refuse.push_back(victim.shown() + ": it has data in an emptyDir volume");
      return;
    }
  }
  out.plan.evict.push_back(victim.shown());
  out.evict.push_back(std::move(victim));
}

Result<Sorted> sort_pods(const Kubernetes& api, const std::string& node, const DrainWish& wish,
                         const KubernetesPatience& patience) {
  Sorted out;
  auto listed = list_objects(
      api, "/api/v1/pods", selecting("spec.nodeName", node), kMostPods, patience,
      [&](const json::value& pod) { sort_pod(pod, wish, out); }, [&] { out = {}; });
  if (!listed) return propagate(std::move(listed), "pods of node {}", node);
  if (listed->left_out > 0)
    return fail(Errc::kExhausted, "node {} has more than {} pods", node, kMostPods);
  return out;
}

/// "policy/v1" or "policy/v1beta1": what the server says of pods/eviction.
Result<std::string> eviction_version(const Kubernetes& api, const KubernetesPatience& patience) {
  auto value = get(api, "/api/v1", patience);
  if (!value) return propagate(std::move(value));
  if (const auto* resources = array_of(member(&*value, "resources"))) {
    for (const auto& one : *resources) {
      if (text_of(member(&one, "name")) == "pods/eviction")
        return fmt::format("{}/{}", text_of(member(&one, "group")),
                           text_of(member(&one, "version")));
    }
  }
  return fail(Errc::kUnsupported, "{} knows no evictions", api.access().server);
}

json::object delete_options(const std::string& uid, std::optional<Millis> grace) {
  json::object out{{"preconditions", {{"uid", uid}}}};
  if (grace) out["gracePeriodSeconds"] = std::chrono::ceil<std::chrono::seconds>(*grace).count();
  return out;
}

/// A refusal for the moment: a disruption budget.
bool is_held(const KubernetesReply& reply) {
  return reply.status == 429;
}

class Drain {
 public:
  Drain(const Kubernetes& api, std::string node, DrainWish wish, const KubernetesPatience& patience)
      : api_(api), node_(std::move(node)), wish_(wish), patience_(patience) {}

  Result<std::vector<std::string>> run(std::vector<Victim> victims) {
    auto version = eviction_version(api_, patience_);
    if (!version) return propagate(std::move(version));
    version_ = *std::move(version);
    for (const auto& victim : victims) {
      if (!victim.ending) waiting_.push_back(victim);
      leaving_.emplace(victim.uid, victim.shown());
      names_.push_back(victim.shown());
    }
    while (true) {
      if (auto tried = try_evictions(); !tried) return propagate(std::move(tried));
      const SteadyTime until =
          waiting_.empty()
              ? patience_.deadline
              : std::min<SteadyTime>(patience_.deadline, api_.clock().steady() + pause_);
      if (auto gone = await_end(until); !gone) return propagate(std::move(gone));
      if (leaving_.empty()) return std::move(names_);
      if (api_.clock().steady() >= patience_.deadline) return std::unexpected(out_of_time());
    }
  }

 private:
  /// Each pod that is still to be evicted, once.
  Status try_evictions() {
    std::vector<Victim> held;
    round_ = std::min(2 * round_, kLongestRound);
    pause_ = round_;
    for (auto& victim : waiting_) {
      if (patience_.cancelled && patience_.cancelled())
        return fail(Errc::kCancelled, "cancelled; {} pods are still on node {}, which is cordoned",
                    leaving_.size(), node_);
      if (api_.clock().steady() >= patience_.deadline) {
        held.push_back(std::move(victim));
        continue;
      }
      auto evicted = evict(victim);
      // Out of time in the middle of a question: what holds the others is still worth saying.
      const bool late = !evicted && evicted.error().code() == Errc::kTimeout &&
                        api_.clock().steady() >= patience_.deadline;
      if (!evicted && !late) return propagate(std::move(evicted));
      if (late || !*evicted) held.push_back(std::move(victim));
    }
    waiting_ = std::move(held);
    return {};
  }

  /// False: a budget holds it for the moment.
  Result<bool> evict(const Victim& victim) {
    const KubernetesCall call{
        .method = "POST",
        .path = object_path("/api/v1", victim.name_space, "pods", victim.name) + "/eviction",
        .json = json::serialize(
            json::object{{"apiVersion", version_},
                         {"kind", "Eviction"},
                         {"metadata", {{"name", victim.name}, {"namespace", victim.name_space}}},
                         {"deleteOptions", delete_options(victim.uid, wish_.grace)}})};
    auto reply = send_patiently(api_, call, patience_,
                                [](const KubernetesReply& answer) { return !is_held(answer); });
    if (!reply) return propagate(std::move(reply));
    if (is_held(*reply)) {
      const auto value = parse_json(reply->body);
      why_[victim.uid] = value ? text_of(member(&*value, "message")) : std::string();
      if (reply->retry_after) pause_ = std::max(pause_, *reply->retry_after);
      return false;
    }
    // 404 and 409: it, or the pod of that uid, has gone by itself.
    if (reply->status == 404 || reply->status == 409) {
      leaving_.erase(victim.uid);
      return true;
    }
    // A namespace that is being deleted takes its pods with it.
    if (reply->status == 403 && reply->body.contains("NamespaceTerminating")) return true;
    if (reply->status >= 400)
      return std::unexpected(
          api_.explain(call, *reply)
              .with_context(
                  fmt::format("evict {} from node {}, which is cordoned", victim.shown(), node_)));
    return true;
  }

  /// Watches until what was evicted is gone, or until `until`.
  Status await_end(SteadyTime until) {
    if (leaving_.empty()) return {};
    std::set<std::string, std::less<>> present;
    const auto seen = [&](WatchEvent event, const json::value& pod) {
      const std::string uid = text_of(member(member(&pod, "metadata"), "uid"));
      switch (event) {
        case WatchEvent::kReset:
          present.clear();
          break;
        case WatchEvent::kListed:
          std::erase_if(leaving_, [&](const auto& one) { return !present.contains(one.first); });
          break;
        case WatchEvent::kDeleted:
          leaving_.erase(uid);
          break;
        case WatchEvent::kPresent:
        case WatchEvent::kAdded:
        case WatchEvent::kModified:
          present.insert(uid);
          break;
      }
      std::erase_if(waiting_, [&](const Victim& one) {
        return event == WatchEvent::kListed && !leaving_.contains(one.uid);
      });
      return !leaving_.empty();
    };
    const Status watched =
        watch_objects(api_, {.path = "/api/v1/pods", .query = selecting("spec.nodeName", node_)},
                      {.deadline = until, .cancelled = patience_.cancelled}, seen);
    if (watched || watched.error().code() == Errc::kTimeout) return {};
    return std::unexpected(watched.error().with_context(
        fmt::format("{} pods are still on node {}, which is cordoned", leaving_.size(), node_)));
  }

  [[nodiscard]] Error out_of_time() const {
    std::vector<std::string> left;
    for (const auto& [uid, name] : leaving_) {
      const auto why = why_.find(uid);
      const bool held =
          std::ranges::any_of(waiting_, [&](const Victim& v) { return v.uid == uid; });
      left.push_back(held && why != why_.end() ? fmt::format("{} ({})", name, why->second)
                                               : name + " (has not ended yet)");
    }
    return {Errc::kTimeout,
            fmt::format("node {} is cordoned, but not drained in time; still on it: {}", node_,
                        fmt::join(left, ", "))};
  }

  const Kubernetes& api_;
  const std::string node_;
  const DrainWish wish_;
  const KubernetesPatience& patience_;
  std::string version_;
  std::vector<Victim> waiting_;                              // to be evicted
  std::map<std::string, std::string, std::less<>> leaving_;  // uid: name, not gone yet
  std::map<std::string, std::string, std::less<>> why_;      // uid: what holds it
  std::vector<std::string> names_;
  Millis round_ = kFirstRound / 2;
  Millis pause_ = kFirstRound;  // round_, or what the API asks for
};

}  // namespace

Result<bool> KubernetesControl::schedulable(const std::string& node,
                                            const KubernetesPatience& patience) const {
  auto object = get(api_, node_path(node), patience);
  if (!object) return propagate(std::move(object), "node {}", node);
  return !is_true(member(member(&*object, "spec"), "unschedulable"));
}

Result<bool> KubernetesControl::set_schedulable(const std::string& node, bool schedulable,
                                                const KubernetesPatience& patience) const {
  if (auto may = may_change_node(node); !may) return propagate(std::move(may));
  bool before = false;
  auto object = edit(api_, node_path(node), patience,
                     [&](const json::value& now) -> Result<std::optional<KubernetesEdit>> {
                       before = !is_true(member(member(&now, "spec"), "unschedulable"));
                       if (before == schedulable) return std::nullopt;
                       json::value wanted = schedulable ? json::value(nullptr) : json::value(true);
                       return KubernetesEdit{json::object{
                           {"spec", json::object{{"unschedulable", std::move(wanted)}}}}};
                     });
  if (!object)
    return propagate(std::move(object), "{} node {}", schedulable ? "uncordon" : "cordon", node);
  return before;
}

Result<DrainPlan> KubernetesControl::plan_drain(const std::string& node, const DrainWish& wish,
                                                const KubernetesPatience& patience) const {
  auto sorted = sort_pods(api_, node, wish, patience);
  if (!sorted) return propagate(std::move(sorted));
  return std::move(sorted->plan);
}

Result<std::vector<std::string>> KubernetesControl::drain(
    const std::string& node, const DrainWish& wish, const KubernetesPatience& patience) const {
  if (auto may = may_change_node(node); !may) return propagate(std::move(may));
  const auto checked = [&]() -> Result<Sorted> {
    auto sorted = sort_pods(api_, node, wish, patience);
    if (sorted && !sorted->plan.refuse.empty())
      return fail(Errc::kConflict, "node {} is not drained: {}", node,
                  fmt::join(sorted->plan.refuse, "; "));
    return sorted;
  };
  if (auto sorted = checked(); !sorted) return propagate(std::move(sorted));
  if (auto cordoned = set_schedulable(node, false, patience); !cordoned)
    return propagate(std::move(cordoned));
  // Anew, for what came before the node was closed.
  auto sorted = checked();
  if (!sorted) return propagate(std::move(sorted));
  return Drain(api_, node, wish, patience).run(std::move(sorted->evict));
}

Result<PodState> KubernetesControl::pod(const std::string& name_space, const std::string& name,
                                        const KubernetesPatience& patience) const {
  auto object = get(api_, object_path("/api/v1", name_space, "pods", name), patience);
  if (!object) return propagate(std::move(object), "pod {}/{}", name_space, name);
  const auto* metadata = member(&*object, "metadata");
  const auto* status = member(&*object, "status");
  const auto seconds = [](const json::value* value) -> std::optional<double> {
    const auto time = base::parse_time(text_of(value));
    if (!time) return std::nullopt;
    return static_cast<double>(base::to_unix_millis(*time)) / 1000;
  };
  PodState out;
  out.uid = text_of(member(metadata, "uid"));
  out.node = text_of(member(member(&*object, "spec"), "nodeName"));
  out.phase = text_of(member(status, "phase"));
  out.reason = text_of(member(status, "reason"));
  const auto* controller = controller_of(*object);
  out.owner_kind = text_of(member(controller, "kind"));
  out.owner_name = text_of(member(controller, "name"));
  out.workload = workload_of_pod(*object);
  out.mirror = is_mirror(*object);
  out.deleting = seconds(member(metadata, "deletionTimestamp"));
  out.created = seconds(member(metadata, "creationTimestamp")).value_or(0);
  if (const auto* conditions = array_of(member(status, "conditions"))) {
    for (const auto& one : *conditions) {
      if (text_of(member(&one, "type")) == "Ready")
        out.ready = text_of(member(&one, "status")) == "True";
    }
  }
  return out;
}

Status KubernetesControl::delete_pod(const std::string& name_space, const std::string& name,
                                     const std::string& uid, std::optional<Millis> grace,
                                     const KubernetesPatience& patience) const {
  if (auto may = may_change(name_space); !may) return may;
  json::object options = delete_options(uid, grace);
  options["apiVersion"] = "v1";
  options["kind"] = "DeleteOptions";
  auto deleted = ask(api_,
                     {.method = "DELETE",
                      .path = object_path("/api/v1", name_space, "pods", name),
                      .json = json::serialize(options)},
                     patience);
  if (!deleted) return propagate(std::move(deleted), "delete pod {}/{}", name_space, name);
  bool gone = false;
  bool present = false;
  const Status watched =
      watch_objects(api_,
                    {.path = collection("/api/v1", name_space, "pods"),
                     .query = selecting("metadata.name", name)},
                    patience, [&](WatchEvent event, const json::value& pod) {
                      const bool same = text_of(member(member(&pod, "metadata"), "uid")) == uid;
                      if (event == WatchEvent::kReset) present = false;
                      if (event == WatchEvent::kPresent && same) present = true;
                      gone = (event == WatchEvent::kListed && !present) ||
                             (event == WatchEvent::kDeleted && same);
                      return !gone;
                    });
  if (gone) return {};
  return std::unexpected(watched.error().with_context(
      fmt::format("pod {}/{} is deleted, but has not ended yet", name_space, name)));
}

}  // namespace nexus::drivers
