// performance_tuning: of a service, its share of the machine; otherwise a kernel parameter.
#include <array>

#include "execute/actions.hpp"
#include "execute/container_limits.hpp"
#include "execute/property_step.hpp"
#include "execute/sysctl_step.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"
#include "nexus/plan/planner.hpp"

namespace nexus::execute {
namespace {

std::optional<std::int64_t> open_files() {
  return first_number("/proc/sys/fs/file-nr");
}

/// "0.20 0.18 0.12 1/80 11206": all threads are behind the stroke.
std::optional<std::int64_t> tasks() {
  const auto text = host::read_file("/proc/loadavg");
  if (!text) return std::nullopt;
  std::string_view rest = *text;
  std::ignore = base::take_until(rest, '/');
  return base::parse_int(base::take_word(rest));
}

constexpr std::array<AllowedSysctl, 9> kAllowed{{
    {"fs.file-max", 65'536, 1LL << 40, "", open_files},
    {"fs.inotify.max_user_instances", 128, 65'536},
    {"fs.inotify.max_user_watches", 8'192, 16'777'216},
    {"kernel.pid_max", 32'768, 4'194'304, "", tasks},
    {"vm.dirty_background_ratio", 1, 50, "vm.dirty_background_bytes"},
    {"vm.dirty_ratio", 2, 80, "vm.dirty_bytes"},
    {"vm.max_map_count", 65'530, 16'777'216},
    {"vm.swappiness", 0, 200},
    {"vm.vfs_cache_pressure", 1, 1'000},
}};

constexpr std::array<SettableProperty, 4> kSettable{{
    {"cpu_weight", "CPUWeight", PropertyKind::kWeight, "", 0},
    {"cpu_quota", "CPUQuotaPerSecUSec", PropertyKind::kPercent, "", 0},
    {"io_weight", "IOWeight", PropertyKind::kWeight, "", 0},
    {"tasks_max", "TasksMax", PropertyKind::kCount, "TasksCurrent", 110},
}};

constexpr std::array<ParameterDescriptor, 5> kParameters{{
    {.name = "value",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "",
     .help = "of a kernel parameter: a whole number"},
    {.name = "cpu_weight",
     .type = ParameterType::kInteger,
     .required = false,
     .default_value = "",
     .help = "of a service, 1 to 10000; 100 is what every service has"},
    {.name = "cpu_quota",
     .type = ParameterType::kInteger,
     .required = false,
     .default_value = "",
     .help = "of a service, percent of one processor"},
    {.name = "io_weight",
     .type = ParameterType::kInteger,
     .required = false,
     .default_value = "",
     .help = "of a service, 1 to 10000; 100 is what every service has"},
    {.name = "tasks_max",
     .type = ParameterType::kInteger,
     .required = false,
     .default_value = "",
     .help = "of a service: processes and threads; never below 1.1 times what it has now"},
}};

/// What a target is says which of the two it is about: "vm.swappiness", "web.service", "web".
class PerformanceTuning final : public Step {
 public:
  Status validate(const plan::Action& action, const StepContext& context) const override {
    return of(action).validate(action, context);
  }
  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    return of(action).dry_run(action, context);
  }
  std::string evidence(const plan::Action& action, StepContext& context) override {
    return of(action).evidence(action, context);
  }
  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    return of(action).run(action, context, run);
  }
  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    return of(action).verify(action, context);
  }
  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    return of(action).recover(action, context, what);
  }
  /// "web" and "web.service" are one.
  [[nodiscard]] std::string account(const plan::Action& action, const StepContext&) const override {
    return &of(action) == service_.get() ? plan::canonical_target("restart_service", action.target)
                                         : std::string();
  }
  Result<std::vector<SetValue>> values(const plan::Action& action, StepContext& context) override {
    return of(action).values(action, context);
  }
  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    return of(action).undo(action, context);
  }

 private:
  [[nodiscard]] Step& of(const plan::Action& action) const {
    const bool service = action.target.ends_with(".service") || action.target.contains(':') ||
                         !action.target.contains('.');
    return service ? *service_ : *kernel_;
  }

  const std::unique_ptr<Step> kernel_ = make_sysctl_step(kAllowed, "");
  const std::unique_ptr<Step> service_ =
      make_limits_step(make_container_limits_step(), make_property_step(kSettable));
};

}  // namespace

const ActionDescriptor kPerformanceTuning{
    .name = "performance_tuning",
    .help =
        "Sets a service's share of the machine at run time, or a kernel parameter within its "
        "range; "
        "reads it back, and takes it back when it did not help.",
    .target_help =
        "a service, \"docker:NAME\", or the name of a kernel parameter, e.g. \"vm.swappiness\"",
    .parameters = kParameters,
    .make = []() -> std::unique_ptr<Step> { return std::make_unique<PerformanceTuning>(); },
    .undo_help = "the old value is set again",
    .details = [] { return list_sysctls(kAllowed); },
    .sets_values = true,
};

}  // namespace nexus::execute
