#include "agent/check.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "agent/commands.hpp"
#include "agent/commands/rules.hpp"
#include "agent/config_flags.hpp"

namespace nexus::agent {
namespace {

int check_config(const ConfigFlags& flags) {
  const auto options = flags.options();
  if (!options) {
    fmt::print(stderr, "{}\n", options.error().message());
    return 2;
  }
  const auto checked = check(*options);
  if (!checked.problems.empty()) {
    fmt::print(stderr, "{}\n{} problem{}\n", describe(checked.problems), checked.problems.size(),
               checked.problems.size() == 1 ? "" : "s");
    return 1;
  }
  for (const auto& unused : config::unused_variables(*options))
    fmt::print(stderr, "warning: {}\n", unused);
  std::string files;
  for (const auto& file : checked.files) files += (files.empty() ? "" : ", ") + file;
  fmt::print(
      "{}: valid: {} vitals, {} alerts, {} groups of rules, {} remedies, {} watched services\n",
      files.empty() ? flags.file : files, checked.rules->vitals.size(),
      checked.rules->alerts.size(), checked.rules->groups.size(), checked.config->remedies.size(),
      checked.config->services.size());
  return 0;
}

}  // namespace

void add_check(CLI::App& app, CommandContext& context) {
  auto* command = app.add_subcommand("check", "Check files without starting anything");
  command->require_subcommand(1);
  auto* sub = command->add_subcommand(
      "config", "Check the configuration: every problem with file, line and column");
  auto flags = std::make_shared<ConfigFlags>();
  flags->add_to(*sub);
  sub->add_option("file", flags->file, "The configuration to check");
  sub->callback([flags, &context] { context.code = check_config(*flags); });
  add_check_rules(*command, context);
}

}  // namespace nexus::agent
