// The sub-commands, one file a group in src/agent/commands; each adds itself to the CLI11
// application.
//
// A command sets `Outcome::code` when it ran. Thread safety: one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace nexus::agent {

/// What all commands share: filled in by the options of the application.
struct CommandContext {
  int code = 0;
};

void add_run(CLI::App& app, CommandContext& context);        // run
void add_check(CLI::App& app, CommandContext& context);      // check config, check rules
void add_test(CLI::App& app, CommandContext& context);       // test rules
void add_collect(CLI::App& app, CommandContext& context);    // collect --once
void add_forecast(CLI::App& app, CommandContext& context);   // forecast FILE.csv
void add_reference(CLI::App& app, CommandContext& context);  // list, describe
void add_documents(CLI::App& app);                           // manual, completion
void add_notify(CLI::App& app, CommandContext& context);     // silence, notify
void add_replay(CLI::App& app, CommandContext& context);     // replay
void add_client(CLI::App& app,
                CommandContext& context);  // status, findings, actions, ... against a running agent

}  // namespace nexus::agent
