#include "execute/quantities.hpp"

#include "execute/parameter_values.hpp"

namespace nexus::execute {

Result<drivers::QuantityChanges> quantities_of(const config::Parameters& parameters,
                                               std::string_view name) {
  drivers::QuantityChanges out;
  const auto* list = find_parameter<std::vector<std::string>>(parameters, name);
  if (list == nullptr) return out;
  for (const auto& one : *list) {
    const auto equals = one.find('=');
    const std::string key = one.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : one.substr(equals + 1);
    const auto number = drivers::parse_quantity(value);
    if (key.empty() || (value != "-" && (!number || *number < 0)))
      return fail(Errc::kInvalidArgument,
                  "parameter \"{}\": expected NAME=QUANTITY as memory=512Mi, or NAME=- to take it "
                  "away, got \"{}\"",
                  name, one);
    out.insert_or_assign(key, value == "-" ? std::nullopt : std::optional(value));
  }
  return out;
}

bool are_so(const drivers::QuantityChanges& changes, const drivers::QuantityTexts& now) {
  for (const auto& [name, wanted] : changes) {
    const auto found = now.find(name);
    if (!wanted) {
      if (found != now.end()) return false;
    } else if (found == now.end() ||
               drivers::parse_quantity(found->second) != drivers::parse_quantity(*wanted)) {
      return false;
    }
  }
  return true;
}

drivers::QuantityChanges back_to(const drivers::QuantityChanges& changes,
                                 const boost::json::value* before) {
  drivers::QuantityChanges out;
  for (const auto& [name, wanted] : changes) {
    const auto* was =
        before != nullptr && before->is_object() ? before->get_object().if_contains(name) : nullptr;
    out.emplace(name, was != nullptr && was->is_string()
                          ? std::optional(std::string(was->get_string()))
                          : std::nullopt);
  }
  return out;
}

boost::json::object to_json(const drivers::QuantityTexts& texts) {
  boost::json::object out;
  for (const auto& [name, text] : texts) out[name] = text;
  return out;
}

std::string shown(const drivers::QuantityChanges& changes) {
  std::string out;
  for (const auto& [name, wanted] : changes) {
    out +=
        fmt::format("{}{}{}", out.empty() ? "" : ", ", name, wanted ? " to " + *wanted : " away");
  }
  return out;
}

}  // namespace nexus::execute
