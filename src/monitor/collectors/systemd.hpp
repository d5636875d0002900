// The systemd collector over any source of units, for tests.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nexus/drivers/systemd.hpp"
#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

struct UnitSource {
  std::function<Result<std::vector<drivers::UnitSummary>>()> units;
  std::function<Result<std::string>()> version;         // "252.39-1~deb12u1"
  std::function<Result<std::string>()> state;           // "running", "degraded", ...
  std::function<Result<std::string>()> virtualization;  // "kvm", "" on bare metal
  /// In the order asked; nothing in the place of what is not there.
  std::function<Result<std::vector<std::optional<std::uint64_t>>>(
      std::span<const drivers::UnitProperty>)>
      numbers;
};

[[nodiscard]] Result<std::unique_ptr<Collector>> make_systemd(const CollectorContext& context,
                                                              UnitSource source);

}  // namespace nexus::monitor
