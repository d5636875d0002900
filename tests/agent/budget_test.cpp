#include "agent/budget.hpp"

#include <catch2/catch.hpp>

#include "support/self_metrics.hpp"

using namespace nexus;
using namespace nexus::agent;

namespace {

struct Scale {
  Scale() {
    config::VitalConfig cpu;
    cpu.name = "agent_cpu_percent";
    vitals.definitions =
        std::make_shared<const std::vector<config::VitalConfig>>(std::vector{std::move(cpu)});
    limits.cpu_budget_percent = 10;
  }
  /// Weighs this many times the budget.
  void weigh(double load, int turns = 1) {
    vitals.values.assign(1, {});
    vitals.values[0].value = load * limits.cpu_budget_percent;
    for (int i = 0; i < turns; ++i) budget.weigh(vitals, limits);
  }
  [[nodiscard]] int shed() const {
    return (budget.allows_anomalies() ? 0 : 1) + (budget.allows_forecasts() ? 0 : 1);
  }

  analyze::VitalsSnapshot vitals;
  config::AgentSection limits;
  knowledge::SelfMetrics self;
  Budget budget{self};
};

}  // namespace

TEST_CASE("work is shed at once, and runs again only after a while well below") {
  Scale scale;
  scale.weigh(1.0);
  CHECK(scale.shed() == 0);
  scale.weigh(1.1);
  CHECK(scale.shed() == 1);
  scale.weigh(0.9, 1000);  // what was shed would bring it back over
  CHECK(scale.shed() == 1);
  scale.weigh(0.7, Budget::kCalmTurns - 1);
  scale.weigh(0.9);
  scale.weigh(0.7, Budget::kCalmTurns - 1);
  CHECK(scale.shed() == 1);
  scale.weigh(0.7);
  CHECK(scale.shed() == 0);
  CHECK(nexus::test::metric(scale.self, "nexus_shed_stages") == 0);
}

TEST_CASE("from twice the budget forecasts are shed too, and come back first") {
  Scale scale;
  scale.weigh(2.1);
  CHECK(scale.shed() == 2);
  scale.weigh(1.7, 1000);
  CHECK(scale.shed() == 2);
  scale.weigh(1.5, Budget::kCalmTurns);
  CHECK(scale.shed() == 1);
  CHECK(scale.budget.allows_forecasts());
  scale.weigh(2.1);
  CHECK(scale.shed() == 2);
  scale.weigh(0.1, Budget::kCalmTurns);
  CHECK(scale.shed() == 0);
}
