// [collect]: what is measured, how often and from where.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "nexus/config/values.hpp"

namespace nexus::config {

struct CollectorConfig {
  std::optional<bool> enabled;     // unset: the collector's own default
  std::optional<Millis> interval;  // unset: [collect] interval
  std::optional<Millis> deadline;  // unset: [collect] deadline
  Parameters options;              // checked against the collector's descriptor
  Where where;
  Places option_places;
  bool operator==(const CollectorConfig& o) const {
    return enabled == o.enabled && interval == o.interval && deadline == o.deadline &&
           options == o.options;
  }
};
struct CollectSection {
  Millis interval = 1s;
  Millis deadline = 5s;
  std::uint32_t threads = 2;
  std::uint32_t max_series = 100'000;  // of all collectors together
  std::uint32_t max_series_per_collector = 10'000;
  std::string procfs = "/proc";
  std::string sysfs = "/sys";
  std::string rootfs = "/";
  std::map<std::string, CollectorConfig, std::less<>> collectors;  // [collect.NAME]
  bool operator==(const CollectSection&) const = default;
};

}  // namespace nexus::config
