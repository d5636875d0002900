// Whether what an action did was taken back, from its outcome. Thread safety: functions without
// state.
#pragma once

#include <string_view>

#include "nexus/plan/action.hpp"

namespace nexus::execute {

/// What Outcome::undone begins with when it could not be taken back.
inline constexpr std::string_view kNotUndone = "not undone: ";

/// Written before an undo begins. An agent that finds it after its start undoes again: a step takes
/// back what is there to be taken back, and says of what it finds as it was that it is undone.
inline constexpr std::string_view kUndoing =
    "not undone: it was begun, and is not known to have ended";

[[nodiscard]] inline bool is_being_undone(const plan::Outcome& outcome) noexcept {
  return outcome.undone == kUndoing;
}

/// What failed to be undone may be asked for again.
[[nodiscard]] inline bool is_undone(const plan::Outcome& outcome) noexcept {
  return !outcome.undone.empty() && !outcome.undone.starts_with(kNotUndone);
}

}  // namespace nexus::execute
