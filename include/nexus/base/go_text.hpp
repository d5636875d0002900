// Numbers and texts as Go prints them: Prometheus's API, promtool and alert templates do, and
// people compare texts.
//
// All of them give the shortest digits that read back as the same double. NaN, +Inf and -Inf are
// spelled so. Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nexus::base {

/// Without an exponent: 100000, 0.00001 (Go's %f with the shortest precision).
void append_go_fixed(std::string& out, double value);
/// As Prometheus writes values in JSON: without an exponent from 1e-6 to 1e21, else 1e-07.
void append_go_json(std::string& out, double value);
/// As {{ $value }} shows it: without an exponent from 1e-4 to 1e6 (Go's %v).
[[nodiscard]] std::string go_value(double value);
/// 1.5E+00 (Go's %E with the shortest precision).
[[nodiscard]] std::string go_scientific(double value);
/// With at most `digits` significant ones, as %.4g: 1.235e+04.
[[nodiscard]] std::string go_general(double value, int digits);
/// In double quotes, with quotes, backslashes and control characters escaped (Go's %q).
[[nodiscard]] std::string go_quoted(std::string_view text);

}  // namespace nexus::base
