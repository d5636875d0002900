// `nexus-agent chart VITAL`: a vital's history, forecast and anomalies, for eyes.
//
// Thread safety: one thread.
#pragma once

#include <string>

#include "agent/client.hpp"

namespace nexus::agent {

struct ChartFlags {
  std::string vital;
  std::string labels;  // of one series, a="b",c="d"; empty: the first ones
  int hours = 6;
  std::string horizon = "60m";
  std::string png;  // a file; empty: the terminal
};
/// The exit code.
int show_chart(const ClientFlags& flags, const ChartFlags& wanted);

}  // namespace nexus::agent
