// The version of this program, as in the project's CMakeLists.txt. Thread safety: pure function.
#pragma once

#include <string_view>

namespace nexus::base {

[[nodiscard]] std::string_view version() noexcept;  // "0.1.0"

}  // namespace nexus::base
