// Whether an error says that a counterpart is away for the moment, so that asking again may tell.
// Thread safety: a function without state.
#pragma once

#include "nexus/base/result.hpp"

namespace nexus::base {

[[nodiscard]] inline bool is_away(const Error& error) noexcept {
  return error.code() == Errc::kUnavailable || error.code() == Errc::kTimeout;
}

}  // namespace nexus::base

namespace nexus {
using base::is_away;
}  // namespace nexus
