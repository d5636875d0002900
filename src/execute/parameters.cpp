// Checks of an action's parameters against its descriptor.
#include <algorithm>

#include "nexus/base/text.hpp"
#include "nexus/execute/step.hpp"

namespace nexus::execute {
namespace {

std::string_view name_of(ParameterType type) {
  switch (type) {
    case ParameterType::kBool:
      return "true or false";
    case ParameterType::kInteger:
      return "an integer";
    case ParameterType::kNumber:
      return "a number";
    case ParameterType::kString:
      return "a string";
    case ParameterType::kStrings:
      return "an array of strings";
    case ParameterType::kDuration:
      return "a duration";
  }
  return "something else";
}

bool fits(ParameterType type, const config::ParameterValue& value) {
  switch (type) {
    case ParameterType::kBool:
      return std::holds_alternative<bool>(value);
    case ParameterType::kInteger:
      return std::holds_alternative<std::int64_t>(value);
    case ParameterType::kNumber:
      return std::holds_alternative<double>(value) || std::holds_alternative<std::int64_t>(value);
    case ParameterType::kString:
      return std::holds_alternative<std::string>(value);
    case ParameterType::kStrings:
      return std::holds_alternative<std::vector<std::string>>(value);
    case ParameterType::kDuration:
      if (const auto* seconds = std::get_if<std::int64_t>(&value)) return *seconds >= 0;
      if (const auto* text = std::get_if<std::string>(&value))
        return base::parse_duration(*text).has_value();
      return false;
  }
  return false;
}

std::string known_names(const ActionDescriptor& descriptor) {
  std::string out;
  for (const auto& known : descriptor.parameters) {
    if (!out.empty()) out += ", ";
    out += known.name;
  }
  return out.empty() ? "it takes none" : "it takes " + out;
}

/// "${label}" is filled in later: what it will be cannot be checked here.
bool is_template(const config::ParameterValue& value) {
  const auto* text = std::get_if<std::string>(&value);
  return text != nullptr && text->contains("${");
}

}  // namespace

Status check_parameters(const ActionDescriptor& descriptor, const config::Parameters& parameters) {
  for (const auto& [name, value] : parameters) {
    const auto known = std::ranges::find(descriptor.parameters, std::string_view(name),
                                         &ParameterDescriptor::name);
    if (known == descriptor.parameters.end()) {
      return fail(Errc::kInvalidArgument, "{} has no parameter \"{}\": {}", descriptor.name, name,
                  known_names(descriptor));
    }
    if (!is_template(value) && !fits(known->type, value)) {
      return fail(Errc::kInvalidArgument, "{}: parameter \"{}\": expected {}", descriptor.name,
                  name, name_of(known->type));
    }
  }
  for (const auto& wanted : descriptor.parameters) {
    if (wanted.required && !parameters.contains(wanted.name)) {
      return fail(Errc::kInvalidArgument, "{}: parameter \"{}\" is missing: expected {}",
                  descriptor.name, wanted.name, name_of(wanted.type));
    }
  }
  return {};
}

}  // namespace nexus::execute
