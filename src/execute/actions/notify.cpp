// notify: tells people, by the routes of the notifications.
#include <array>
#include <boost/json.hpp>

#include "execute/actions.hpp"
#include "execute/parameter_values.hpp"

namespace nexus::execute {
namespace {

constexpr std::size_t kLongest = 2000;

constexpr std::array<ParameterDescriptor, 2> kParameters{{
    {.name = "message",
     .type = ParameterType::kString,
     .required = true,
     .default_value = "",
     .help = "what to say; ${label} takes a label of the finding"},
    {.name = "severity",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "critical",
     .help = "info, warning or critical"},
}};

Result<config::Severity> severity_of(const config::Parameters& parameters) {
  const auto text = text_parameter(parameters, "severity", "critical");
  for (const auto each :
       {config::Severity::kInfo, config::Severity::kWarning, config::Severity::kCritical}) {
    if (config::to_string(each) == text) return each;
  }
  return fail(Errc::kInvalidArgument,
              "parameter \"severity\": expected info, warning or critical, got \"{}\"", text);
}

Status check_notice(const config::RemedyConfig& remedy, const config::Config&) {
  if (is_template(text_parameter(remedy.parameters, "severity"))) return {};
  if (auto severity = severity_of(remedy.parameters); !severity)
    return propagate(std::move(severity));
  return {};
}

class Notify final : public Step {
 public:
  [[nodiscard]] Status validate(const plan::Action& action, const StepContext&) const override {
    if (text_parameter(action.parameters, "message").size() > kLongest)
      return fail(Errc::kInvalidArgument, "parameter \"message\": expected at most {} bytes",
                  kLongest);
    if (auto severity = severity_of(action.parameters); !severity)
      return propagate(std::move(severity));
    return {};
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext&) override {
    return fmt::format("would tell people about {} ({}): {}", action.target,
                       text_parameter(action.parameters, "severity", "critical"),
                       text_parameter(action.parameters, "message"));
  }

  std::string evidence(const plan::Action&, StepContext&) override { return {}; }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto severity = severity_of(action.parameters);
    if (!severity) return propagate(std::move(severity));
    if (!context.notify) return fail(Errc::kUnavailable, "there is nobody who tells people");
    run.begun();
    const Notice notice{.severity = *severity,
                        .name = "remedy_notice",
                        .subject = action.target,
                        .text = text_parameter(action.parameters, "message"),
                        .labels = {{"target", action.target},
                                   {"remedy", action.remedy},
                                   {"finding", action.cause.finding}}};
    if (auto told = context.notify(notice); !told) return propagate(std::move(told));
    return StepResult{.result = "people are told: " + notice.text, .output = {}};
  }

  /// That people were told is no proof that anything is better, but it is all that it was for.
  std::optional<bool> verify(const plan::Action&, StepContext&) override { return std::nullopt; }

  Recovered recover(const plan::Action&, StepContext&, std::string& what) override {
    what = "whether people were told cannot be told";
    return Recovered::kUnknown;
  }
};

}  // namespace

const ActionDescriptor kNotify{
    .name = "notify",
    .help =
        "Tells people by the routes of the notifications, as a finding remedy_notice that ends by "
        "itself; the last step of many a ladder.",
    .target_help = "what it is about",
    .parameters = kParameters,
    .make = []() -> std::unique_ptr<Step> { return std::make_unique<Notify>(); },
    .check_remedy = check_notice,
    .gentle = true,
};

}  // namespace nexus::execute
