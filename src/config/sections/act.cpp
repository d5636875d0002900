// [operations], [[command]], [[remedy]], [guardrails] and [fleet].
#include <fmt/core.h>

#include "config/sections/sections.hpp"
#include "config/shapes.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/name_space.hpp"

namespace nexus::config {
namespace {

constexpr Period kTimeLimit{100ms, 7 * 24h};
constexpr Period kWindow{10s, 24h};
constexpr std::int64_t kMost = 1'000'000;
/// Each action has a thread; the unit has TasksMax=256 for all of them.
constexpr std::int64_t kMostWorkers = 64;
constexpr std::size_t kMostSteps = 16;
/// Lower-case letters, digits and '-'; nothing: that of the kubeconfig or the pod.
bool is_name_space_or_nothing(std::string_view text) {
  return text.empty() || is_name_space(text);
}
const Shape kLockPlace{is_name_space_or_nothing, "the name of a namespace of Kubernetes"};

constexpr auto kModes = {Mode::kObserve, Mode::kPropose, Mode::kAct};

void read_command(Section& section, Reading& reading) {
  CommandConfig command;
  command.where = section.where();
  section.require("name", kPlainName.expected);
  section.require("argv", "an array such as [\"/usr/bin/sync\"]");
  if (section.text("name", command.name, kPlainName) != nullptr) {
    reading.report.claim("command", command.name, section.place_of({"name"}));
  }
  const Node* argv = section.texts("argv", command.argv, kAnyText);
  if (argv != nullptr && (command.argv.empty() || !kAbsolutePath.accepts(command.argv.front()))) {
    section.expect("argv", *argv, "an array that begins with the absolute path of a program");
  }
  section.optional(&Section::duration, "timeout", command.timeout, kTimeLimit);
  reading.config.commands.push_back(std::move(command));
}

void read_verify(Section& section, std::optional<VerifyConfig>& out) {
  section.table("verify", [&](Section& verify) {
    VerifyConfig config;
    verify.require("expr", "a PromQL expression");
    verify.expression("expr", config.expr);
    verify.duration("within", config.within, kTimeLimit);
    out = std::move(config);
  });
}

void read_rung(Section& section, RemedyConfig& remedy) {
  RungConfig rung;
  rung.where = section.where();
  section.require("action", "the name of an action");
  section.text("action", rung.action, kPlainName);
  section.text("target", rung.target, kAnyText);
  Places places;
  section.parameters("parameters", rung.parameters, places);
  read_verify(section, rung.verify);
  section.optional(&Section::duration, "timeout", rung.timeout, kTimeLimit);
  remedy.steps.push_back(std::move(rung));
}

void read_experiment(Section& section, std::optional<ExperimentConfig>& out) {
  section.table("experiment", [&](Section& experiment) {
    ExperimentConfig config;
    experiment.require("metric", "a PromQL expression");
    experiment.expression("metric", config.metric);
    experiment.choice("better", config.better, {"lower", "higher"});
    experiment.duration("before", config.before, kWindow);
    experiment.duration("after", config.after, kWindow);
    experiment.number("confidence", config.confidence, {0.5, 1, false, true});
    experiment.number("min_effect", config.min_effect, {0, 1});
    out = std::move(config);
  });
}

/// A ladder has steps, and nothing else has.
void check_steps(Section& section, const RemedyConfig& remedy) {
  if (remedy.action == "composite" && remedy.steps.empty())
    section.complain("steps", "expected at least one [[remedy.steps]] of action = \"composite\"");
  if (remedy.action != "composite" && !remedy.steps.empty())
    section.complain("steps", "expected action = \"composite\" where there are steps");
  if (remedy.steps.size() > kMostSteps)
    section.complain(
        "steps", fmt::format("expected at most {} steps, got {}", kMostSteps, remedy.steps.size()));
}

void name_remedy(Section& section, RemedyConfig& remedy) {
  const bool named = section.text("name", remedy.name, kTitle) != nullptr;
  if (!named) {
    if (section.has("name") || remedy.action.empty() || remedy.on.text.empty()) return;
    remedy.name = fmt::format("{} on {}", remedy.action, remedy.on.text);
  }
  section.report().claim("remedy", remedy.name, section.place_of({"name"}));
}

void read_remedy(Section& section, Reading& reading) {
  RemedyConfig remedy;
  remedy.where = section.where();
  section.require(
      "on", "the name of a finding, or a selector such as service_failed{unit=\"web.service\"}");
  section.require("action", "the name of an action");
  section.expression("on", remedy.on);
  section.text("action", remedy.action, kPlainName);
  remedy.action_place = section.place_of({"action"});
  name_remedy(section, remedy);
  section.text("target", remedy.target, kAnyText);
  section.parameters("parameters", remedy.parameters, remedy.parameter_places);
  section.integer("priority", remedy.priority, 0, 100);
  Mode mode{};
  if (section.choice("mode", mode, kModes) != nullptr) remedy.mode = mode;
  section.optional(&Section::duration, "cooldown", remedy.cooldown, Period{});
  std::uint32_t attempts = 0;
  if (section.integer("max_attempts", attempts, 1, kMost) != nullptr)
    remedy.max_attempts = attempts;
  read_verify(section, remedy.verify);
  section.optional(&Section::duration, "timeout", remedy.timeout, kTimeLimit);
  Expression only_if;
  if (section.expression("only_if", only_if) != nullptr) remedy.only_if = std::move(only_if);
  section.tables("steps", [&](Section& step) { read_rung(step, remedy); });
  section.boolean("all_steps", remedy.all_steps);
  check_steps(section, remedy);
  read_experiment(section, remedy.experiment);
  section.boolean("enabled", remedy.enabled);
  reading.config.remedies.push_back(std::move(remedy));
}

}  // namespace

void read_operations(Section& root, Reading& reading) {
  OperationsSection& out = reading.config.operations;
  root.table("operations", [&](Section& operations) {
    operations.choice("mode", out.mode, kModes);
    operations.duration("check_interval", out.check_interval, {100ms, 1h});
    operations.integer("max_concurrent_actions", out.max_concurrent_actions, 1, kMostWorkers);
    operations.duration("action_timeout", out.action_timeout, kTimeLimit);
    operations.duration("approval_timeout", out.approval_timeout, {1s, kLongest});
    operations.integer("max_queue", out.max_queue, 1, kMost);
    operations.duration("journal_retention", out.journal_retention, {1h, kLongest});
    operations.integer("journal_actions", out.journal_actions, 1000, 10 * kMost);
  });
}

void read_commands(Section& root, Reading& reading) {
  root.tables("command", [&](Section& section) { read_command(section, reading); });
}

void read_remedies(Section& root, Reading& reading) {
  root.tables("remedy", [&](Section& section) { read_remedy(section, reading); });
}

void read_guardrails(Section& root, Reading& reading) {
  GuardrailsSection& out = reading.config.guardrails;
  root.table("guardrails", [&](Section& guardrails) {
    guardrails.duration("cooldown", out.cooldown);
    guardrails.duration("cooldown_max", out.cooldown_max);
    guardrails.number("jitter", out.jitter, {0, 1});
    guardrails.duration("reset_after", out.reset_after, {1s, kLongest});
    guardrails.integer("max_attempts", out.max_attempts, 1, kMost);
    guardrails.duration("breaker_open_for", out.breaker_open_for);
    guardrails.integer("max_actions_per_hour", out.max_actions_per_hour, 1, kMost);
    guardrails.integer("max_actions_per_hour_per_target", out.max_actions_per_hour_per_target, 1,
                       kMost);
    guardrails.integer("max_proposals_per_hour", out.max_proposals_per_hour, 1, kMost);
    guardrails.integer("max_targets_at_once", out.max_targets_at_once, 1, kMost);
    guardrails.number("max_share_at_once", out.max_share_at_once, {0, 1, true, false});
    guardrails.number("max_unhealthy_share", out.max_unhealthy_share, {0, 1, true, false});
    guardrails.integer("min_watched_for_share", out.min_watched_for_share, 1, kMost);
    guardrails.duration("max_finding_age", out.max_finding_age, {10s, kLongest});
    guardrails.texts("protected_units", out.protected_units);
  });
}

void read_fleet(Section& root, Reading& reading) {
  FleetSection& out = reading.config.fleet;
  root.table("fleet", [&](Section& fleet) {
    fleet.choice("lock", out.lock, {"none", "redis", "postgres", "kubernetes"});
    fleet.text("name", out.name, kPlainName);
    fleet.integer("budget", out.budget, 1, 1000);
    fleet.choice("scope", out.scope, {"action", "remedy", "all"});
    fleet.texts("actions", out.actions);
    fleet.duration("timeout", out.timeout, {100ms, 30s});
    fleet.text("namespace", out.name_space, kLockPlace);
  });
}

void check_fleet(Reading& reading) {
  const auto& config = reading.config;
  const bool redis = config.fleet.lock == "redis" && config.connections.redis.host.empty();
  const bool postgres = config.fleet.lock == "postgres" && config.connections.postgres.host.empty();
  if (config.fleet.lock == "kubernetes" && !config.connections.kubernetes.enabled) {
    reading.report.add(reading.report.place_of("fleet.lock"),
                       "fleet.lock: expected [kubernetes] not to be switched off for the lock "
                       "\"kubernetes\"");
  }
  if (!redis && !postgres) return;
  reading.report.add(reading.report.place_of("fleet.lock"),
                     fmt::format("fleet.lock: expected [{0}] host to be set for the lock \"{0}\"",
                                 config.fleet.lock));
}

void check_guardrails(Reading& reading) {
  const auto& guardrails = reading.config.guardrails;
  if (guardrails.cooldown <= guardrails.cooldown_max) return;
  auto where = reading.report.place_of("guardrails.cooldown_max");
  if (where.file.empty()) where = reading.report.place_of("guardrails.cooldown");
  reading.report.add(
      where,
      fmt::format("guardrails.cooldown_max: expected at least the cooldown of \"{}\", got \"{}\"",
                  base::format_duration(guardrails.cooldown),
                  base::format_duration(guardrails.cooldown_max)));
}

}  // namespace nexus::config
