// What recover() says when whoever knows gives no answer. Thread safety: a function without state.
#pragma once

#include <string>

#include "nexus/base/away.hpp"
#include "nexus/execute/step.hpp"

namespace nexus::execute {

/// kNotReachable: it may be asked again; otherwise it will never be told. `what` is the reason.
[[nodiscard]] inline Recovered unasked(const Error& error, std::string& what) {
  what = error.message();
  return is_away(error) ? Recovered::kNotReachable : Recovered::kUnknown;
}

}  // namespace nexus::execute
