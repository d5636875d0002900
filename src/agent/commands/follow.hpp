// Commands that ask for an action stay until it has ended, as systemctl does for its jobs.
//
// Thread safety: one thread.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <string_view>

#include "agent/client.hpp"
#include "nexus/base/clock.hpp"

namespace CLI {
class App;
}

namespace nexus::agent {

/// The action as it ended, or as it waits for a person's approval, which nobody stays for.
/// `longest` 0: for as long as it takes; every action has a time limit of its own.
/// Errors: the agent does not answer any more; kTimeout.
[[nodiscard]] Result<boost::json::value> follow(const ClientFlags& flags, const std::string& id,
                                                Millis longest = Millis{0});

/// Adds --no-wait.
void add_no_wait(CLI::App& command, bool& no_wait);

/// POSTs what makes an action, stays until it has ended unless `no_wait`, and prints it. The exit
/// code: 1 when it was refused, or ended other than succeeded.
int ask_for_action(const ClientFlags& flags, const std::string& path,
                   const boost::json::value& body, bool no_wait);
/// The same of one that is there, e.g. "01a2...": prints what it is now.
int show_action(const ClientFlags& flags, const std::string& id);

}  // namespace nexus::agent
