// What a person may look at first when a vital is anomalous.
// Thread safety: pure function.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nexus::analyze {

[[nodiscard]] std::vector<std::string> advice_for(std::string_view metric);

}  // namespace nexus::analyze
