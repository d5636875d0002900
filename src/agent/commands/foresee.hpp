// `nexus-agent capacity` and `backtest`: what the running agent foresees, and how good that was.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <string>

#include "agent/client.hpp"

namespace nexus::agent {

int show_capacity(const ClientFlags& flags);

struct BacktestFlags {
  std::string vital;  // empty: all
  std::uint32_t days = 7;
  std::string horizon = "60m";
};
int backtest_agent(const ClientFlags& flags, const BacktestFlags& wanted);

}  // namespace nexus::agent
