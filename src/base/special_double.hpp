// NaN and infinities as Go and Prometheus write them. Thread safety: a pure function.
#pragma once

#include <cmath>
#include <string>

namespace nexus::base {

/// "NaN", "+Inf" or "-Inf" behind `out`; false, and nothing, for any other number.
inline bool append_special(std::string& out, double value) {
  if (std::isfinite(value)) return false;
  out += std::isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
  return true;
}

}  // namespace nexus::base
