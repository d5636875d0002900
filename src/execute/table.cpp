// Every action there is. A new one: its file in actions/, its descriptor in actions.hpp, its line
// here.
#include <algorithm>
#include <array>

#include "execute/actions.hpp"

namespace nexus::execute {
namespace {

constexpr std::array<const ActionDescriptor*, 5> kActions{
    &kReloadService, &kRestartService, &kRunCommand, &kStartService, &kStopService,
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
    const auto complain = [&](std::string_view what) {
      problems.push_back({remedy.where, fmt::format("remedy \"{}\": {}", remedy.name, what)});
    };
    const auto* descriptor = find_action(remedy.action);
    if (descriptor == nullptr) {
      complain(fmt::format("action: there is no action \"{}\", expected one of {}", remedy.action,
                           names()));
      continue;
    }
    if (auto ok = check_parameters(*descriptor, remedy.parameters); !ok)
      complain(ok.error().message());
    if (remedy.target.empty() || remedy.target.contains("${")) continue;
    if (descriptor->check_target == nullptr) continue;
    if (auto ok = descriptor->check_target(remedy.target, config); !ok) {
      complain("target: " + ok.error().message());
    }
  }
  return problems;
}

}  // namespace nexus::execute
