#include "execute/property_step.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include "execute/cleanup_plan.hpp"
#include "execute/parameter_values.hpp"
#include "execute/unasked.hpp"
#include "nexus/config/config.hpp"
#include "nexus/drivers/systemd.hpp"
#include "nexus/host/privileged.hpp"
#include "nexus/plan/planner.hpp"

namespace nexus::execute {
namespace {

namespace json = boost::json;
using host::kNoLimit;

/// One property of a service: its value, and what the service takes of it.
struct Seen {
  std::optional<std::uint64_t> value;
  std::optional<std::uint64_t> used;
};

struct Setting {
  const SettableProperty* what;
  std::uint64_t before;
  std::uint64_t wanted;
};

std::string shown(const SettableProperty& what, std::uint64_t value) {
  if (value == kNoLimit) return "infinity";
  switch (what.kind) {
    case PropertyKind::kBytes:
      return show_bytes(value);
    case PropertyKind::kPercent:
      return fmt::format("{}%", value / 10'000);
    case PropertyKind::kWeight:
    case PropertyKind::kCount:
      break;
  }
  return fmt::format("{}", value);
}

/// In bytes, percent or what it counts; nothing: there is no limit.
std::optional<double> number_of(const SettableProperty& what, std::uint64_t value) {
  if (value == kNoLimit) return std::nullopt;
  const auto number = static_cast<double>(value);
  return what.kind == PropertyKind::kPercent ? number / 10'000 : number;
}

Result<std::uint64_t> relative(std::string_view text, std::uint64_t before) {
  auto digits = text.substr(1);
  digits.remove_suffix(1);
  const auto percent = base::parse_uint(digits);
  if (!percent || *percent == 0 || *percent > 1000)
    return fail(Errc::kInvalidArgument, "\"{}\": expected +1% to +1000% or -1% to -99%", text);
  if (before == kNoLimit)
    return fail(Errc::kConflict, "\"{}\": there is no limit that it could be of", text);
  const double share = static_cast<double>(*percent) / 100.0;
  const double factor = text.front() == '+' ? 1.0 + share : 1.0 - share;
  if (factor <= 0) return fail(Errc::kInvalidArgument, "\"{}\": nothing would be left", text);
  return static_cast<std::uint64_t>(std::llround(static_cast<double>(before) * factor));
}

Result<std::uint64_t> bytes_of(std::string_view text, std::uint64_t before) {
  if (text == "infinity") return kNoLimit;
  if (text.size() > 2 && text.ends_with('%') && (text.front() == '+' || text.front() == '-'))
    return relative(text, before);
  auto bytes = base::parse_bytes(text);
  if (!bytes) return bytes;
  constexpr std::uint64_t kLeast = 1U << 20;
  if (*bytes < kLeast) return fail(Errc::kInvalidArgument, "\"{}\": expected at least 1 MiB", text);
  return bytes;
}

Result<std::uint64_t> wanted_of(const SettableProperty& what, const config::ParameterValue& value,
                                std::uint64_t before) {
  if (what.kind == PropertyKind::kBytes) {
    const auto* text = std::get_if<std::string>(&value);
    if (text == nullptr) return fail(Errc::kInvalidArgument, "expected a size such as \"512MiB\"");
    return bytes_of(*text, before);
  }
  const auto* number = std::get_if<std::int64_t>(&value);
  std::int64_t most = 10'000;
  if (what.kind == PropertyKind::kPercent) most = 1'000'000;
  if (what.kind == PropertyKind::kCount) most = 10'000'000;
  if (number == nullptr || *number < 1 || *number > most)
    return fail(Errc::kInvalidArgument, "expected 1 to {}", most);
  const auto count = static_cast<std::uint64_t>(*number);
  return what.kind == PropertyKind::kPercent ? count * 10'000 : count;
}

std::optional<std::uint64_t> number_in(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_uint64()) return value->get_uint64();
  if (value->is_int64() && value->get_int64() >= 0)
    return static_cast<std::uint64_t>(value->get_int64());
  return std::nullopt;
}

/// systemd rounds bytes to pages.
bool is_near(const SettableProperty& what, std::uint64_t a, std::uint64_t b) {
  return (a > b ? a - b : b - a) <= (what.kind == PropertyKind::kBytes ? 65'536U : 0U);
}

class PropertyStep final : public Step {
 public:
  explicit PropertyStep(std::span<const SettableProperty> settable) : settable_(settable) {}

  Status validate(const plan::Action& action, const StepContext& context) const override {
    auto unit = unit_of(action.target, context);
    if (!unit) return propagate(std::move(unit));
    bool any = false;
    for (const auto& one : settable_) {
      const auto given = action.parameters.find(one.parameter);
      if (given == action.parameters.end()) continue;
      any = true;
      // What is relative is judged when it is known of what.
      auto wanted = wanted_of(one, given->second, 1ULL << 40);
      if (!wanted) return propagate(std::move(wanted), "parameter \"{}\"", one.parameter);
    }
    if (any) return {};
    std::string names;
    for (const auto& one : settable_)
      names += (names.empty() ? "" : ", ") + std::string(one.parameter);
    return fail(Errc::kInvalidArgument, "expected one or more of the parameters {}", names);
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto settings = settings_of(action, context);
    if (!settings) return propagate(std::move(settings));
    std::string out = fmt::format("would set of {}:", action.target);
    for (const auto& s : *settings)
      out += fmt::format("\n{} from {} to {}", s.what->property, shown(*s.what, s.before),
                         shown(*s.what, s.wanted));
    return out;
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    auto values = read(action.target, context);
    if (!values) return json::serialize(json::object{{"error", values.error().message()}});
    json::object out;
    for (std::size_t i = 0; i < settable_.size(); ++i) {
      const auto& [value, used] = (*values)[i];
      if (value) out.emplace(settable_[i].property, *value);
      if (used && *used != kNoLimit) out[settable_[i].used] = *used;
    }
    return json::serialize(out);
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto settings = settings_of(action, context);
    if (!settings) return propagate(std::move(settings));
    std::vector<host::NumberProperty> values;
    std::string said;
    for (const auto& s : *settings) {
      values.push_back({s.what->property, s.wanted});
      said += fmt::format("{}{} was {}, and is {}", said.empty() ? "" : "; ", s.what->property,
                          shown(*s.what, s.before), shown(*s.what, s.wanted));
    }
    run.begun();
    if (auto ok = context.privileged.set_unit_properties(action.target, values); !ok)
      return propagate(std::move(ok));
    return StepResult{.result = said, .output = {}};
  }

  /// Read back.
  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    const auto before = kept(action);
    auto values = read(action.target, context);
    if (!values) return false;
    for (std::size_t i = 0; i < settable_.size(); ++i) {
      const auto given = action.parameters.find(settable_[i].parameter);
      if (given == action.parameters.end()) continue;
      const auto was = number_in(before, settable_[i].property).value_or(kNoLimit);
      const auto wanted = wanted_of(settable_[i], given->second, was);
      const auto is = (*values)[i].value;
      if (!wanted || !is || !is_near(settable_[i], *wanted, *is)) return false;
    }
    return true;
  }

  Result<std::vector<SetValue>> values(const plan::Action& action, StepContext& context) override {
    const auto before = kept(action);
    auto seen = read(action.target, context);
    std::vector<SetValue> out;
    if (!seen && seen.error().code() == Errc::kNotFound) return out;
    if (!seen) return propagate(std::move(seen));
    for (std::size_t i = 0; i < settable_.size(); ++i) {
      const auto& one = settable_[i];
      const auto given = action.parameters.find(one.parameter);
      if (given == action.parameters.end() || !(*seen)[i].value) continue;
      const auto was = number_in(before, one.property).value_or(kNoLimit);
      const auto wanted = wanted_of(one, given->second, was);
      if (!wanted) continue;
      const auto is = *(*seen)[i].value;
      out.push_back({.parameter = std::string(one.parameter),
                     .name = std::string(one.property),
                     .wanted = shown(one, *wanted),
                     .found = shown(one, is),
                     .wanted_number = number_of(one, *wanted),
                     .found_number = number_of(one, is),
                     .as_set = is_near(one, *wanted, is)});
    }
    return out;
  }

  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    auto values = read(action.target, context);
    if (!values) {
      const auto became = unasked(values.error(), what);
      return context.systemd != nullptr ? became : Recovered::kUnknown;
    }
    const bool done = verify(action, context).value_or(false);
    what = fmt::format("{} {} the limits", action.target, done ? "has" : "does not have");
    return done ? Recovered::kDone : Recovered::kNotDone;
  }

  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    const auto before = kept(action);
    auto seen = read(action.target, context);
    if (!seen) return propagate(std::move(seen));
    if (is_as_before(action, before, *seen))
      return fmt::format("undone: {} is as before", action.target);
    if (!verify(action, context).value_or(false))
      return fail(Errc::kConflict, "{} is not as it was set any more, and is left as it is",
                  action.target);
    std::vector<host::NumberProperty> values;
    std::string said = "undone:";
    for (std::size_t i = 0; i < settable_.size(); ++i) {
      const auto& one = settable_[i];
      if (!action.parameters.contains(one.parameter)) continue;
      const auto was = number_in(before, one.property);
      if (!was) return fail(Errc::kNotFound, "what {} was before is not known", one.property);
      // It may have grown into what it was given.
      if (auto ok = check_limit(action.target, one, *was, (*seen)[i].used); !ok)
        return propagate(std::move(ok), "left as it was set");
      values.push_back({one.property, *was});
      said += fmt::format(" {} is {} again", one.property, shown(one, values.back().value));
    }
    if (auto ok = context.privileged.set_unit_properties(action.target, values); !ok)
      return propagate(std::move(ok));
    return said;
  }

 private:
  /// A service that may be touched, by any of its names.
  static Result<std::string> unit_of(std::string_view target, const StepContext& context) {
    auto name = drivers::normalize_unit_name(target);
    if (!name) return name;
    if (!name->ends_with(".service"))
      return fail(Errc::kInvalidArgument, "target: expected a service, got \"{}\"", target);
    const auto& extra = context.config->guardrails.protected_units;
    if (auto why = plan::protected_reason("restart_service", *name, extra))
      return fail(Errc::kPermissionDenied, "{}", *why);
    return name;
  }

  /// As settable_.
  Result<std::vector<Seen>> read(std::string_view target, StepContext& context) const {
    if (context.systemd == nullptr) return fail(Errc::kUnavailable, "there is no systemd here");
    auto unit = unit_of(target, context);
    if (!unit) return propagate(std::move(unit));
    auto status = context.systemd->status(*unit);
    if (!status) return propagate(std::move(status));
    if (status->load_state == "not-found")
      return fail(Errc::kNotFound, "there is no unit {}", status->name);
    for (const auto& name : status->names) {  // an alias does not hide sshd
      if (auto ok = unit_of(name, context); !ok) return propagate(std::move(ok));
    }
    std::vector<drivers::UnitProperty> asked;
    for (const auto& one : settable_) {
      asked.push_back({status->name, "Service", std::string(one.property)});
      if (!one.used.empty()) asked.push_back({status->name, "Service", std::string(one.used)});
    }
    auto numbers = context.systemd->unit_numbers(asked);
    if (!numbers) return propagate(std::move(numbers));
    std::vector<Seen> out;
    for (std::size_t at = 0; const auto& one : settable_) {
      auto& seen = out.emplace_back();
      seen.value = (*numbers)[at++];
      if (!one.used.empty()) seen.used = (*numbers)[at++];
    }
    return out;
  }

  Result<std::vector<Setting>> settings_of(const plan::Action& action, StepContext& context) const {
    auto values = read(action.target, context);
    if (!values) return propagate(std::move(values));
    std::vector<Setting> out;
    for (std::size_t i = 0; i < settable_.size(); ++i) {
      const auto& one = settable_[i];
      const auto given = action.parameters.find(one.parameter);
      if (given == action.parameters.end()) continue;
      const auto& seen = (*values)[i];
      if (!seen.value)
        return fail(Errc::kUnsupported, "{} has no {} that could be set", action.target,
                    one.property);
      auto wanted = wanted_of(one, given->second, *seen.value);
      if (!wanted) return propagate(std::move(wanted), "parameter \"{}\"", one.parameter);
      if (auto ok = check_limit(action.target, one, *wanted, seen.used); !ok)
        return propagate(std::move(ok));
      out.push_back({&one, *seen.value, *wanted});
    }
    return out;
  }

  static json::object kept(const plan::Action& action) {
    json::error_code error;
    auto value = json::parse(action.outcome.before, error);
    return !error && value.is_object() ? std::move(value.get_object()) : json::object{};
  }

  [[nodiscard]] bool is_as_before(const plan::Action& action, const json::object& before,
                                  const std::vector<Seen>& seen) const {
    for (std::size_t i = 0; i < settable_.size(); ++i) {
      if (!action.parameters.contains(settable_[i].parameter)) continue;
      const auto was = number_in(before, settable_[i].property);
      const auto& is = seen[i].value;
      if (!was || !is || !is_near(settable_[i], *was, *is)) return false;
    }
    return true;
  }

  const std::span<const SettableProperty> settable_;
};

}  // namespace

Status check_limit(std::string_view target, const SettableProperty& what, std::uint64_t limit,
                   std::optional<std::uint64_t> used) {
  if (limit == kNoLimit || !used || *used == kNoLimit) return {};
  const double least = static_cast<double>(*used) * what.least_percent / 100.0;
  if (static_cast<double>(limit) >= least) return {};
  return fail(Errc::kConflict, "{} takes {} now: {} is never set below {} % of that, and not to {}",
              target, shown(what, *used), what.property, what.least_percent, shown(what, limit));
}

std::unique_ptr<Step> make_property_step(std::span<const SettableProperty> settable) {
  return std::make_unique<PropertyStep>(settable);
}

}  // namespace nexus::execute
