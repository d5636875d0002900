// Replicas and autoscalers.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "drivers/json.hpp"
#include "drivers/kubernetes_calls.hpp"
#include "drivers/kubernetes_list.hpp"
#include "drivers/kubernetes_workload.hpp"

namespace nexus::drivers {
namespace {

namespace json = boost::json;

constexpr std::size_t kMostAutoscalers = 5'000;
constexpr std::string_view kAutoscalers = "horizontalpodautoscalers";
/// The newest first: v2 came with 1.23, v2beta2 went with 1.26.
constexpr std::array<std::string_view, 3> kVersions = {"v2", "v2beta2", "v1"};

Result<std::string> group(const Kubernetes& api, const KubernetesPatience& patience) {
  auto version = choose_version(api, "autoscaling", kVersions, patience);
  if (!version) return version;
  return "/apis/autoscaling/" + *version;
}

/// The entry about the CPU's utilisation in spec.metrics; null: none.
const json::value* cpu_metric(const json::value* spec) {
  const auto* metrics = array_of(member(spec, "metrics"));
  if (metrics == nullptr) return nullptr;
  for (const auto& one : *metrics) {
    const auto* resource = member(&one, "resource");
    if (text_of(member(&one, "type")) == "Resource" && text_of(member(resource, "name")) == "cpu" &&
        text_of(member(member(resource, "target"), "type")) == "Utilization")
      return &one;
  }
  return nullptr;
}

AutoscalerState to_autoscaler(const json::value& object) {
  const auto* metadata = member(&object, "metadata");
  const auto* spec = member(&object, "spec");
  const auto* status = member(&object, "status");
  AutoscalerState out;
  out.name = text_of(member(metadata, "name"));
  out.uid = text_of(member(metadata, "uid"));
  if (member(spec, "minReplicas") != nullptr)
    out.min = whole_of<std::uint32_t>(member(spec, "minReplicas"));
  out.max = whole_of<std::uint32_t>(member(spec, "maxReplicas"));
  const auto* simple = member(spec, "targetCPUUtilizationPercentage");
  const auto* target =
      simple != nullptr
          ? simple
          : member(member(member(cpu_metric(spec), "resource"), "target"), "averageUtilization");
  if (target != nullptr) out.cpu_percent = whole_of<std::uint32_t>(target);
  out.current = whole_of<std::uint32_t>(member(status, "currentReplicas"));
  out.desired = whole_of<std::uint32_t>(member(status, "desiredReplicas"));
  return out;
}

json::object cpu_entry(std::uint32_t percent) {
  return {
      {"type", "Resource"},
      {"resource",
       {{"name", "cpu"}, {"target", {{"type", "Utilization"}, {"averageUtilization", percent}}}}}};
}

/// Puts the CPU's target into `spec`, or nothing in its place; `now` is the present spec or null. A
/// merge patch replaces a list as a whole, so the other metrics are written with it.
void set_cpu(json::object& spec, const json::value* now, std::optional<std::uint32_t> percent,
             bool simple) {
  if (simple) {
    spec["targetCPUUtilizationPercentage"] = percent ? json::value(*percent) : json::value(nullptr);
    return;
  }
  json::array metrics;
  if (const auto* present = array_of(member(now, "metrics"))) metrics = *present;
  const auto* known = cpu_metric(now);
  const auto place = known == nullptr ? metrics.end() : std::ranges::find(metrics, *known);
  if (!percent) {
    if (place != metrics.end()) metrics.erase(place);
  } else if (place == metrics.end()) {
    metrics.push_back(cpu_entry(*percent));
  } else {
    *place = cpu_entry(*percent);
  }
  spec["metrics"] = std::move(metrics);
}

Result<std::optional<json::value>> find_autoscaler(const Kubernetes& api, const std::string& group,
                                                   const Workload& workload,
                                                   const KubernetesPatience& patience) {
  std::optional<json::value> out;
  auto listed = list_objects(
      api, collection(group, workload.name_space, kAutoscalers), {}, kMostAutoscalers, patience,
      [&](const json::value& item) {
        const auto* target = member(member(&item, "spec"), "scaleTargetRef");
        if (text_of(member(target, "kind")) == kind_of(workload.kind) &&
            text_of(member(target, "name")) == workload.name)
          out = item;
      },
      [&] { out.reset(); });
  if (!listed) return propagate(std::move(listed));
  return out;
}

Status check_bounds(const AutoscalerState& wanted) {
  if (wanted.min < 1 || wanted.max < wanted.min)
    return fail(Errc::kInvalidArgument, "an autoscaler from {} to {} replicas is none", wanted.min,
                wanted.max);
  return {};
}

}  // namespace

Result<std::uint32_t> KubernetesControl::scale(const Workload& workload, std::uint32_t replicas,
                                               const KubernetesPatience& patience) const {
  if (auto may = may_change(workload.name_space); !may) return propagate(std::move(may));
  const std::string name = to_string(workload);
  if (workload.kind == WorkloadKind::kDaemonSet)
    return fail(Errc::kUnsupported, "{}: a daemon set has one pod a node and cannot be scaled",
                name);
  // Who may not list autoscalers cannot know; the API's answer to the change then decides.
  auto scaler = autoscaler(workload, patience);
  if (!scaler && scaler.error().code() != Errc::kPermissionDenied &&
      scaler.error().code() != Errc::kUnsupported)
    return propagate(std::move(scaler), "scale {}", name);
  std::uint32_t before = 0;
  auto object = edit(
      api_, path_of(workload) + "/scale", patience,
      [&](const json::value& now) -> Result<std::optional<KubernetesEdit>> {
        before = whole_of<std::uint32_t>(member(member(&now, "spec"), "replicas"));
        if (before == replicas) return std::nullopt;
        // At 0 an autoscaler rests, so both ways to and from there are a person's or ours.
        if (scaler && *scaler && before != 0 && replicas != 0)
          return fail(Errc::kConflict,
                      "the autoscaler {} scales it ({} to {} replicas) and would undo it: adjust "
                      "that one",
                      (*scaler)->name, (*scaler)->min, (*scaler)->max);
        json::value wanted = now;
        wanted.as_object()["spec"] = json::object{{"replicas", replicas}};
        return KubernetesEdit{std::move(wanted), "application/json", "PUT"};
      });
  if (!object) return propagate(std::move(object), "scale {}", name);
  return before;
}

Result<std::optional<AutoscalerState>> KubernetesControl::autoscaler(
    const Workload& workload, const KubernetesPatience& patience) const {
  auto where = group(api_, patience);
  if (!where) return propagate(std::move(where));
  auto found = find_autoscaler(api_, *where, workload, patience);
  if (!found) return propagate(std::move(found));
  if (!*found) return std::nullopt;
  return to_autoscaler(**found);
}

Result<AutoscalerChange> KubernetesControl::set_autoscaler(
    const Workload& workload, const AutoscalerWish& wish,
    const KubernetesPatience& patience) const {
  if (auto may = may_change(workload.name_space); !may) return propagate(std::move(may));
  const std::string name = to_string(workload);
  if (workload.kind == WorkloadKind::kDaemonSet)
    return fail(Errc::kUnsupported, "{}: a daemon set cannot be scaled", name);
  auto where = group(api_, patience);
  if (!where) return propagate(std::move(where));
  const bool simple = where->ends_with("/v1");
  auto found = find_autoscaler(api_, *where, workload, patience);
  if (!found) return propagate(std::move(found));
  if (*found) {
    AutoscalerChange out;
    auto object = edit(
        api_, object_path(*where, workload.name_space, kAutoscalers, to_autoscaler(**found).name),
        patience, [&](const json::value& now) -> Result<std::optional<KubernetesEdit>> {
          const AutoscalerState before = to_autoscaler(now);
          AutoscalerState after = before;
          after.min = wish.min.value_or(before.min);
          after.max = wish.max.value_or(before.max);
          out.before = before;
          if (auto ok = check_bounds(after); !ok) return propagate(std::move(ok));
          json::object spec;
          if (after.min != before.min) spec["minReplicas"] = after.min;
          if (after.max != before.max) spec["maxReplicas"] = after.max;
          const auto cpu = wish.no_cpu_percent ? std::nullopt
                           : wish.cpu_percent  ? wish.cpu_percent
                                               : before.cpu_percent;
          if (cpu != before.cpu_percent) set_cpu(spec, member(&now, "spec"), cpu, simple);
          if (spec.empty()) return std::nullopt;
          return KubernetesEdit{json::object{{"spec", std::move(spec)}}, kMergePatch};
        });
    if (!object) return propagate(std::move(object), "adjust the autoscaler of {}", name);
    out.after = to_autoscaler(*object);
    return out;
  }
  if (!wish.max)
    return fail(Errc::kInvalidArgument,
                "{} has no autoscaler, and a new one needs its most replicas", name);
  AutoscalerState wanted;
  wanted.min = wish.min.value_or(1);
  wanted.max = *wish.max;
  if (auto ok = check_bounds(wanted); !ok) return propagate(std::move(ok), "{}", name);
  json::object spec{{"scaleTargetRef",
                     {{"apiVersion", "apps/v1"},
                      {"kind", kind_of(workload.kind).data()},
                      {"name", workload.name}}},
                    {"minReplicas", wanted.min},
                    {"maxReplicas", wanted.max}};
  if (wish.cpu_percent) set_cpu(spec, nullptr, wish.cpu_percent, simple);
  const std::string version = where->substr(std::string_view("/apis/").size());
  auto object =
      ask(api_,
          {.method = "POST",
           .path = collection(*where, workload.name_space, kAutoscalers),
           .json = json::serialize(json::object{
               {"apiVersion", version},
               {"kind", "HorizontalPodAutoscaler"},
               {"metadata", {{"name", workload.name}, {"namespace", workload.name_space}}},
               {"spec", std::move(spec)}})},
          patience);
  if (!object) return propagate(std::move(object), "make an autoscaler of {}", name);
  return AutoscalerChange{std::nullopt, to_autoscaler(*object)};
}

Status KubernetesControl::remove_autoscaler(const std::string& name_space, const std::string& name,
                                            const std::string& uid,
                                            const KubernetesPatience& patience) const {
  if (auto may = may_change(name_space); !may) return may;
  auto where = group(api_, patience);
  if (!where) return propagate(std::move(where));
  auto removed = ask(
      api_,
      {.method = "DELETE",
       .path = object_path(*where, name_space, kAutoscalers, name),
       .json = json::serialize(json::object{
           {"apiVersion", "v1"}, {"kind", "DeleteOptions"}, {"preconditions", {{"uid", uid}}}})},
      patience);
  if (!removed && removed.error().code() == Errc::kNotFound) return {};
  if (!removed)
    return propagate(std::move(removed), "remove the autoscaler {}/{}", name_space, name);
  return {};
}

}  // namespace nexus::drivers
