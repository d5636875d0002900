#include "agent/budget.hpp"

#include <malloc.h>

#include <algorithm>

#include "nexus/base/log.hpp"

namespace nexus::agent {

Budget::Budget(knowledge::SelfMetrics& self)
    : stages_(self.gauge("nexus_shed_stages",
                         "Stages of analysis not run because the agent is over its budget.")) {}

void Budget::find_vitals(std::shared_ptr<const std::vector<config::VitalConfig>> definitions) {
  definitions_ = std::move(definitions);
  const auto find = [this](std::string_view name) -> std::optional<std::uint32_t> {
    const auto vital = std::ranges::find(*definitions_, name, &config::VitalConfig::name);
    if (vital == definitions_->end()) return std::nullopt;
    return static_cast<std::uint32_t>(vital - definitions_->begin());
  };
  cpu_ = find("agent_cpu_percent");
  memory_ = find("agent_resident_memory_bytes");
}

void Budget::weigh(const analyze::VitalsSnapshot& vitals, const config::AgentSection& limits) {
  if (vitals.definitions != definitions_) find_vitals(vitals.definitions);
  tidy();
  double load = 0;
  for (const auto& value : vitals.values) {
    if (value.vital == cpu_) {
      load = std::max(load, value.value / limits.cpu_budget_percent);
    } else if (value.vital == memory_) {
      load = std::max(load, value.value / static_cast<double>(limits.memory_budget));
    }
  }
  const int sheds = settle(load);
  if (sheds == shed_) return;
  log::warning("agent", "at {:.1f} times its own budget: {}", load,
               sheds == 2   ? "no anomalies and no forecasts for now"
               : sheds == 1 ? "no anomalies for now"
                            : "everything runs again");
  shed_ = sheds;
  stages_.set(sheds);
}

/// Queries over long ranges leave holes in the heap, and the C library gives back only what is free
/// at its end: a day of 1,500 series read once kept eight MiB.
void Budget::tidy() {
  constexpr std::size_t kMuch = 8U << 20;
  if (++tidy_turns_ < kTidyTurns) return;
  tidy_turns_ = 0;
  if (::mallinfo2().fordblks > kMuch) ::malloc_trim(0);
}

/// Up at once, down only after a while well below: what is shed lightens the load that decides.
int Budget::settle(double load) {
  const int up = load > 2 ? 2 : (load > 1 ? 1 : 0);
  const int down = load >= 2 * kCalm ? 2 : (load >= kCalm ? 1 : 0);
  if (up > shed_ || down >= shed_) {
    calm_turns_ = 0;
    return std::max(up, shed_);
  }
  if (++calm_turns_ < kCalmTurns) return shed_;
  calm_turns_ = 0;
  return down;
}

}  // namespace nexus::agent
