#include "execute/sysctl_step.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include <boost/json.hpp>

#include "execute/journal_json.hpp"
#include "execute/parameter_values.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/config.hpp"
#include "nexus/host/file.hpp"
#include "nexus/host/privileged.hpp"

namespace nexus::execute {
namespace {

constexpr std::array<ParameterDescriptor, 1> kParameters{{
    {.name = "value",
     .type = ParameterType::kString,
     .required = true,
     .default_value = "",
     .help = "a whole number, or several with blanks between them"},
}};

struct Range {
  std::int64_t min;
  std::int64_t max;
};

/// Values as text, however many blanks or tabs stand between their numbers.
Result<std::vector<std::int64_t>> numbers_of(std::string_view text) {
  std::vector<std::int64_t> out;
  auto rest = text;
  for (auto word = base::take_word(rest); !word.empty(); word = base::take_word(rest)) {
    const auto number = base::parse_int(word);
    if (!number) return fail(Errc::kInvalidArgument, "\"{}\": expected whole numbers", text);
    out.push_back(*number);
  }
  if (out.empty()) return fail(Errc::kInvalidArgument, "expected a whole number, got nothing");
  return out;
}

/// For people: the kernel has tabs between the numbers.
std::string with_blanks(std::string_view text) {
  std::string out;
  for (auto word = base::take_word(text); !word.empty(); word = base::take_word(text)) {
    if (!out.empty()) out += ' ';
    out += word;
  }
  return out;
}

/// Nothing: there are several.
std::optional<double> the_number_of(std::string_view text) {
  const auto numbers = numbers_of(text);
  if (!numbers || numbers->size() != 1) return std::nullopt;
  return static_cast<double>(numbers->front());
}

class SysctlStep final : public Step {
 public:
  SysctlStep(std::span<const AllowedSysctl> shipped, std::string_view prefix)
      : shipped_(shipped), prefix_(prefix) {}

  [[nodiscard]] Status validate(const plan::Action& action,
                                const StepContext& context) const override {
    auto range = range_of(action.target, *context.config);
    if (!range) return propagate(std::move(range));
    auto wanted = numbers_of(text_parameter(action.parameters, "value"));
    if (!wanted) return propagate(std::move(wanted), "parameter \"value\"");
    for (const auto number : *wanted) {
      if (number >= range->min && number <= range->max) continue;
      return fail(Errc::kInvalidArgument, "parameter \"value\": expected {} to {} for {}, got {}",
                  range->min, range->max, action.target, number);
    }
    auto now = host::sysctl(action.target);
    if (!now) return propagate(std::move(now), "target");
    auto old = numbers_of(*now);
    if (!old) return propagate(std::move(old), "{}", action.target);
    if (old->size() != wanted->size()) {
      return fail(Errc::kInvalidArgument, "parameter \"value\": {} has {} numbers, got {}",
                  action.target, old->size(), wanted->size());
    }
    // Least, default and most memory of a socket (tcp(7)).
    if (action.target.ends_with("mem") && !std::ranges::is_sorted(*wanted)) {
      return fail(Errc::kInvalidArgument,
                  "parameter \"value\": {}: none may be below the one before", action.target);
    }
    return does_no_harm(action.target, *wanted);
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    if (auto ok = validate(action, context); !ok) return propagate(std::move(ok));
    auto now = host::sysctl(action.target);
    if (!now) return now;
    return fmt::format("would set {} from \"{}\" to \"{}\"", action.target, *now,
                       text_parameter(action.parameters, "value"));
  }

  std::string evidence(const plan::Action& action, StepContext&) override {
    const auto now = host::sysctl(action.target);
    return boost::json::serialize(
        now ? boost::json::object{{"name", action.target}, {"value", *now}}
            : boost::json::object{{"error", now.error().message()}});
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    if (auto ok = validate(action, context); !ok) return propagate(std::move(ok));
    const auto value = text_parameter(action.parameters, "value");
    run.begun();
    if (auto ok = context.privileged.set_sysctl(action.target, value); !ok) {
      // The kernel took another value than it was given, or a part of it.
      auto back = take_back(action, context);
      return fail(ok.error().code(), "{}; {}", ok.error().message(),
                  back ? *back : "not undone: " + back.error().message());
    }
    return StepResult{.result = fmt::format("{} was \"{}\", and is \"{}\"", action.target,
                                            member_of(action.outcome.before, "value"), value),
                      .output = {}};
  }

  std::optional<bool> verify(const plan::Action& action, StepContext&) override {
    const auto now = host::sysctl(action.target);
    if (!now) return false;
    const auto is = numbers_of(*now);
    const auto wanted = numbers_of(text_parameter(action.parameters, "value"));
    return is && wanted && *is == *wanted;
  }

  Result<std::vector<SetValue>> values(const plan::Action& action, StepContext& context) override {
    const auto now = host::sysctl(action.target);
    if (!now) {
      if (now.error().code() == Errc::kNotFound) return std::vector<SetValue>();
      return std::unexpected(now.error());
    }
    const auto wanted = text_parameter(action.parameters, "value");
    return std::vector{SetValue{.parameter = "value",
                                .name = action.target,
                                .wanted = with_blanks(wanted),
                                .found = with_blanks(*now),
                                .wanted_number = the_number_of(wanted),
                                .found_number = the_number_of(*now),
                                .as_set = verify(action, context).value_or(false)}};
  }

  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    const auto now = host::sysctl(action.target);
    what = now ? fmt::format("{} is \"{}\"", action.target, *now) : now.error().message();
    return verify(action, context).value_or(false) ? Recovered::kDone : Recovered::kNotDone;
  }

  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    const auto was = numbers_of(member_of(action.outcome.before, "value"));
    const auto now = host::sysctl(action.target);
    const auto is = now ? numbers_of(*now) : Result<std::vector<std::int64_t>>{};
    if (was && now && is && !was->empty() && *was == *is)
      return fmt::format("undone: {} is \"{}\", as before", action.target, *now);
    // What somebody else has set meanwhile is theirs.
    if (!verify(action, context).value_or(false)) {
      return fail(Errc::kConflict, "{} is not as it was set any more, and is left as it is",
                  action.target);
    }
    return take_back(action, context);
  }

 private:
  [[nodiscard]] Result<std::string> take_back(const plan::Action& action,
                                              StepContext& context) const {
    const auto before = member_of(action.outcome.before, "value");
    if (before.empty()) return fail(Errc::kNotFound, "what it was before is not known");
    auto numbers = numbers_of(before);
    if (!numbers) return propagate(std::move(numbers));
    // What is in use may have grown into what it was given.
    if (auto ok = does_no_harm(action.target, *numbers); !ok)
      return propagate(std::move(ok), "left as it was set");
    if (auto ok = context.privileged.set_sysctl(action.target, before); !ok)
      return propagate(std::move(ok));
    return fmt::format("undone: {} is \"{}\" again", action.target, before);
  }

  [[nodiscard]] const AllowedSysctl* known(std::string_view name) const {
    const auto found = std::ranges::find(shipped_, name, &AllowedSysctl::name);
    return found == shipped_.end() ? nullptr : &*found;
  }

  [[nodiscard]] Status does_no_harm(std::string_view name,
                                    std::span<const std::int64_t> wanted) const {
    const auto* what = known(name);
    if (what == nullptr) return {};
    if (!what->instead_of.empty()) {
      const auto other = host::sysctl(what->instead_of);
      if (other && *other != "0") {
        return fail(Errc::kConflict, "{} is {}, and the kernel would set it to 0 with {}",
                    what->instead_of, *other, name);
      }
    }
    const auto used = what->in_use == nullptr ? std::nullopt : what->in_use();
    constexpr double kRoom = 1.2;
    if (!used || static_cast<double>(wanted.front()) >= kRoom * static_cast<double>(*used))
      return {};
    return fail(Errc::kConflict,
                "{} are in use now: {} is never set below {} times that, and not to {}", *used,
                name, kRoom, wanted.front());
  }

  [[nodiscard]] Result<Range> range_of(std::string_view name, const config::Config& config) const {
    for (const auto& own : config.sysctls) {
      if (own.name == name && name.starts_with(prefix_)) return Range{own.min, own.max};
    }
    if (const auto* one = known(name)) return Range{one->min, one->max};
    return fail(Errc::kPermissionDenied,
                "{} may not be set: it is neither shipped as allowed nor listed as a [[sysctl]]",
                name);
  }

  const std::span<const AllowedSysctl> shipped_;
  const std::string_view prefix_;
};

}  // namespace

const std::span<const ParameterDescriptor> kSysctlParameters = kParameters;

std::unique_ptr<Step> make_sysctl_step(std::span<const AllowedSysctl> shipped,
                                       std::string_view prefix) {
  return std::make_unique<SysctlStep>(shipped, prefix);
}

std::optional<std::int64_t> first_number(const char* path) {
  const auto text = host::read_file(path);
  if (!text) return std::nullopt;
  std::string_view rest = *text;
  return base::parse_int(base::take_word(rest));
}

std::string list_sysctls(std::span<const AllowedSysctl> shipped) {
  std::string out = "kernel parameters, and their range\n";
  for (const auto& one : shipped)
    out += fmt::format("  {:<36} {} to {}\n", one.name, one.min, one.max);
  return out;
}

}  // namespace nexus::execute
