// The part of Prometheus's templates that annotations use most: {{ $value }} and {{ $labels.NAME
// }}.
//
// An absent label gives nothing; any other expression between the braces stays as it is written.
// Thread safety: pure function.
#pragma once

#include <string>
#include <string_view>

#include "nexus/knowledge/labels.hpp"

namespace nexus::analyze {

[[nodiscard]] std::string expand_template(std::string_view text, double value,
                                          const knowledge::Labels& labels);

}  // namespace nexus::analyze
