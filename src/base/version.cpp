#include "nexus/base/version.hpp"

namespace nexus::base {

std::string_view version() noexcept {
  return NEXUS_VERSION;
}

}  // namespace nexus::base
