// One line of statsd: name:value|type|@rate|#tags, with DogStatsD's tags and several values.
//
// No bytes are an error of the reader's own: a line is a message, or it is told what is wrong with
// it. Views lead into the line. Thread safety: pure functions.
#pragma once

#include <string_view>
#include <vector>

#include "nexus/base/result.hpp"

namespace nexus::monitor {

enum class StatsdType { kCounter, kGauge, kTimer, kHistogram, kDistribution, kSet };

struct StatsdMessage {
  std::string_view name;
  std::string_view values;  // colons between several
  std::string_view tags;    // as written behind the #, commas between
  StatsdType type = StatsdType::kCounter;
  double rate = 1;
  /// Name, type and tags are the same wherever these bytes are: what a series is remembered by.
  std::string_view before;  // name
  std::string_view behind;  // type, rate and tags
};

/// kUnsupported: an event or a service check of DogStatsD.
[[nodiscard]] Result<StatsdMessage> read_statsd(std::string_view line);

/// A name as Prometheus takes it: what it does not take becomes _.
[[nodiscard]] std::string metric_name(std::string_view text);

}  // namespace nexus::monitor
