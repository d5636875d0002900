// A signal to one process, and what follows when it does not end by it. Thread safety: as
// nexus/execute/step.hpp says.
#pragma once

#include <memory>
#include <string_view>

#include "nexus/execute/step.hpp"

namespace nexus::execute {

/// Of literals.
struct SignalWords {
  std::string_view signal = "TERM";            // where no parameter `signal` says otherwise
  std::string_view kill_after = "kill_after";  // the parameter of that meaning
};
[[nodiscard]] std::unique_ptr<Step> make_signal_step(const SignalWords& words = {});

}  // namespace nexus::execute
