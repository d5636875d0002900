// `check rules`, beside `check config`. Thread safety: one thread.
#pragma once

#include "agent/commands.hpp"

namespace nexus::agent {

void add_check_rules(CLI::App& check, CommandContext& context);

}  // namespace nexus::agent
