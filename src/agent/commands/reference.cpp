#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>

#include "agent/client.hpp"
#include "agent/commands.hpp"
#include "agent/commands/client_flags.hpp"
#include "nexus/execute/step.hpp"
#include "nexus/monitor/collector.hpp"
#include "nexus/monitor/source_kinds.hpp"
#include "nexus/publish/receiver.hpp"

namespace nexus::agent {
namespace {

std::string_view type_name(monitor::OptionType type) {
  switch (type) {
    case monitor::OptionType::kBool:
      return "boolean";
    case monitor::OptionType::kInteger:
      return "integer";
    case monitor::OptionType::kNumber:
      return "number";
    case monitor::OptionType::kDuration:
      return "duration";
    case monitor::OptionType::kString:
      return "string";
    case monitor::OptionType::kStrings:
      return "strings";
    case monitor::OptionType::kRegex:
      return "regular expression";
  }
  return "string";
}

std::string_view type_name(execute::ParameterType type) {
  switch (type) {
    case execute::ParameterType::kBool:
      return "boolean";
    case execute::ParameterType::kInteger:
      return "integer";
    case execute::ParameterType::kNumber:
      return "number";
    case execute::ParameterType::kString:
      return "string";
    case execute::ParameterType::kStrings:
      return "strings";
    case execute::ParameterType::kDuration:
      return "duration";
  }
  return "string";
}

std::string_view type_name(publish::OptionType type) {
  switch (type) {
    case publish::OptionType::kBool:
      return "boolean";
    case publish::OptionType::kInteger:
      return "integer";
    case publish::OptionType::kString:
      return "string";
    case publish::OptionType::kStrings:
      return "strings";
  }
  return "string";
}

void list_collectors() {
  for (const auto* descriptor : monitor::collectors()) {
    fmt::print("{:<20} {:<4} {}\n", descriptor->name, descriptor->enabled_by_default ? "on" : "off",
               descriptor->help);
  }
}

/// What /health/components says of the collectors.
int list_collector_status(const ClientFlags& flags) {
  const auto answer = call(flags, "GET", "/health/components");
  if (!answer) return report(answer.error());
  print_table(flags, *answer, "collectors",
              {{"COLLECTOR", "name"},
               {"OUTCOME", "outcome"},
               {"AGE (s)", "age_seconds"},
               {"EVERY (s)", "present_interval_seconds"},
               {"DEADLINE (s)", "deadline_seconds"},
               {"TOOK (s)", "duration_seconds"},
               {"CPU (s)", "cpu_seconds"},
               {"SAMPLES", "samples"},
               {"BUDGET", "series_budget"},
               {"DROPPED", "dropped"},
               {"RUNS", "runs"},
               {"FAILED", "failures"},
               {"STUCK", "stuck"},
               {"NOTE", "note"},
               {"ERROR", "error"}});
  return 0;
}

/// What /health/components says of scrapes, probes, statsd, pushes and logs.
int list_sources(const ClientFlags& flags) {
  const auto answer = call(flags, "GET", "/health/components");
  if (!answer) return report(answer.error());
  print_table(flags, *answer, "sources",
              {{"KIND", "kind"},
               {"NAME", "name"},
               {"INSTANCE", "instance"},
               {"HEALTH", "health"},
               {"AGE (s)", "age_seconds"},
               {"EVERY (s)", "interval_seconds"},
               {"TOOK (s)", "duration_seconds"},
               {"SAMPLES", "samples"},
               {"SERIES", "series"},
               {"DROPPED", "dropped"},
               {"ERROR", "error"}});
  return 0;
}

void list_actions() {
  for (const auto* descriptor : execute::actions())
    fmt::print("{:<21} {}\n", descriptor->name, descriptor->help);
}

void print_metrics(std::span<const monitor::MetricDescriptor> metrics) {
  fmt::print("\nmetrics\n");
  for (const auto& metric : metrics) {
    fmt::print("  {} ({})\n      {}\n", metric.name, knowledge::to_string(metric.type),
               metric.help);
  }
}

void describe_collector(const monitor::CollectorDescriptor& descriptor) {
  fmt::print("collector {}: {}\n{} by default; configured under [collect.{}]\n", descriptor.name,
             descriptor.help, descriptor.enabled_by_default ? "on" : "off", descriptor.name);
  if (!descriptor.options.empty()) fmt::print("\noptions\n");
  for (const auto& option : descriptor.options) {
    fmt::print("  {} ({}, default {})\n      {}\n", option.name, type_name(option.type),
               option.default_value.empty() ? "none" : option.default_value, option.help);
  }
  print_metrics(descriptor.metrics);
}

void describe_action(const execute::ActionDescriptor& descriptor) {
  fmt::print("action {}: {}\ntarget: {}\n", descriptor.name, descriptor.help,
             descriptor.target_help);
  if (!descriptor.parameters.empty()) fmt::print("\nparameters\n");
  for (const auto& parameter : descriptor.parameters) {
    fmt::print(
        "  {} ({}{}{})\n      {}\n", parameter.name, type_name(parameter.type),
        parameter.required ? ", required" : "",
        parameter.default_value.empty() ? "" : fmt::format(", default {}", parameter.default_value),
        parameter.help);
  }
  if (!descriptor.undo_help.empty()) fmt::print("\nundo: {}\n", descriptor.undo_help);
  if (descriptor.details != nullptr) fmt::print("\n{}", descriptor.details());
}

void describe_receiver(const publish::ReceiverDescriptor& descriptor) {
  fmt::print("notifier {}: {}\nconfigured under [notify.NAME] with type = \"{}\"\n",
             descriptor.name, descriptor.help, descriptor.name);
  if (!descriptor.secrets.empty()) fmt::print("\nsecrets\n");
  for (const auto& secret : descriptor.secrets) {
    fmt::print("  {0}_file, {0}_env or {0}_credential{1}{2}\n      {3}\n", secret.name,
               secret.may_be_written ? fmt::format(", or {} as it is", secret.name) : "",
               secret.required ? " (required)" : "", secret.help);
  }
  if (!descriptor.options.empty()) fmt::print("\noptions\n");
  for (const auto& option : descriptor.options) {
    fmt::print("  {} ({}, {})\n      {}\n", option.name, type_name(option.type),
               option.required
                   ? "required"
                   : fmt::format("default {}",
                                 option.default_value.empty() ? "none" : option.default_value),
               option.help);
  }
}

int describe(const std::string& name) {
  if (const auto* collector = monitor::find_collector(name)) {
    describe_collector(*collector);
    return 0;
  }
  if (const auto* kind = monitor::find_source_kind(name)) {
    fmt::print(
        "source {}: {}\nconfigured under {}; `nexus-agent list sources` shows how those of "
        "the running agent do\n",
        kind->name, kind->help, kind->table);
    print_metrics(kind->metrics);
    return 0;
  }
  if (const auto* action = execute::find_action(name)) {
    describe_action(*action);
    return 0;
  }
  if (const auto* receiver = publish::find_receiver(name)) {
    describe_receiver(*receiver);
    return 0;
  }
  fmt::print(stderr,
             "{}: no collector, source, action or notifier of that name; see `nexus-agent list "
             "collectors`, `list sources`, `list actions` and `list notifiers`\n",
             name);
  return 1;
}

}  // namespace

ClientFlags client_flags(const CLI::App& app) {
  ClientFlags flags;
  if (const char* socket = std::getenv("NEXUS_AGENT_SOCKET")) flags.socket = socket;
  const auto take = [&](const char* name, std::string& into) {
    const CLI::Option* option = app.get_option_no_throw(name);
    if (option != nullptr && option->count() > 0) into = option->as<std::string>();
  };
  take("--socket", flags.socket);
  take("--config", flags.config);
  take("--output", flags.output);
  return flags;
}

void add_reference(CLI::App& app, CommandContext& context) {
  auto* list = app.add_subcommand("list", "List what this agent can do");
  list->require_subcommand(1);
  auto* collectors = list->add_subcommand(
      "collectors", "Collectors, whether they are on by default, and what they do");
  auto is_live = std::make_shared<bool>(false);
  collectors->add_flag("--status", *is_live, "How those of the running agent do");
  collectors->callback([is_live, &app, &context] {
    if (*is_live) {
      context.code = list_collector_status(client_flags(app));
    } else {
      list_collectors();
    }
  });
  list->add_subcommand("sources",
                       "How scrapes, probes, statsd, pushes and logs of the running agent do")
      ->callback([&app, &context] { context.code = list_sources(client_flags(app)); });
  list->add_subcommand("actions", "Actions and what they do")->callback(list_actions);
  list->add_subcommand("notifiers", "Ways to be told of findings")->callback([] {
    for (const auto* descriptor : publish::receivers())
      fmt::print("{:<18} {}\n", descriptor->name, descriptor->help);
  });
  auto* command = app.add_subcommand(
      "describe",
      "Describe a collector, a kind of source, an action or a notifier: options, metrics");
  auto name = std::make_shared<std::string>();
  command->add_option("name", *name, "Its name")->required();
  command->callback([name, &context] { context.code = describe(*name); });
}

}  // namespace nexus::agent
