#include <algorithm>

#include "monitor/name_filter.hpp"
#include "nexus/base/text.hpp"
#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {
namespace {

using config::ParameterValue;

// Runs of a collector closer together than this would only measure the collector.
constexpr Millis kShortestInterval{10};

std::string_view expected(OptionType type) {
  switch (type) {
    case OptionType::kBool:
      return "true or false";
    case OptionType::kInteger:
      return "an integer";
    case OptionType::kNumber:
      return "a number";
    case OptionType::kDuration:
      return "a duration, e.g. \"5s\"";
    case OptionType::kString:
      return "a string";
    case OptionType::kStrings:
      return "an array of strings";
    case OptionType::kRegex:
      return "a regular expression in a string";
  }
  return "another value";
}

bool has_type(const ParameterValue& value, OptionType type) {
  const bool is_number =
      std::holds_alternative<std::int64_t>(value) || std::holds_alternative<double>(value);
  switch (type) {
    case OptionType::kBool:
      return std::holds_alternative<bool>(value);
    case OptionType::kInteger:
      return std::holds_alternative<std::int64_t>(value);
    case OptionType::kNumber:
      return is_number;
    case OptionType::kDuration:
      return is_number || std::holds_alternative<std::string>(value);
    case OptionType::kString:
    case OptionType::kRegex:
      return std::holds_alternative<std::string>(value);
    case OptionType::kStrings:
      return std::holds_alternative<std::vector<std::string>>(value);
  }
  return false;
}

Result<Millis> to_duration(const ParameterValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return base::parse_duration(*text);
  if (const auto* seconds = std::get_if<std::int64_t>(&value))
    return base::parse_duration(std::to_string(*seconds));
  return base::parse_duration(base::format_double(std::get<double>(value)));
}

Status check_value(const ParameterValue& value, OptionType type) {
  if (!has_type(value, type)) return fail(Errc::kInvalidArgument, "expected {}", expected(type));
  if (type == OptionType::kRegex) return check_regex(std::get<std::string>(value));
  if (type == OptionType::kDuration) {
    Result<Millis> duration = to_duration(value);
    if (!duration) return propagate(std::move(duration));
  }
  return {};
}

std::string known_names(std::span<const OptionDescriptor> options) {
  std::string names = "enabled, interval, deadline";
  for (const OptionDescriptor& option : options) names.append(", ").append(option.name);
  return names;
}

std::string known_collectors() {
  std::string names;
  for (const CollectorDescriptor* descriptor : collectors()) {
    names.append(names.empty() ? "" : ", ").append(descriptor->name);
  }
  return names;
}

void check_options(const CollectorDescriptor& descriptor, const config::CollectorConfig& config,
                   std::vector<config::Problem>& problems) {
  for (const auto& [name, value] : config.options) {
    const auto option = std::ranges::find(descriptor.options, name, &OptionDescriptor::name);
    if (option == descriptor.options.end()) {
      problems.push_back(
          {config.where, fmt::format("[collect.{}] {}: unknown option; expected one of {}",
                                     descriptor.name, name, known_names(descriptor.options))});
      continue;
    }
    if (const Status checked = check_value(value, option->type); !checked) {
      problems.push_back({config.where, fmt::format("[collect.{}] {}: {}", descriptor.name, name,
                                                    checked.error().message())});
    }
  }
}

void check_timing(std::string_view name, const config::CollectorConfig& config,
                  std::vector<config::Problem>& problems) {
  const auto check = [&](std::string_view key, const std::optional<Millis>& value) {
    if (!value || *value >= kShortestInterval) return;
    problems.push_back(
        {config.where,
         fmt::format("[collect.{}] {}: expected at least {}, not {}", name, key,
                     base::format_duration(kShortestInterval), base::format_duration(*value))});
  };
  check("interval", config.interval);
  check("deadline", config.deadline);
}

std::string_view unquoted(std::string_view text) {
  const bool quoted = text.size() >= 2 && (text.front() == '\'' || text.front() == '"') &&
                      text.back() == text.front();
  return quoted ? text.substr(1, text.size() - 2) : text;
}

const OptionDescriptor& option_of(const CollectorDescriptor& descriptor, std::string_view name) {
  const auto option = std::ranges::find(descriptor.options, name, &OptionDescriptor::name);
  NEXUS_CHECK(option != descriptor.options.end());
  return *option;
}

/// The configured value, or null. A value of another type was refused by check_collectors() before.
const ParameterValue* configured(const CollectorContext& context, const OptionDescriptor& option) {
  const auto found = context.options.find(option.name);
  if (found == context.options.end() || !has_type(found->second, option.type)) return nullptr;
  return &found->second;
}

}  // namespace

std::vector<config::Problem> check_collectors(const config::CollectSection& collect) {
  std::vector<config::Problem> problems;
  for (const auto& [name, config] : collect.collectors) {
    const CollectorDescriptor* descriptor = find_collector(name);
    if (descriptor == nullptr) {
      problems.push_back(
          {config.where, fmt::format("[collect.{}]: no such collector; expected one of {}", name,
                                     known_collectors())});
      continue;
    }
    check_timing(name, config, problems);
    check_options(*descriptor, config, problems);
  }
  return problems;
}

bool option_bool(const CollectorContext& context, const CollectorDescriptor& descriptor,
                 std::string_view name) {
  const OptionDescriptor& option = option_of(descriptor, name);
  NEXUS_CHECK(option.type == OptionType::kBool);
  const ParameterValue* value = configured(context, option);
  return value != nullptr ? std::get<bool>(*value) : option.default_value == "true";
}

std::int64_t option_integer(const CollectorContext& context, const CollectorDescriptor& descriptor,
                            std::string_view name) {
  const OptionDescriptor& option = option_of(descriptor, name);
  NEXUS_CHECK(option.type == OptionType::kInteger);
  if (const ParameterValue* value = configured(context, option))
    return std::get<std::int64_t>(*value);
  const auto fallback = base::parse_int(option.default_value);
  NEXUS_CHECK(fallback.has_value());
  return *fallback;
}

Millis option_duration(const CollectorContext& context, const CollectorDescriptor& descriptor,
                       std::string_view name) {
  const OptionDescriptor& option = option_of(descriptor, name);
  NEXUS_CHECK(option.type == OptionType::kDuration);
  if (const ParameterValue* value = configured(context, option)) {
    if (const Result<Millis> duration = to_duration(*value)) return *duration;
  }
  const Result<Millis> fallback = base::parse_duration(unquoted(option.default_value));
  NEXUS_CHECK(fallback.has_value());
  return *fallback;
}

std::string option_string(const CollectorContext& context, const CollectorDescriptor& descriptor,
                          std::string_view name) {
  const OptionDescriptor& option = option_of(descriptor, name);
  NEXUS_CHECK(option.type == OptionType::kString || option.type == OptionType::kRegex);
  const ParameterValue* value = configured(context, option);
  return value != nullptr ? std::get<std::string>(*value)
                          : std::string(unquoted(option.default_value));
}

std::vector<std::string> option_strings(const CollectorContext& context,
                                        const CollectorDescriptor& descriptor,
                                        std::string_view name) {
  const OptionDescriptor& option = option_of(descriptor, name);
  NEXUS_CHECK(option.type == OptionType::kStrings);
  if (const ParameterValue* value = configured(context, option))
    return std::get<std::vector<std::string>>(*value);
  std::vector<std::string> fallback;  // as written in agent.toml: ['a', 'b']
  std::string_view rest = option.default_value;
  NEXUS_CHECK(rest.starts_with('[') && rest.ends_with(']'));
  rest = rest.substr(1, rest.size() - 2);
  while (!rest.empty()) {
    const std::string_view item = unquoted(base::trim(base::take_until(rest, ',')));
    if (!item.empty()) fallback.emplace_back(item);
  }
  return fallback;
}

}  // namespace nexus::monitor
