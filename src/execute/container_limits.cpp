#include "execute/container_limits.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>

#include <algorithm>
#include <array>

#include "execute/cleanup_plan.hpp"
#include "execute/container_step.hpp"
#include "execute/parameter_values.hpp"
#include "execute/unasked.hpp"
#include "execute/waiting.hpp"
#include "nexus/config/config.hpp"

namespace nexus::execute {
namespace {

namespace json = boost::json;
using drivers::ContainerLimits;
using namespace std::chrono_literals;

constexpr std::int64_t kShares = 1024;               // of a container that has no other
constexpr std::int64_t kNanosAPercent = 10'000'000;  // of one processor
constexpr std::int64_t kLeastPercent = 110;          // of what it takes now
constexpr Millis kAskLimit = 5s;
constexpr std::int64_t kLeastMemory = 6 << 20;  // the engine takes no less

/// A limit, its place in HostConfig, and the parameter that sets it.
struct Limit {
  const char* parameter;
  const char* key;
  std::optional<std::int64_t> ContainerLimits::* value;
};
constexpr std::array<Limit, 6> kLimits{{
    {"memory_max", "Memory", &ContainerLimits::memory},
    {"memory_swap_max", "MemorySwap", &ContainerLimits::memory_swap},
    {"memory_high", "MemoryReservation", &ContainerLimits::memory_reservation},
    {"cpu_weight", "CpuShares", &ContainerLimits::cpu_shares},
    {"cpu_quota", "NanoCpus", &ContainerLimits::nano_cpus},
    {"tasks_max", "PidsLimit", &ContainerLimits::pids},
}};

ContainerLimits limits_in(const json::object& host) {
  ContainerLimits out;
  for (const auto& limit : kLimits) {
    const auto* value = host.if_contains(limit.key);
    if (value != nullptr && value->is_number())
      out.*limit.value = value->to_number<std::int64_t>();
    else
      out.*limit.value = 0;
  }
  return out;
}

Result<ContainerLimits> limits_of(const Container& container) {
  json::error_code error;
  const auto value = json::parse(container.inspected, error);
  const auto* object = error ? nullptr : value.if_object();
  const auto* host = object != nullptr ? object->if_contains("HostConfig") : nullptr;
  if (host == nullptr || !host->is_object())
    return fail(Errc::kCorrupt, "docker:{} has no HostConfig", container.name);
  return limits_in(host->get_object());
}

/// What it takes now, in bytes without the caches that the kernel can drop, and in processes;
/// nothing: it does not run, or the engine does not say.
struct InUse {
  std::optional<std::int64_t> memory;
  std::optional<std::int64_t> pids;
};

std::optional<std::int64_t> number_at(const json::value& value, std::string_view pointer) {
  boost::system::error_code error;
  const auto* found = value.find_pointer(pointer, error);
  if (found == nullptr || !found->is_number()) return std::nullopt;
  const auto number = found->to_number<std::int64_t>(error);
  return error ? std::nullopt : std::optional(number);
}

InUse in_use(const Container& container, const drivers::DockerControl& engine,
             SteadyTime deadline) {
  if (!container.runs()) return {};
  auto answer = engine.engine().request(
      "GET", fmt::format("/containers/{}/stats?stream=false&one-shot=true", container.id), {},
      deadline);
  if (!answer) return {};
  json::error_code error;
  const auto value = json::parse(answer->body, error);
  if (error) return {};
  InUse out{.memory = number_at(value, "/memory_stats/usage"),
            .pids = number_at(value, "/pids_stats/current")};
  // By its name in control groups of the first kind, and of the second.
  auto cache = number_at(value, "/memory_stats/stats/total_inactive_file");
  if (!cache) cache = number_at(value, "/memory_stats/stats/inactive_file");
  if (out.memory && cache && *cache < *out.memory) *out.memory -= *cache;
  return out;
}

std::string show(const Limit& limit, std::int64_t value) {
  const std::string_view key = limit.key;
  if (key.starts_with("Memory")) {
    if (value <= 0) return "unlimited";
    return show_bytes(static_cast<std::uint64_t>(value));
  }
  if (key == "NanoCpus")
    return value == 0 ? "unlimited" : fmt::format("{}%", value / kNanosAPercent);
  if (key == "PidsLimit" && value <= 0) return "unlimited";
  return std::to_string(value);
}

Result<std::optional<std::int64_t>> bytes_wanted(const config::Parameters& parameters,
                                                 std::string_view name) {
  auto bytes = bytes_parameter(parameters, name);
  if (!bytes) return propagate(std::move(bytes));
  if (!*bytes) return std::nullopt;
  if (**bytes < kLeastMemory || **bytes > (1ULL << 50))
    return fail(Errc::kInvalidArgument, "parameter \"{}\": expected at least 6 MiB", name);
  return static_cast<std::int64_t>(**bytes);
}

Result<std::optional<std::int64_t>> number_wanted(const config::Parameters& parameters,
                                                  std::string_view name, std::int64_t most) {
  const auto* number = find_parameter<std::int64_t>(parameters, name);
  if (number == nullptr) return std::nullopt;
  if (*number < 1 || *number > most)
    return fail(Errc::kInvalidArgument, "parameter \"{}\": expected 1 to {}", name, most);
  return *number;
}

/// What is to be set, of what is set now. What was not asked for is nothing.
Result<ContainerLimits> wanted_of(const config::Parameters& parameters,
                                  const ContainerLimits& before) {
  ContainerLimits out;
  for (const auto& [name, into] :
       {std::pair("memory_max", &ContainerLimits::memory),
        std::pair("memory_high", &ContainerLimits::memory_reservation)}) {
    auto bytes = bytes_wanted(parameters, name);
    if (!bytes) return propagate(std::move(bytes));
    out.*into = *bytes;
  }
  auto swap = bytes_wanted(parameters, "memory_swap_max");
  if (!swap) return propagate(std::move(swap));
  const auto memory = out.memory.value_or(before.memory.value_or(0));
  if (*swap && memory <= 0)
    return fail(Errc::kInvalidArgument,
                "parameter \"memory_swap_max\": the container has no memory limit that it could be "
                "on top of");
  const auto both = before.memory_swap.value_or(0);
  if (*swap) {
    out.memory_swap = memory + **swap;
  } else if (out.memory && both > 0) {
    // The engine has one limit for memory and swap: as much swap as there was.
    out.memory_swap = *out.memory + std::max<std::int64_t>(both - before.memory.value_or(0), 0);
  } else if (out.memory && both == 0) {
    out.memory_swap = *out.memory * 2;  // what the engine does at creation
  }
  auto weight = number_wanted(parameters, "cpu_weight", 10'000);
  if (!weight) return propagate(std::move(weight));
  if (*weight) out.cpu_shares = std::max<std::int64_t>(**weight * kShares / 100, 2);
  auto quota = number_wanted(parameters, "cpu_quota", 100'000);
  if (!quota) return propagate(std::move(quota));
  if (*quota) out.nano_cpus = **quota * kNanosAPercent;
  auto tasks = number_wanted(parameters, "tasks_max", 10'000'000);
  if (!tasks) return propagate(std::move(tasks));
  out.pids = *tasks;
  return out;
}

class ContainerLimitsStep final : public ContainerStep {
 public:
  std::string evidence(const plan::Action& action, StepContext& context) override {
    const auto containers = now(action, context);
    if (!containers) return json::serialize(json::object{{"error", containers.error().message()}});
    const auto& one = containers->front();
    json::object entry{{"id", one.id}, {"name", one.name}, {"state", one.state}};
    if (const auto limits = limits_of(one)) {
      for (const auto& limit : kLimits) entry[limit.key] = ((*limits).*limit.value).value_or(0);
    }
    if (const auto engine = engine_of(*context.config, context.clock)) {
      const auto used = in_use(one, *engine, context.clock.steady() + kAskLimit);
      if (used.memory) entry["in_use_bytes"] = *used.memory;
      if (used.pids) entry["in_use_pids"] = *used.pids;
    }
    return json::serialize(json::object{{"containers", json::array{std::move(entry)}}});
  }

  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    const auto containers = now(action, context);
    const auto before = kept(action);
    if (!containers || !before) return false;
    const auto wanted = wanted_of(action.parameters, *before);
    return wanted && has(containers->front(), *wanted);
  }

  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    const auto containers = now(action, context);
    if (!containers) return unasked(containers.error(), what);
    const bool done = verify(action, context).value_or(false);
    what = fmt::format("{} {} the limits", action.target, done ? "has" : "does not have");
    return done ? Recovered::kDone : Recovered::kNotDone;
  }

  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    const auto before = kept(action);
    if (!before) return fail(Errc::kNotFound, "what it was before is not known");
    const auto run = unattended_run(context.clock.steady() + 30s);
    auto work = look(action, context, run);
    if (!work) return propagate(std::move(work));
    auto wanted = wanted_of(action.parameters, *before);
    if (!wanted) return propagate(std::move(wanted));
    auto back = way_back(*wanted, *before, *work);
    if (back && has(work->containers.front(), *back))
      return fmt::format("undone: the limits of {} are as before", action.target);
    if (!verify(action, context).value_or(false))
      return fail(Errc::kConflict, "{} is not as it was set any more, and is left as it is",
                  action.target);
    if (!back) return propagate(std::move(back));
    if (auto ok = work->engine.update(work->containers.front().id, *back, work->call()); !ok)
      return propagate(std::move(ok));
    std::string said = "undone:";
    for (const auto& limit : kLimits) {
      if (const auto& value = (*back).*limit.value)
        said += fmt::format(" {} is {} again", limit.key,
                            show(limit, ((*before).*limit.value).value_or(*value)));
    }
    return said;
  }

 private:
  Status check(const plan::Action& action, const std::string& name) const override {
    if (is_compose(name))
      return fail(Errc::kInvalidArgument, "target: expected one container, got \"{}\"",
                  action.target);
    if (action.parameters.contains("io_weight"))
      return fail(Errc::kUnsupported, "parameter \"io_weight\": of units of systemd only");
    auto wanted = wanted_of(action.parameters, {.memory = 1LL << 40, .memory_swap = 1LL << 41});
    if (!wanted) return propagate(std::move(wanted));
    const bool any = std::ranges::any_of(
        kLimits, [&](const Limit& limit) { return bool((*wanted).*limit.value); });
    if (!any) return fail(Errc::kInvalidArgument, "expected one or more of the limits");
    return {};
  }

  Result<std::string> would(const ContainerWork& work) override {
    auto change = change_of(work);
    if (!change) return propagate(std::move(change));
    return fmt::format("would set of {}:{}", work.action.target,
                       said_of(change->before, change->wanted, "\n"));
  }

  Result<StepResult> carry_out(ContainerWork& work) override {
    auto change = change_of(work);
    if (!change) return propagate(std::move(change));
    work.run.begun();
    auto ok = work.engine.update(work.containers.front().id, change->wanted, work.call());
    if (!ok) return propagate(std::move(ok));
    return StepResult{.result = fmt::format("{}:{}", work.action.target,
                                            said_of(change->before, change->wanted, " ")),
                      .output = {}};
  }

  /// Those of `limits` that say something.
  static bool has(const Container& container, const ContainerLimits& limits) {
    const auto is = limits_of(container);
    return is && std::ranges::all_of(kLimits, [&](const Limit& limit) {
             const auto& value = limits.*limit.value;
             return !value || value == (*is).*limit.value;
           });
  }

  struct Change {
    ContainerLimits before;
    ContainerLimits wanted;
  };

  static std::string said_of(const ContainerLimits& before, const ContainerLimits& wanted,
                             std::string_view separator) {
    std::string out;
    for (const auto& limit : kLimits) {
      if (const auto& value = wanted.*limit.value)
        out += fmt::format("{}{} from {} to {}", separator, limit.key,
                           show(limit, (before.*limit.value).value_or(0)), show(limit, *value));
    }
    return out;
  }

  static bool lowers_memory(const ContainerLimits& limits, const Container& container) {
    const auto set = limits_of(container);
    const auto now = set ? set->memory.value_or(0) : 0;
    return now <= 0 || *limits.memory < now;
  }

  /// With the reserve that limits of units have, on the way back too.
  static Status fits(const ContainerLimits& limits, const ContainerWork& work) {
    const bool memory = limits.memory && *limits.memory > 0;
    const bool pids = limits.pids && *limits.pids > 0;
    if (!memory && !pids) return {};
    const auto used =
        in_use(work.containers.front(), work.engine, work.context.clock.steady() + kAskLimit);
    const auto check = [&](const std::optional<std::int64_t>& limit,
                           const std::optional<std::int64_t>& now, const Limit& what) -> Status {
      if (!now || *limit * 100 >= *now * kLeastPercent) return {};
      return fail(
          Errc::kConflict, "{} takes {} now: {} is never set below {} % of that, and not to {}",
          work.action.target, show(what, *now), what.key, kLeastPercent, show(what, *limit));
    };
    // What is missing holds: below what it takes the kernel would end it. More than is set now ends
    // nothing, and is wanted most by what is too busy to tell.
    const auto& one = work.containers.front();
    if (memory && !used.memory && one.runs() && lowers_memory(limits, one))
      return fail(Errc::kUnavailable,
                  "{}: how much memory it takes now is not known, and so not whether {} is enough",
                  work.action.target, show(kLimits.front(), *limits.memory));
    if (memory) {
      if (auto ok = check(limits.memory, used.memory, kLimits.front()); !ok) return ok;
    }
    return pids ? check(limits.pids, used.pids, kLimits.back()) : Status();
  }

  static Result<Change> change_of(const ContainerWork& work) {
    auto before = limits_of(work.containers.front());
    if (!before) return propagate(std::move(before));
    auto wanted = wanted_of(work.action.parameters, *before);
    if (!wanted) return propagate(std::move(wanted));
    if (auto ok = fits(*wanted, work); !ok) return propagate(std::move(ok));
    return Change{*before, *wanted};
  }

  /// No engine takes a limit off again: then it is one that is never reached.
  static Result<ContainerLimits> way_back(const ContainerLimits& wanted,
                                          const ContainerLimits& before,
                                          const ContainerWork& work) {
    ContainerLimits out;
    for (const auto& limit : kLimits) {
      if (wanted.*limit.value) out.*limit.value = (before.*limit.value).value_or(0);
    }
    if (out.cpu_shares && *out.cpu_shares == 0) out.cpu_shares = kShares;
    if (out.pids && *out.pids == 0) out.pids = -1;
    if (auto ok = fits(out, work); !ok) return propagate(std::move(ok));
    const bool lifts = (out.memory && *out.memory == 0) ||
                       (out.memory_reservation && *out.memory_reservation == 0) ||
                       (out.nano_cpus && *out.nano_cpus == 0);
    if (!lifts) return out;
    auto host = work.engine.engine().engine(work.run.deadline);
    if (!host) return propagate(std::move(host));
    const auto all = static_cast<std::int64_t>(host->memory);
    if (out.memory && *out.memory == 0) {
      out.memory = all;
      out.memory_swap = all * 2;
    }
    if (out.memory_reservation && *out.memory_reservation == 0) out.memory_reservation = all;
    if (out.nano_cpus && *out.nano_cpus == 0)
      out.nano_cpus = std::int64_t{host->cpus} * 100 * kNanosAPercent;
    return out;
  }

  static std::optional<ContainerLimits> kept(const plan::Action& action) {
    json::error_code error;
    const auto value = json::parse(action.outcome.before, error);
    const auto* object = error ? nullptr : value.if_object();
    const auto* list = object != nullptr ? object->if_contains("containers") : nullptr;
    if (list == nullptr || !list->is_array() || list->get_array().empty()) return std::nullopt;
    const auto* entry = list->get_array().front().if_object();
    if (entry == nullptr || !entry->contains("Memory")) return std::nullopt;
    return limits_in(*entry);
  }
};

class LimitsStep final : public Step {
 public:
  LimitsStep(std::unique_ptr<Step> containers, std::unique_ptr<Step> others)
      : containers_(std::move(containers)), others_(std::move(others)) {}

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
  [[nodiscard]] std::string account(const plan::Action& action,
                                    const StepContext& context) const override {
    return of(action).account(action, context);
  }
  Result<std::vector<SetValue>> values(const plan::Action& action, StepContext& context) override {
    return of(action).values(action, context);
  }
  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    return of(action).undo(action, context);
  }

 private:
  [[nodiscard]] Step& of(const plan::Action& action) const {
    return config::parse_service_name(action.target).kind == "docker" ? *containers_ : *others_;
  }

  const std::unique_ptr<Step> containers_;
  const std::unique_ptr<Step> others_;
};

}  // namespace

std::unique_ptr<Step> make_container_limits_step() {
  return std::make_unique<ContainerLimitsStep>();
}

std::unique_ptr<Step> make_limits_step(std::unique_ptr<Step> of_containers,
                                       std::unique_ptr<Step> of_others) {
  return std::make_unique<LimitsStep>(std::move(of_containers), std::move(of_others));
}

}  // namespace nexus::execute
