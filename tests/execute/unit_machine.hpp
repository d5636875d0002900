// An executor on the systemd of a booted machine. Thread safety: one thread.
#pragma once

#include "bench.hpp"
#include "drivers/machine.hpp"

namespace nexus::execute::test {

using drivers::testing::kLong;
using drivers::testing::TestUnit;

struct Machine {
  base::SystemClock clock;
  drivers::Systemd systemd{clock};
  TemporaryDirectory directory;
  Bench bench{clock, directory.file("state.db"), &systemd};

  drivers::UnitStatus status(const TestUnit& unit) { return systemd.status(unit.name()).value(); }
  void start(const TestUnit& unit) {
    REQUIRE(bench.privileged.unit_job(host::UnitJob::kStart, unit.name(),
                                      {.deadline = clock.steady() + kLong}));
  }
  Action action(const std::string& type, const TestUnit& unit) {
    auto out = bench.action(unit.name());
    out.type = type;
    return out;
  }
  void await(const TestUnit& unit, const std::string& state) {
    for (const auto end = clock.steady() + kLong; status(unit).active_state != state;) {
      INFO(unit.name() << " is " << status(unit).active_state << ", awaited is " << state);
      REQUIRE(clock.steady() < end);
    }
  }
};

}  // namespace nexus::execute::test
