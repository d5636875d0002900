#include "agent/command_line.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "agent/commands.hpp"
#include "nexus/base/version.hpp"

namespace nexus::agent {
namespace {

constexpr int kUsage = 2;

}  // namespace

int command_line(int argc, char** argv) {
  CLI::App app(
      "nexus-agent: sees everything the host does, foresees trouble, acts under guardrails, and "
      "proves what it did.");
  app.set_version_flag("--version,-V", fmt::format("nexus-agent {}", base::version()));
  app.require_subcommand(1);
  CommandContext context;
  add_run(app, context);
  add_check(app, context);
  add_test(app, context);
  add_collect(app, context);
  add_replay(app, context);
  add_client(app, context);
  add_notify(app, context);
  add_forecast(app, context);
  add_reference(app, context);
  add_documents(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // CLI11 prints help and version to standard output with 0, everything else to standard error.
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  return context.code;
}

}  // namespace nexus::agent
