#include "config/environment.hpp"

#include <fmt/core.h>

#include <array>
#include <cstdlib>

#include "config/document.hpp"
#include "nexus/base/text.hpp"

namespace nexus::config {
namespace {

enum class Unit { kText, kNumber, kSeconds, kMinutes, kHours };

struct Variable {
  std::string_view name;
  std::string_view key;
  Unit unit;
};

constexpr std::array<Variable, 8> kVariables = {{
    {"COLLECTION_INTERVAL", "collect.interval", Unit::kSeconds},
    {"HISTORY_RETENTION_HOURS", "history.retention", Unit::kHours},
    {"PREDICTION_HORIZON", "forecast.horizon", Unit::kMinutes},
    {"ANOMALY_CONTAMINATION", "anomaly.contamination", Unit::kNumber},
    {"CHECK_INTERVAL", "operations.check_interval", Unit::kSeconds},
    {"MAX_CONCURRENT_ACTIONS", "operations.max_concurrent_actions", Unit::kNumber},
    {"ACTION_TIMEOUT", "operations.action_timeout", Unit::kSeconds},
    {"LOG_LEVEL", "agent.log_level", Unit::kText},
}};

/// What cannot be read stays a string: the reader of the key then says what it expected. A bare
/// number counts in the variable's unit; durations with their own unit are taken too.
Node to_node(const std::string& text, Unit unit, const Where& where) {
  Node node{where, text};
  if (unit == Unit::kText) return node;
  if (const auto integer = base::parse_int(text); integer && unit == Unit::kNumber) {
    node.value = *integer;
  } else if (const auto number = base::parse_double(text)) {
    switch (unit) {
      case Unit::kText:
        break;
      case Unit::kNumber:
      case Unit::kSeconds:
        node.value = *number;
        break;
      case Unit::kMinutes:
        node.value = *number * 60;
        break;
      case Unit::kHours:
        node.value = *number * 3600;
        break;
    }
  }
  return node;
}

}  // namespace

std::vector<Setting> environment_settings(const LoadOptions& options) {
  std::vector<Setting> settings;
  if (!options.environment) return settings;
  for (const auto& variable : kVariables) {
    const auto text = options.environment(std::string(variable.name));
    if (!text || base::trim(*text).empty()) continue;
    const auto source = fmt::format("environment variable {}", variable.name);
    settings.push_back({source, std::string(variable.key),
                        to_node(std::string(base::trim(*text)), variable.unit, {source, 0, 0})});
  }
  return settings;
}

std::vector<Setting> override_settings(const LoadOptions& options) {
  std::vector<Setting> settings;
  for (const auto& [key, text] : options.overrides) {
    const auto source = fmt::format("flag {}", key);
    settings.push_back({source, key, parse_flag_value(text, {source, 0, 0})});
  }
  return settings;
}

Node as_document(const Setting& setting) {
  const Where where{setting.source, 0, 0};
  Node node = setting.value;
  std::string_view path = setting.key;
  while (true) {
    const auto dot = path.rfind('.');
    const auto key = dot == std::string_view::npos ? path : path.substr(dot + 1);
    node = Node{where, Table{{std::string(key), where, std::move(node)}}};
    if (dot == std::string_view::npos) return node;
    path = path.substr(0, dot);
  }
}

std::optional<std::string> process_environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

}  // namespace nexus::config
