// How promtool prints alerts, samples and times of failed unit tests. Thread safety: pure
// functions.
#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/config/values.hpp"
#include "nexus/knowledge/labels.hpp"

namespace nexus::analyze {

struct ShownAlert {
  config::StringMap labels;
  config::StringMap annotations;
  auto operator<=>(const ShownAlert&) const = default;
};
[[nodiscard]] std::string shown(const std::vector<ShownAlert>& alerts);

struct ShownSample {
  knowledge::Labels labels;
  double value = 0;
};
[[nodiscard]] std::string shown(const std::vector<ShownSample>& samples);

/// As Go prints durations: 1h0m5s, 500ms.
[[nodiscard]] std::string go_duration(Millis duration);
/// Every line but the first moved to the right.
[[nodiscard]] std::string indented(std::string_view text, std::string_view indent);

}  // namespace nexus::analyze
