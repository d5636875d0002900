// The command line: one binary, sub-commands, --help everywhere. Exit codes: 0, 1 (bad input or a
// refusal), 2 (usage).
#pragma once

namespace nexus::agent {

[[nodiscard]] int command_line(int argc, char** argv);

}  // namespace nexus::agent
