// `nexus-agent import` and `export`: samples into and out of a running agent, or the data directory
// of a stopped one. Thread safety: one thread.
#pragma once

#include <string>
#include <vector>

#include "agent/client.hpp"
#include "agent/commands/stopped.hpp"

namespace nexus::agent {

/// OpenMetrics text with timestamps, plain or gzip; "-" is standard input.
int import_file(const ClientFlags& flags, const StoppedFlags& stopped, const std::string& path);

struct ExportFlags {
  std::vector<std::string> matches;
  std::string start;  // an hour before `end` when empty
  std::string end;    // now when empty
  std::string format = "openmetrics";
};
int export_samples(const ClientFlags& flags, const StoppedFlags& stopped,
                   const ExportFlags& wanted);

}  // namespace nexus::agent
