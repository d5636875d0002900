// What is fuzzed: functions that take any bytes. Each ends the process when a promise is broken,
// and does nothing else with its input. Thread safety: one thread.
#pragma once

#include <array>
#include <string_view>

namespace nexus::fuzz {

void promql(std::string_view text);  // an expression: parsed, printed, evaluated
void config(std::string_view text);  // agent.toml, with all its checks
void action(std::string_view text);  // the body of POST /operations/actions
void target(std::string_view text);  // a request's target; as a form too
void proc(std::string_view text);    // a letter for the file, then the file's content

struct Entry {
  std::string_view name;  // of the target and of the directory below corpus/
  void (*run)(std::string_view);
};
inline constexpr std::array<Entry, 5> kEntries = {{{"promql", promql},
                                                   {"config", config},
                                                   {"action", action},
                                                   {"target", target},
                                                   {"proc", proc}}};

}  // namespace nexus::fuzz
