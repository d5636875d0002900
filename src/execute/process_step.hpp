// What steps on one process have in common: it is known by pid and start time, must not be a
// protected one, and is looked at again just before. Thread safety: as nexus/execute/step.hpp says.
#pragma once

#include <string>

#include "execute/process_guard.hpp"
#include "nexus/execute/step.hpp"

namespace nexus::execute {

class ProcessStep : public Step {
 public:
  [[nodiscard]] Status validate(const plan::Action& action,
                                const StepContext& context) const override {
    if (auto ok = check_parameters(action); !ok) return ok;
    auto process = target_process(action, *context.config);
    if (!process) return propagate(std::move(process));
    return {};
  }

  [[nodiscard]] std::string account(const plan::Action& action, const StepContext&) const override {
    return process_account(action);
  }

  std::string evidence(const plan::Action& action, StepContext&) override {
    return process_evidence(action);
  }

 private:
  [[nodiscard]] virtual Status check_parameters(const plan::Action& action) const = 0;
};

}  // namespace nexus::execute
