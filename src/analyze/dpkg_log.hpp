// Lines of /var/log/dpkg.log as a sentence. Pure.
#pragma once

#include <string>
#include <string_view>

namespace nexus::analyze {

/// "upgrade nginx 1.22.1-9 to 1.22.1-10, install libfoo 1.2, and 3 more"; empty when no line says
/// that a package was installed, upgraded or removed. Lines that are not understood are passed
/// over.
[[nodiscard]] std::string packages_changed(std::string_view lines);

}  // namespace nexus::analyze
