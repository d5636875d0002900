// How commands outside commands/client.cpp reach the running agent. Thread safety: one thread.
#pragma once

#include "agent/client.hpp"
#include "agent/commands.hpp"

namespace nexus::agent {

/// As given to the application, whose options add_client() made.
[[nodiscard]] ClientFlags client_flags(const CLI::App& app);

/// services ...; added by add_client(), whose flags it uses.
void add_services(CLI::App& app, CommandContext& context,
                  const std::shared_ptr<const ClientFlags>& flags);

}  // namespace nexus::agent
