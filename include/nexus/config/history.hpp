// [history]: how long and in how many bytes samples are kept.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nexus/config/values.hpp"

namespace nexus::config {

/// [[history.tiers]]: min, max, sum, count and last of every `step`.
struct TierConfig {
  Millis step = 1min;
  Millis retention = 30 * 24h;
  bool operator==(const TierConfig&) const = default;
};
struct HistorySection {
  Millis retention = 24h;
  std::uint64_t memory = 32ULL << 20;  // bytes of compressed samples kept in memory
  std::uint64_t disk = 1ULL << 30;     // bytes of files below data_dir/history; 0: none
  Millis checkpoint = 10s;             // how often the newest samples are written
  std::string key_file = {};           // empty: not encrypted
  std::vector<TierConfig> tiers = {{1min, 30 * 24h}, {1h, 365 * 24h}};
  bool operator==(const HistorySection&) const = default;
};

}  // namespace nexus::config
