#include "execute/unit_file_step.hpp"

#include <boost/json.hpp>

#include "execute/journal_json.hpp"
#include "execute/service_job.hpp"
#include "nexus/config/config.hpp"
#include "nexus/drivers/unit_files.hpp"
#include "nexus/host/privileged.hpp"

namespace nexus::execute {
namespace {

/// The unit, when it may be touched by any of its names.
Result<drivers::UnitStatus> look(const plan::Action& action, StepContext& context) {
  if (context.systemd == nullptr) return fail(Errc::kUnavailable, "there is no systemd here");
  auto status = context.systemd->status(action.target);
  if (!status) return status;
  if (auto ok = check_unit(action.type, *status, *context.config); !ok)
    return propagate(std::move(ok));
  return status;
}

Status check_name(const plan::Action& action) {
  auto name = drivers::normalize_unit_name(action.target);
  if (!name) return propagate(std::move(name));
  return {};
}

class UnitFileStep final : public Step {
 public:
  explicit UnitFileStep(UnitFileWish wish) : wish_(wish) {}

  Status validate(const plan::Action& action, const StepContext&) const override {
    return check_name(action);
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto status = look(action, context);
    if (!status) return propagate(std::move(status));
    auto state = drivers::unit_file_state(status->name);
    if (!state) return propagate(std::move(state));
    return fmt::format("would {} {}, which is {}, and have systemd read its files anew",
                       wish_ == UnitFileWish::kEnable ? "enable" : "disable", status->name, *state);
  }

  std::string evidence(const plan::Action& action, StepContext&) override {
    auto state = drivers::unit_file_state(action.target);
    return boost::json::serialize(
        state ? boost::json::object{{"unit", action.target}, {"unit_file_state", *state}}
              : boost::json::object{{"error", state.error().message()}});
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto status = look(action, context);
    if (!status) return propagate(std::move(status));
    run.begun();
    if (auto ok = context.privileged.set_unit_enabled(status->name, wish_ == UnitFileWish::kEnable);
        !ok)
      return propagate(std::move(ok));
    return StepResult{
        .result = fmt::format("{} was {}, and is {}", status->name,
                              member_of(action.outcome.before, "unit_file_state"), wanted()),
        .output = {}};
  }

  std::optional<bool> verify(const plan::Action& action, StepContext&) override {
    const auto state = drivers::unit_file_state(action.target);
    return state && *state == wanted();
  }

  Recovered recover(const plan::Action& action, StepContext&, std::string& what) override {
    const auto state = drivers::unit_file_state(action.target);
    what = state ? fmt::format("{} is {}", action.target, *state) : state.error().message();
    if (!state) return Recovered::kUnknown;
    return *state == wanted() ? Recovered::kDone : Recovered::kNotDone;
  }

  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    const auto before = member_of(action.outcome.before, "unit_file_state");
    if (before == wanted()) return std::string("nothing to undo: it was so before");
    const bool enabled = before == "enabled";
    if (!enabled && before != "disabled")
      return fail(Errc::kConflict, "it was {} before, which is not to be had back", before);
    auto ok = context.privileged.set_unit_enabled(action.target, enabled);
    if (!ok) return propagate(std::move(ok));
    return fmt::format("undone: {} is {} again", action.target, before);
  }

 private:
  [[nodiscard]] std::string_view wanted() const {
    return wish_ == UnitFileWish::kEnable ? "enabled" : "disabled";
  }

  const UnitFileWish wish_;
};

class UnitResetStep final : public Step {
 public:
  Status validate(const plan::Action& action, const StepContext&) const override {
    return check_name(action);
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto status = look(action, context);
    if (!status) return propagate(std::move(status));
    return fmt::format("would have systemd forget that {} failed; it is {} ({})", status->name,
                       status->active_state, status->result);
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    auto status = look(action, context);
    return status
               ? unit_evidence(*status)
               : boost::json::serialize(boost::json::object{{"error", status.error().message()}});
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto status = look(action, context);
    if (!status) return propagate(std::move(status));
    run.begun();
    if (auto ok = context.privileged.reset_unit(status->name); !ok) return propagate(std::move(ok));
    return StepResult{.result = fmt::format("{} was {} ({}), which is forgotten", status->name,
                                            status->active_state, status->result),
                      .output = {}};
  }

  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    auto status = look(action, context);
    return status && status->active_state != "failed";
  }

  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    const bool done = verify(action, context).value_or(false);
    what = fmt::format("{} {}", action.target, done ? "is not failed" : "is failed");
    return done ? Recovered::kDone : Recovered::kNotDone;
  }
};

}  // namespace

std::unique_ptr<Step> make_unit_file_step(UnitFileWish wish) {
  return std::make_unique<UnitFileStep>(wish);
}
std::unique_ptr<Step> make_unit_reset_step() {
  return std::make_unique<UnitResetStep>();
}

}  // namespace nexus::execute
