// What steps on containers have in common: finding them anew just before acting, refusing those
// that are protected or that are not what was decided on, waiting until one is well. Thread safety:
// as nexus/execute/step.hpp says.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "execute/container.hpp"
#include "nexus/execute/step.hpp"

namespace nexus::execute {

/// What a step works with while it runs.
struct ContainerWork {
  drivers::DockerControl engine;
  std::vector<Container> containers;
  const plan::Action& action;
  StepContext& context;
  const StepRun& run;

  /// A request to the engine; ended when the step is to end.
  [[nodiscard]] drivers::EngineCall call() const;
};

/// Containers that an action works on, until it ends. One target has one action at a time, but a
/// container of Compose has two names.
class ContainerClaim {
 public:
  ContainerClaim() = default;
  ~ContainerClaim();
  ContainerClaim(const ContainerClaim&) = delete;
  ContainerClaim& operator=(const ContainerClaim&) = delete;

  /// kConflict: another action works on one of them.
  [[nodiscard]] Status take(const std::vector<Container>& containers);

 private:
  std::vector<std::string> ids_;
};

class ContainerStep : public Step {
 public:
  [[nodiscard]] Status validate(const plan::Action& action,
                                const StepContext& context) const override;
  std::string evidence(const plan::Action& action, StepContext& context) override;
  Result<std::string> dry_run(const plan::Action& action, StepContext& context) final;
  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) final;

 protected:
  /// With the engine, and no containers so far. kUnavailable: none runs, or none runs yet;
  /// kNotFound: [docker] is switched off.
  [[nodiscard]] static Result<ContainerWork> engine_work(const plan::Action& action,
                                                         StepContext& context, const StepRun& run);
  /// The target's containers, none of them protected.
  [[nodiscard]] static Result<ContainerWork> look(const plan::Action& action, StepContext& context,
                                                  const StepRun& run);
  /// As they are now, protected or not.
  [[nodiscard]] static Result<std::vector<Container>> now(const plan::Action& action,
                                                          StepContext& context);
  /// "docker:" taken off.
  [[nodiscard]] static std::string name_of(const plan::Action& action);

 private:
  [[nodiscard]] virtual Status check(const plan::Action& action, const std::string& name) const = 0;
  [[nodiscard]] virtual Result<std::string> would(const ContainerWork& work) = 0;
  [[nodiscard]] virtual Result<StepResult> carry_out(ContainerWork& work) = 0;
};

/// Until it runs and, where it has a health check, is healthy: kConflict: it has ended, or is
/// unhealthy.
[[nodiscard]] Status wait_until_well(const std::string& id, const ContainerWork& work);
/// "web, api"
[[nodiscard]] std::string names_of(const std::vector<Container>& containers);

/// Of a container, or of all of a service of Compose one after the other.
[[nodiscard]] std::unique_ptr<Step> make_container_job_step(ServiceVerb verb);
/// Containers of a service of Compose, more by copies of one, or fewer.
[[nodiscard]] std::unique_ptr<Step> make_container_scale_step();
enum class RolloutTo { kNewer, kEarlier };
/// New containers in the place of the old ones. The old ones are kept, stopped, until all new ones
/// are well; when one is not, all are put back.
[[nodiscard]] std::unique_ptr<Step> make_container_rollout_step(RolloutTo where);

}  // namespace nexus::execute
