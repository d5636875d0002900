// Quotas of namespaces, and requests and limits of containers.
#include <fmt/format.h>

#include "drivers/json.hpp"
#include "drivers/kubernetes_calls.hpp"
#include "drivers/kubernetes_workload.hpp"

namespace nexus::drivers {
namespace {

namespace json = boost::json;

QuantityTexts texts(const json::value* value) {
  QuantityTexts out;
  if (value == nullptr || !value->is_object()) return out;
  for (const auto& one : value->get_object()) {
    // A number is as good as its text: "pods": 10.
    out.insert_or_assign(std::string(one.key()), one.value().is_string()
                                                     ? text_of(&one.value())
                                                     : json::serialize(one.value()));
  }
  return out;
}

/// What of `changes` is not so yet; null takes an entry away in both kinds of patch.
json::object differing(const QuantityChanges& changes, const QuantityTexts& now) {
  json::object out;
  for (const auto& [name, wanted] : changes) {
    const auto found = now.find(name);
    if (!wanted) {
      if (found != now.end()) out[name] = nullptr;
      continue;
    }
    const bool same =
        found != now.end() &&
        (found->second == *wanted ||
         (parse_quantity(*wanted) && parse_quantity(found->second) == parse_quantity(*wanted)));
    if (!same) out[name] = *wanted;
  }
  return out;
}

Status check(const QuantityChanges& changes) {
  for (const auto& [name, wanted] : changes) {
    if (!wanted) continue;
    const auto value = parse_quantity(*wanted);
    if (!value || *value < 0)
      return fail(Errc::kInvalidArgument, "{}: \"{}\" is no quantity, as 500m or 1Gi are", name,
                  *wanted);
  }
  return {};
}

QuotaState to_quota(const json::value& object) {
  return {text_of(member(member(&object, "metadata"), "uid")),
          texts(member(member(&object, "spec"), "hard")),
          texts(member(member(&object, "status"), "used"))};
}

std::string quota_path(const std::string& name_space, const std::string& name) {
  return object_path("/api/v1", name_space, "resourcequotas", name);
}

std::map<std::string, ContainerResources, std::less<>> to_resources(const json::value& object) {
  std::map<std::string, ContainerResources, std::less<>> out;
  const auto* spec = member(member(member(&object, "spec"), "template"), "spec");
  if (const auto* containers = array_of(member(spec, "containers"))) {
    for (const auto& one : *containers) {
      const auto* resources = member(&one, "resources");
      out[text_of(member(&one, "name"))] = {texts(member(resources, "requests")),
                                            texts(member(resources, "limits"))};
    }
  }
  return out;
}

}  // namespace

Result<QuotaState> KubernetesControl::quota(const std::string& name_space, const std::string& name,
                                            const KubernetesPatience& patience) const {
  auto object = get(api_, quota_path(name_space, name), patience);
  if (!object) return propagate(std::move(object), "quota {}/{}", name_space, name);
  return to_quota(*object);
}

Result<QuotaState> KubernetesControl::set_quota(const std::string& name_space,
                                                const std::string& name,
                                                const QuantityChanges& changes,
                                                const KubernetesPatience& patience) const {
  if (auto may = may_change(name_space); !may) return propagate(std::move(may));
  if (auto ok = check(changes); !ok) return propagate(std::move(ok), "quota {}", name);
  QuotaState before;
  auto object =
      edit(api_, quota_path(name_space, name), patience,
           [&](const json::value& now) -> Result<std::optional<KubernetesEdit>> {
             before = to_quota(now);
             json::object hard = differing(changes, before.hard);
             if (hard.empty()) return std::nullopt;
             return KubernetesEdit{json::object{{"spec", json::object{{"hard", std::move(hard)}}}},
                                   kMergePatch};
           });
  if (!object) return propagate(std::move(object), "quota {}/{}", name_space, name);
  return before;
}

Result<std::map<std::string, ContainerResources, std::less<>>> KubernetesControl::resources(
    const Workload& workload, const KubernetesPatience& patience) const {
  auto object = get(api_, path_of(workload), patience);
  if (!object) return propagate(std::move(object), "{}", to_string(workload));
  return to_resources(*object);
}

Result<ContainerResources> KubernetesControl::set_resources(
    const Workload& workload, const std::string& container, const QuantityChanges& requests,
    const QuantityChanges& limits, const KubernetesPatience& patience) const {
  if (auto may = may_change(workload.name_space); !may) return propagate(std::move(may));
  for (const auto* changes : {&requests, &limits}) {
    if (auto ok = check(*changes); !ok) return propagate(std::move(ok), "{}", to_string(workload));
  }
  ContainerResources before;
  auto object = edit(
      api_, path_of(workload), patience,
      [&](const json::value& now) -> Result<std::optional<KubernetesEdit>> {
        if (auto ok = can_roll(workload, now, "given other resources"); !ok)
          return propagate(std::move(ok));
        const auto all = to_resources(now);
        const auto found = all.find(container);
        if (found == all.end())
          return fail(Errc::kNotFound, "there is no container \"{}\" in it", container);
        before = found->second;
        json::object resources;
        if (auto changed = differing(requests, before.requests); !changed.empty())
          resources["requests"] = std::move(changed);
        if (auto changed = differing(limits, before.limits); !changed.empty())
          resources["limits"] = std::move(changed);
        if (resources.empty()) return std::nullopt;
        json::array containers;
        containers.push_back(
            json::object{{"name", container}, {"resources", std::move(resources)}});
        return KubernetesEdit{json::object{
            {"spec",
             {{"template", {{"spec", json::object{{"containers", std::move(containers)}}}}}}}}};
      });
  if (!object) return propagate(std::move(object), "{}", to_string(workload));
  return before;
}

}  // namespace nexus::drivers
