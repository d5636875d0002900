// What is fuzzed: functions that take any bytes. Each ends the process when a promise is broken,
// and does nothing else with its input. Thread safety: one thread.
#pragma once

#include <array>
#include <string_view>

namespace nexus::fuzz {

void config(std::string_view text);     // agent.toml, with all its checks
void action(std::string_view text);     // the body of POST /operations/actions
void target(std::string_view text);     // a request's target; as a form too
void proc(std::string_view text);       // a letter for the file, then the file's content
void rules(std::string_view text);      // a rule file, and a file of unit tests of rules
void templates(std::string_view text);  // a template of a rule's label, expanded
// text_entries.cpp:
void promql(std::string_view text);       // an expression: parsed, printed, evaluated
void openmetrics(std::string_view text);  // what import takes, cut up in two ways
// history_entries.cpp:
void block(std::string_view text);    // the bytes of a block, read in every way
void segment(std::string_view text);  // a file of the history, opened as rows, log and minutes
void codec(std::string_view text);    // columns that are made of it, encoded and decoded
// source_entries.cpp:
void exposition(std::string_view text);  // a letter for the format, then what a target answers
void statsd(std::string_view text);      // a datagram
void dns(std::string_view text);         // the answer of a DNS server
void redis_info(std::string_view text);  // the answer to INFO
void kubeconfig(std::string_view text);  // a kubeconfig
void log_line(std::string_view text);    // lines of a log

struct Entry {
  std::string_view name;  // of the target and of the directory below corpus/
  void (*run)(std::string_view);
};
inline constexpr std::array<Entry, 17> kEntries = {{{"promql", promql},
                                                    {"config", config},
                                                    {"action", action},
                                                    {"target", target},
                                                    {"proc", proc},
                                                    {"rules", rules},
                                                    {"templates", templates},
                                                    {"openmetrics", openmetrics},
                                                    {"block", block},
                                                    {"segment", segment},
                                                    {"codec", codec},
                                                    {"exposition", exposition},
                                                    {"statsd", statsd},
                                                    {"dns", dns},
                                                    {"redis_info", redis_info},
                                                    {"kubeconfig", kubeconfig},
                                                    {"log_line", log_line}}};

}  // namespace nexus::fuzz
