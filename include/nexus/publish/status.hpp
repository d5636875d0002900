// What the outside is told of receivers. Thread safety: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "nexus/base/clock.hpp"

namespace nexus::publish {

struct ReceiverStatus {
  std::string name;
  std::string type;
  std::string state;  // idle, sending, waiting (to try again), open (its breaker)
  std::size_t queued = 0;
  std::uint32_t failures = 0;  // in a row
  std::uint64_t sent = 0;      // notifications, those of digests each
  std::uint64_t failed = 0;    // attempts
  std::uint64_t dropped = 0;   // notifications
  std::optional<WallTime> last_sent;
  std::optional<WallTime> next_attempt;
  std::string last_error;
};

}  // namespace nexus::publish
