// [operations], [[command]], [[remedy]] and [guardrails].
#include <fmt/core.h>

#include "config/sections/sections.hpp"
#include "config/shapes.hpp"
#include "nexus/base/text.hpp"

namespace nexus::config {
namespace {

constexpr Period kTimeLimit{100ms, 7 * 24h};
constexpr std::int64_t kMost = 1'000'000;
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
  section.boolean("enabled", remedy.enabled);
  reading.config.remedies.push_back(std::move(remedy));
}

}  // namespace

void read_operations(Section& root, Reading& reading) {
  OperationsSection& out = reading.config.operations;
  root.table("operations", [&](Section& operations) {
    operations.choice("mode", out.mode, kModes);
    operations.duration("check_interval", out.check_interval, {100ms, 1h});
    operations.integer("max_concurrent_actions", out.max_concurrent_actions, 1, 256);
    operations.duration("action_timeout", out.action_timeout, kTimeLimit);
    operations.duration("approval_timeout", out.approval_timeout, {1s, kLongest});
    operations.integer("max_queue", out.max_queue, 1, kMost);
    operations.duration("journal_retention", out.journal_retention, {1h, kLongest});
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
    guardrails.integer("max_targets_at_once", out.max_targets_at_once, 1, kMost);
    guardrails.number("max_unhealthy_share", out.max_unhealthy_share, {0, 1, true, false});
    guardrails.integer("min_watched_for_share", out.min_watched_for_share, 1, kMost);
    guardrails.texts("protected_units", out.protected_units);
  });
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
