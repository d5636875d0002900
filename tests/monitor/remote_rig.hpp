// Runs one collector of what the agent is connected to, run after run. Thread safety: one thread.
#pragma once

#include <catch2/catch.hpp>
#include <string>

#include "monitor/host_tree.hpp"
#include "nexus/config/connections.hpp"
#include "nexus/monitor/observed.hpp"
#include "nexus/monitor/scheduler.hpp"

namespace nexus::monitor::testing {

class RemoteRig {
 public:
  RemoteRig(std::string_view name, const config::Connections& connections)
      : collector_(find_collector(name)
                       ->make({.roots = roots_,
                               .clock = clock,
                               .registry = registry,
                               .options = options_,
                               .observed = &observed,
                               .connections = &connections})
                       .value()) {}

  Status collect() {
    sink.clear();
    return collector_->collect(sink);
  }

  base::SystemClock clock;
  Observed observed;
  knowledge::SeriesRegistry registry{100'000};
  RecordingSink sink{registry, RecordingSink::Keep::kLines};

 private:
  const host::Roots roots_;
  const config::Parameters options_;
  const std::unique_ptr<Collector> collector_;
};

}  // namespace nexus::monitor::testing
