// systemd: its units, and templates whose instances are numbered.
#include <algorithm>

#include "execute/service_job.hpp"
#include "execute/services.hpp"
#include "execute/unit_file_step.hpp"
#include "execute/unit_instances.hpp"
#include "nexus/config/config.hpp"
#include "nexus/drivers/systemd.hpp"
#include "nexus/plan/planner.hpp"

namespace nexus::execute {
namespace {

using host::UnitJob;

ServiceCondition condition_of(std::string_view active_state) {
  if (active_state == "active" || active_state == "reloading") return ServiceCondition::kUp;
  if (active_state == "failed") return ServiceCondition::kFailed;
  if (active_state == "inactive") return ServiceCondition::kDown;
  if (active_state == "activating" || active_state == "deactivating")
    return ServiceCondition::kChanging;
  return ServiceCondition::kUnknown;
}

ServiceState state_of(const drivers::UnitStatus& unit) {
  ServiceState out;
  out.name = unit.name;
  out.kind = config::kUnitKind;
  out.state = unit.active_state;
  out.condition = condition_of(unit.active_state);
  out.description = unit.description;
  out.instance = unit.invocation_id;
  out.main_pid = unit.main_pid;
  out.restarts = unit.restarts;
  out.since = unit.state_change;
  out.more = {{"load_state", unit.load_state},
              {"sub_state", unit.sub_state},
              {"result", unit.result},
              {"invocation_id", unit.invocation_id}};
  return out;
}

class Units final : public ServiceManager {
 public:
  Status check(ServiceVerb verb, const std::string& name,
               const config::Config& config) const override {
    const auto stem = template_of(name);
    if (verb == ServiceVerb::kScale && stem.empty())
      return fail(Errc::kInvalidArgument,
                  "only the instances of a template can be more or fewer: expected \"web@\", got "
                  "\"{}\"",
                  name);
    auto unit = drivers::normalize_unit_name(stem.empty() ? name : instance_of(stem, 1));
    if (!unit) return propagate(std::move(unit));
    if (auto why = plan::protected_reason(type_of(verb), *unit, config.guardrails.protected_units))
      return fail(Errc::kPermissionDenied, "{}", *why);
    return {};
  }

  Result<std::vector<ServiceState>> list(StepContext& context, std::size_t limit,
                                         SteadyTime) override {
    if (context.systemd == nullptr) return fail(Errc::kNotFound, "there is no systemd here");
    auto units = context.systemd->list_units();
    if (!units) return propagate(std::move(units));
    std::erase_if(*units, [](const auto& unit) {
      return !unit.name.ends_with(".service") || unit.load_state == "not-found";
    });
    std::ranges::sort(*units, {}, &drivers::UnitSummary::name);
    std::vector<ServiceState> out;
    for (auto& unit : *units) {
      if (out.size() >= limit) break;
      ServiceState state;
      state.name = std::move(unit.name);
      state.kind = config::kUnitKind;
      state.condition = condition_of(unit.active_state);
      state.state = std::move(unit.active_state);
      state.more = {{"load_state", std::move(unit.load_state)},
                    {"sub_state", std::move(unit.sub_state)}};
      out.push_back(std::move(state));
    }
    return out;
  }

  Result<ServiceState> status(const std::string& name, Look look, StepContext& context,
                              SteadyTime) override {
    if (context.systemd == nullptr) return fail(Errc::kUnavailable, "there is no systemd here");
    if (const auto stem = template_of(name); !stem.empty()) return template_status(stem, context);
    auto unit = look == Look::kAtHand ? context.systemd->loaded_status(name)
                                      : context.systemd->status(name);
    if (!unit) return propagate(std::move(unit));
    return state_of(*unit);
  }

  Step* step(ServiceVerb verb) override {
    switch (verb) {
      case ServiceVerb::kStart:
        return start_.get();
      case ServiceVerb::kStop:
        return stop_.get();
      case ServiceVerb::kRestart:
        return restart_.get();
      case ServiceVerb::kReload:
        return reload_.get();
      case ServiceVerb::kScale:
        return scale_.get();
      case ServiceVerb::kRollout:
        return rollout_.get();
      case ServiceVerb::kEnable:
        return enable_.get();
      case ServiceVerb::kDisable:
        return disable_.get();
      case ServiceVerb::kReset:
        return reset_.get();
      case ServiceVerb::kUndo:
        return nullptr;
    }
    return nullptr;
  }

  std::string why_not(ServiceVerb) const override {
    return "systemd keeps no earlier version of a service";
  }

 private:
  /// The action whose rules of what is protected go for a verb.
  static std::string_view type_of(ServiceVerb verb) {
    switch (verb) {
      case ServiceVerb::kStart:
        return "start_service";
      case ServiceVerb::kStop:
        return "stop_service";
      case ServiceVerb::kEnable:
        return "enable_service";
      case ServiceVerb::kReset:
        return "reset_service";
      default:
        return "restart_service";
    }
  }

  static Result<ServiceState> template_status(const std::string& stem, StepContext& context) {
    auto units = context.systemd->list_units();
    if (!units) return propagate(std::move(units));
    const auto found = instances_of(stem, *units);
    ServiceState out;
    out.name = stem;
    out.kind = config::kUnitKind;
    out.replicas = static_cast<std::uint32_t>(found.up.size() + found.failed.size());
    out.ready = static_cast<std::uint32_t>(found.up.size());
    out.condition = !found.failed.empty() ? ServiceCondition::kFailed
                    : found.up.empty()    ? ServiceCondition::kDown
                                          : ServiceCondition::kUp;
    out.state = fmt::format("{} up, {} failed", found.up.size(), found.failed.size());
    return out;
  }

  const std::unique_ptr<Step> start_ = make_unit_job_step(UnitJob::kStart);
  const std::unique_ptr<Step> stop_ = make_unit_job_step(UnitJob::kStop);
  const std::unique_ptr<Step> restart_ = make_unit_job_step(UnitJob::kRestart);
  const std::unique_ptr<Step> reload_ = make_unit_job_step(UnitJob::kReload);
  const std::unique_ptr<Step> scale_ = make_unit_scale_step();
  const std::unique_ptr<Step> rollout_ = make_unit_rollout_step();
  const std::unique_ptr<Step> enable_ = make_unit_file_step(UnitFileWish::kEnable);
  const std::unique_ptr<Step> disable_ = make_unit_file_step(UnitFileWish::kDisable);
  const std::unique_ptr<Step> reset_ = make_unit_reset_step();
};

}  // namespace

const ServiceManagerDescriptor kUnitServices{
    .kind = config::kUnitKind,
    .help = "units of systemd, over D-Bus",
    .target_help = "\"web.service\" (\".service\" may be left out); \"web@\": all instances",
    .make = []() -> std::unique_ptr<ServiceManager> { return std::make_unique<Units>(); },
};

}  // namespace nexus::execute
