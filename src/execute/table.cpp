// Every action there is. A new one: its file in actions/, its descriptor in actions.hpp, its line
// here.
#include <algorithm>
#include <array>

#include "execute/actions.hpp"
#include "nexus/config/config.hpp"

namespace nexus::execute {
namespace {

constexpr std::array<const ActionDescriptor*, 33> kActions{
    &kAdjustAutoscaler,    &kAdjustMemory,  &kAdjustQuota,
    &kAdjustResources,     &kCleanupDisk,   &kClearCache,
    &kComposite,           &kCordonNode,    &kDeletePod,
    &kDisableService,      &kDrainNode,     &kDropCaches,
    &kEnableService,       &kHttpRequest,   &kKillProcess,
    &kNetworkOptimization, &kNotify,        &kOptimizeDatabase,
    &kPerformanceTuning,   &kPruneDocker,   &kReloadService,
    &kReniceProcess,       &kResetService,  &kRestartService,
    &kRollbackDeployment,  &kRollingUpdate, &kRotateLogs,
    &kRunCommand,          &kScaleService,  &kStartService,
    &kStopService,         &kUncordonNode,  &kUndoAction,
};

std::string names() {
  std::string out;
  for (const auto* action : kActions) {
    if (!out.empty()) out += ", ";
    out += action->name;
  }
  return out;
}

}  // namespace

std::span<const ActionDescriptor* const> actions() {
  return kActions;
}

const ActionDescriptor* find_action(std::string_view name) {
  const auto it =
      std::ranges::find(kActions, name, [](const ActionDescriptor* a) { return a->name; });
  return it == kActions.end() ? nullptr : *it;
}

std::vector<config::Problem> check_remedies(const config::Config& config) {
  std::vector<config::Problem> problems;
  for (const auto& remedy : config.remedies) {
    const auto complain = [&](const config::Where& where, std::string_view what) {
      problems.push_back({where, fmt::format("remedy \"{}\": {}", remedy.name, what)});
    };
    const auto& action_place = remedy.action_place.line > 0 ? remedy.action_place : remedy.where;
    const auto* descriptor = find_action(remedy.action);
    if (descriptor == nullptr) {
      complain(action_place, fmt::format("action: there is no action \"{}\", expected one of {}",
                                         remedy.action, names()));
      continue;
    }
    for (const auto& step : remedy.steps) {
      config::RemedyConfig alone = remedy;
      alone.steps.clear();
      alone.action = step.action;
      alone.parameters = step.parameters;
      if (!step.target.empty()) alone.target = step.target;
      const auto* of_step = find_action(step.action);
      if (of_step == nullptr || of_step == descriptor) {
        complain(step.where,
                 fmt::format("steps: expected one of {}, got \"{}\"", names(), step.action));
      } else if (auto ok = check_parameters(*of_step, step.parameters); !ok) {
        complain(step.where, "steps: " + ok.error().message());
      } else if (of_step->check_remedy != nullptr) {
        if (auto possible = of_step->check_remedy(alone, config); !possible)
          complain(step.where, "steps: " + possible.error().message());
      }
    }
    if (auto ok = check_parameters(*descriptor, remedy.parameters); !ok) {
      complain(action_place, ok.error().message());
    } else if (descriptor->check_remedy != nullptr) {
      if (auto possible = descriptor->check_remedy(remedy, config); !possible) {
        complain(remedy.where, possible.error().message());
      }
    }
  }
  return problems;
}

}  // namespace nexus::execute
