// `nexus-agent import` and `export`: samples into and out of a running agent, or the data directory
// of a stopped one. Thread safety: one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/client.hpp"
#include "agent/commands/stopped.hpp"

namespace nexus::agent {

/// OpenMetrics text with timestamps, plain or gzip; "-" is standard input.
int import_file(const ClientFlags& flags, const StoppedFlags& stopped, const std::string& path);

/// What became of an import's lines.
struct ImportTally {
  static constexpr std::uint64_t kShown = 100;  // mistakes; the rest is only counted

  std::uint64_t imported = 0;    // samples
  std::uint64_t held = 0;        // samples left out, whose time was there
  std::uint64_t refused = 0;     // lines, and samples that could not be written
  std::uint64_t over_limit = 0;  // of them, lines of series that have no room
};
/// Says it; the exit code.
int report_import(const std::string& path, const ImportTally& tally);

struct ExportFlags {
  std::vector<std::string> matches;
  std::string start;  // an hour before `end` when empty
  std::string end;    // now when empty
  std::string format = "openmetrics";
};
int export_samples(const ClientFlags& flags, const StoppedFlags& stopped,
                   const ExportFlags& wanted);

}  // namespace nexus::agent
