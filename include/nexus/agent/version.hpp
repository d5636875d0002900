// The version of this build. Thread safety: constants.
#pragma once

#include <string_view>

namespace nexus::agent {

inline constexpr std::string_view kVersion = NEXUS_VERSION;

}  // namespace nexus::agent
