// Restart, images, rollback, and waiting until a rollout is done. What is sent is what kubectl
// sends, so that both see each other's work.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "drivers/json.hpp"
#include "drivers/kubernetes_calls.hpp"
#include "drivers/kubernetes_list.hpp"
#include "drivers/kubernetes_watch.hpp"
#include "drivers/kubernetes_workload.hpp"
#include "nexus/base/text.hpp"

namespace nexus::drivers {
namespace {

namespace json = boost::json;

constexpr std::size_t kMostRevisions = 1'000;
constexpr std::string_view kRevision = "deployment.kubernetes.io/revision";
constexpr std::string_view kCause = "kubernetes.io/change-cause";

/// Annotations of a deployment that are its own, and not of one of its revisions.
constexpr std::array<std::string_view, 6> kOwnNotes = {
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to"};

bool is_own_note(std::string_view key) {
  return std::ranges::find(kOwnNotes, key) != kOwnNotes.end();
}

json::object notes_of(const json::value& object) {
  const auto* notes = member(member(&object, "metadata"), "annotations");
  return notes != nullptr && notes->is_object() ? notes->get_object() : json::object();
}

/// The template of a ReplicaSet as its deployment had it.
json::value plain_template(const json::value& replica_set) {
  const auto* found = member(member(&replica_set, "spec"), "template");
  json::value out = found == nullptr ? json::value(json::object()) : *found;
  if (auto* object = out.if_object()) {
    auto* metadata = object->if_contains("metadata");
    auto* labels = metadata != nullptr && metadata->is_object()
                       ? metadata->get_object().if_contains("labels")
                       : nullptr;
    if (labels != nullptr && labels->is_object())
      labels->get_object().erase(json::string_view(kTemplateHash.data(), kTemplateHash.size()));
  }
  return out;
}

struct Revision {
  std::uint64_t number = 0;
  json::value object;
  [[nodiscard]] std::string name() const {
    return text_of(member(member(&object, "metadata"), "name"));
  }
};

/// What the controller keeps of former templates, newest first.
Result<std::vector<Revision>> read_revisions(const Kubernetes& api, const Workload& workload,
                                             const json::value& object,
                                             const KubernetesPatience& patience) {
  const bool deployment = workload.kind == WorkloadKind::kDeployment;
  auto selector = label_selector(member(member(&object, "spec"), "selector"));
  if (!selector) return propagate(std::move(selector), "{}", to_string(workload));
  const std::string uid = text_of(member(member(&object, "metadata"), "uid"));
  std::vector<Revision> out;
  auto listed = list_objects(
      api,
      collection("/apis/apps/v1", workload.name_space,
                 deployment ? "replicasets" : "controllerrevisions"),
      *selector, kMostRevisions, patience,
      [&](const json::value& item) {
        if (!is_owned_by(item, uid)) return;
        const json::object notes = notes_of(item);
        const auto* note = notes.if_contains(json::string_view(kRevision.data(), kRevision.size()));
        const auto number = deployment ? base::parse_uint(text_of(note)).value_or(0)
                                       : whole_of<std::uint64_t>(member(&item, "revision"));
        if (number > 0) out.push_back({number, item});
      },
      [&] { out.clear(); });
  if (!listed) return propagate(std::move(listed));
  std::ranges::sort(out, std::ranges::greater(), &Revision::number);
  return out;
}

/// The revision to go back to. `current` is what is rolled out now.
Result<const Revision*> choose(const std::vector<Revision>& all, std::uint64_t wanted,
                               const Workload& workload) {
  if (wanted == 0) {
    if (all.size() < 2)
      return fail(Errc::kNotFound, "{}: there is no revision before this one", to_string(workload));
    return &all[1];
  }
  const auto found = std::ranges::find(all, wanted, &Revision::number);
  if (found != all.end()) return &*found;
  std::vector<std::uint64_t> known;
  for (const auto& one : all) known.push_back(one.number);
  return fail(Errc::kNotFound, "{}: there is no revision {}, but {}", to_string(workload), wanted,
              fmt::join(known, ", "));
}

/// The one that was chosen before, whatever number it has by now.
Result<const Revision*> choose_again(const std::vector<Revision>& all, std::string_view name,
                                     const Workload& workload) {
  const auto found = std::ranges::find(all, name, &Revision::name);
  if (found != all.end()) return &*found;
  return fail(Errc::kNotFound, "{}: its revision {} is not kept any more", to_string(workload),
              name);
}

/// Template and annotations of a ReplicaSet, as a JSON Patch of its deployment.
std::optional<KubernetesEdit> back_to(const json::value& now, const json::value& replica_set) {
  json::value old = plain_template(replica_set);
  const auto* present = member(member(&now, "spec"), "template");
  if (present != nullptr && *present == old) return std::nullopt;
  json::object notes;
  for (const auto& one : notes_of(now)) {
    if (is_own_note(one.key())) notes[one.key()] = one.value();
  }
  for (const auto& one : notes_of(replica_set)) {
    if (!is_own_note(one.key())) notes[one.key()] = one.value();
  }
  json::array operations;
  operations.push_back(
      json::object{{"op", "replace"}, {"path", "/spec/template"}, {"value", std::move(old)}});
  // "add" replaces what is there, and makes what is not.
  operations.push_back(
      json::object{{"op", "add"}, {"path", "/metadata/annotations"}, {"value", std::move(notes)}});
  return KubernetesEdit{std::move(operations), kJsonPatch};
}

/// What a ControllerRevision keeps is a strategic patch already.
std::optional<KubernetesEdit> back_to(const json::value& now, const Revision& revision,
                                      const Revision& newest) {
  const auto* data = member(&revision.object, "data");
  const auto* newest_data = member(&newest.object, "data");
  const auto* status = member(&now, "status");
  const bool settled = whole_of<std::uint64_t>(member(status, "observedGeneration")) >=
                       whole_of<std::uint64_t>(member(member(&now, "metadata"), "generation"));
  if (data == nullptr || (settled && newest_data != nullptr && *newest_data == *data))
    return std::nullopt;
  return KubernetesEdit{*data, kStrategicPatch};
}

}  // namespace

Result<WorkloadStatus> KubernetesControl::restart(const Workload& workload,
                                                  const std::string& stamp,
                                                  const KubernetesPatience& patience) const {
  if (auto may = may_change(workload.name_space); !may) return propagate(std::move(may));
  auto object =
      edit(api_, path_of(workload), patience,
           [&](const json::value& now) -> Result<std::optional<KubernetesEdit>> {
             if (auto ok = can_roll(workload, now, "restarted"); !ok)
               return propagate(std::move(ok));
             if (to_workload_status(workload.kind, now).restarted_at == stamp) return std::nullopt;
             return KubernetesEdit{json::object{
                 {"spec",
                  {{"template",
                    {{"metadata",
                      {{"annotations", {{"kubectl.kubernetes.io/restartedAt", stamp}}}}}}}}}}};
           });
  if (!object) return propagate(std::move(object), "restart {}", to_string(workload));
  return to_workload_status(workload.kind, *object);
}

Result<WorkloadStatus> KubernetesControl::set_images(
    const Workload& workload, const std::map<std::string, std::string, std::less<>>& images,
    const KubernetesPatience& patience) const {
  if (auto may = may_change(workload.name_space); !may) return propagate(std::move(may));
  auto object = edit(
      api_, path_of(workload), patience,
      [&](const json::value& now) -> Result<std::optional<KubernetesEdit>> {
        if (auto ok = can_roll(workload, now, "updated"); !ok) return propagate(std::move(ok));
        const auto present = to_workload_status(workload.kind, now).images;
        json::array containers;
        for (const auto& [name, image] : images) {
          const auto found = present.find(name);
          if (found == present.end())
            return fail(Errc::kNotFound, "there is no container \"{}\" in it", name);
          if (found->second != image)
            containers.push_back(json::object{{"name", name}, {"image", image}});
        }
        if (containers.empty()) return std::nullopt;
        return KubernetesEdit{json::object{
            {"spec",
             {{"template", {{"spec", json::object{{"containers", std::move(containers)}}}}}}}}};
      });
  if (!object) return propagate(std::move(object), "update {}", to_string(workload));
  return to_workload_status(workload.kind, *object);
}

Result<std::vector<WorkloadRevision>> KubernetesControl::revisions(
    const Workload& workload, const KubernetesPatience& patience) const {
  auto object = get(api_, path_of(workload), patience);
  if (!object) return propagate(std::move(object), "{}", to_string(workload));
  auto all = read_revisions(api_, workload, *object, patience);
  if (!all) return propagate(std::move(all));
  std::vector<WorkloadRevision> out;
  for (const auto& one : *all) {
    const auto* spec = member(
        workload.kind == WorkloadKind::kDeployment ? &one.object : member(&one.object, "data"),
        "spec");
    const json::object notes = notes_of(one.object);
    out.push_back({one.number, one.name(),
                   text_of(notes.if_contains(json::string_view(kCause.data(), kCause.size()))),
                   images_of(member(spec, "template"))});
  }
  return out;
}

Result<WorkloadRollback> KubernetesControl::undo(const Workload& workload, std::uint64_t revision,
                                                 const KubernetesPatience& patience) const {
  if (auto may = may_change(workload.name_space); !may) return propagate(std::move(may));
  WorkloadRollback out;
  std::string chosen_name;
  auto object = edit(api_, path_of(workload), patience,
                     [&](const json::value& now) -> Result<std::optional<KubernetesEdit>> {
                       if (auto ok = can_roll(workload, now, "rolled back"); !ok)
                         return propagate(std::move(ok));
                       auto all = read_revisions(api_, workload, now, patience);
                       if (!all) return propagate(std::move(all));
                       // After an answer that was lost "the one before" may be where it came from.
                       const bool first = chosen_name.empty();
                       auto chosen = first ? choose(*all, revision, workload)
                                           : choose_again(*all, chosen_name, workload);
                       if (!chosen) return propagate(std::move(chosen));
                       const bool deployment = workload.kind == WorkloadKind::kDeployment;
                       if (first) {
                         chosen_name = (*chosen)->name();
                         out.from = deployment ? to_workload_status(workload.kind, now).revision
                                               : (*all)[0].number;
                         out.to = (*chosen)->number;
                       }
                       auto wanted = deployment ? back_to(now, (*chosen)->object)
                                                : back_to(now, **chosen, all->front());
                       out.changed = out.changed || wanted.has_value();
                       return wanted;
                     });
  if (!object) return propagate(std::move(object), "roll back {}", to_string(workload));
  return out;
}

Result<WorkloadStatus> KubernetesControl::await_rollout(
    const Workload& workload, const KubernetesPatience& patience,
    const std::function<void(const WorkloadStatus&)>& progress,
    std::string_view known_failure) const {
  std::optional<WorkloadStatus> last;
  bool gone = false;
  const auto judge = [&](WatchEvent event, const json::value& object) {
    if (event == WatchEvent::kReset) {
      last.reset();
      return true;
    }
    if (event == WatchEvent::kListed) {
      gone = !last;
      return !gone;
    }
    if (event == WatchEvent::kDeleted) {
      gone = true;
      return false;
    }
    last = to_workload_status(workload.kind, object);
    if (last->phase == RolloutPhase::kFailed && last->failure == known_failure) {
      last->phase = RolloutPhase::kProgressing;
      last->message = "its controller still tells of the rollout before: " + last->message;
    }
    if (progress) progress(*last);
    return last->phase == RolloutPhase::kProgressing;
  };
  const Status watched = watch_objects(
      api_,
      {.path = collection("/apis/apps/v1", workload.name_space, resource_of(workload.kind)),
       .query = selecting("metadata.name", workload.name)},
      patience, judge);
  const std::string name = to_string(workload);
  if (gone) return fail(Errc::kNotFound, "{}: it is not there (any more)", name);
  if (!watched) {
    const std::string state = last ? fmt::format(": {}", last->message) : std::string();
    if (watched.error().code() == Errc::kTimeout)
      return fail(Errc::kTimeout, "the rollout of {} is not complete in time{}", name, state);
    return std::unexpected(
        watched.error().with_context(fmt::format("waiting for {}{}", name, state)));
  }
  if (last->phase != RolloutPhase::kComplete)
    return fail(Errc::kConflict, "the rollout of {} is {}: {}", name, to_string(last->phase),
                last->message);
  return *std::move(last);
}

}  // namespace nexus::drivers
