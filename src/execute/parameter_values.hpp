// Typed values of an action's parameters, whose types the descriptor has checked. Thread safety:
// pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/text.hpp"
#include "nexus/config/values.hpp"

namespace nexus::execute {

template <typename T>
[[nodiscard]] const T* find_parameter(const config::Parameters& parameters, std::string_view name) {
  const auto it = parameters.find(name);
  return it == parameters.end() ? nullptr : std::get_if<T>(&it->second);
}

[[nodiscard]] inline std::string text_parameter(const config::Parameters& parameters,
                                                std::string_view name,
                                                std::string_view otherwise = {}) {
  const auto* text = find_parameter<std::string>(parameters, name);
  return text != nullptr ? *text : std::string(otherwise);
}

[[nodiscard]] inline std::optional<double> number_parameter(const config::Parameters& parameters,
                                                            std::string_view name) {
  if (const auto* whole = find_parameter<std::int64_t>(parameters, name))
    return static_cast<double>(*whole);
  if (const auto* number = find_parameter<double>(parameters, name)) return *number;
  return std::nullopt;
}

[[nodiscard]] inline Millis duration_parameter(const config::Parameters& parameters,
                                               std::string_view name, Millis otherwise) {
  if (const auto* seconds = find_parameter<std::int64_t>(parameters, name))
    return Millis(*seconds * 1000);
  if (const auto* text = find_parameter<std::string>(parameters, name))
    return base::parse_duration(*text).value_or(otherwise);
  return otherwise;
}

/// A size written as "512MiB".
[[nodiscard]] inline Result<std::optional<std::uint64_t>> bytes_parameter(
    const config::Parameters& parameters, std::string_view name) {
  const auto* text = find_parameter<std::string>(parameters, name);
  if (text == nullptr) return std::nullopt;
  auto bytes = base::parse_bytes(*text);
  if (!bytes) return propagate(std::move(bytes), "parameter \"{}\"", name);
  return std::optional(*bytes);
}

/// Whether a text is filled in later, from a finding's labels.
[[nodiscard]] inline bool is_template(std::string_view text) {
  return text.contains("${");
}

}  // namespace nexus::execute
