// Whether what an action did was taken back, from its outcome. Thread safety: functions without
// state.
#pragma once

#include <string_view>

#include "nexus/plan/action.hpp"

namespace nexus::execute {

/// What Outcome::undone begins with when it could not be taken back.
inline constexpr std::string_view kNotUndone = "not undone: ";

/// What failed to be undone may be asked for again.
[[nodiscard]] inline bool is_undone(const plan::Outcome& outcome) noexcept {
  return !outcome.undone.empty() && !outcome.undone.starts_with(kNotUndone);
}

}  // namespace nexus::execute
