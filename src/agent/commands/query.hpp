// `nexus-agent query`: a PromQL expression evaluated by the running agent, or over the data
// directory of a stopped one, shown as a table, JSON,
// CSV or a graph. Thread safety: one thread.
#pragma once

#include <string>

#include "agent/client.hpp"
#include "agent/commands/stopped.hpp"

namespace nexus::agent {

struct QueryFlags {
  std::string expression;
  std::string time;    // as moment() takes it; now when empty
  std::string start;   // with this a range
  std::string end;     // now when empty
  std::string step;    // a 250th of the range when empty
  std::string format;  // table, json, csv or graph; empty: as --output says
};

int query_agent(const ClientFlags& flags, const StoppedFlags& stopped, const QueryFlags& query);

}  // namespace nexus::agent
