// Numbers as text without exponent. Thread safety: pure functions.
#pragma once

#include <string>

namespace nexus::knowledge::promql {

/// The shortest digits that read back as the same double, zeros up to the point: 1e23 is a one and
/// 23 zeros. As Go's strconv.FormatFloat(value, 'f', -1, 64); NaN, +Inf, -Inf.
[[nodiscard]] std::string fixed_text(double value);

}  // namespace nexus::knowledge::promql
