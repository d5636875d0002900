#include "config/environment.hpp"

#include <fmt/core.h>

#include <array>
#include <cstdlib>

#include "config/document.hpp"
#include "nexus/base/text.hpp"

namespace nexus::config {
namespace {

/// kSecret: the key takes the name of the variable, which is read where secrets are.
enum class Unit { kText, kNumber, kSeconds, kMinutes, kHours, kSecret };

struct Variable {
  std::string_view name;
  std::string_view key;
  Unit unit;
};

constexpr std::array<Variable, 17> kVariables = {{
    {"COLLECTION_INTERVAL", "collect.interval", Unit::kSeconds},
    {"HISTORY_RETENTION_HOURS", "history.retention", Unit::kHours},
    {"PREDICTION_HORIZON", "forecast.horizon", Unit::kMinutes},
    {"ANOMALY_CONTAMINATION", "anomaly.contamination", Unit::kNumber},
    {"CHECK_INTERVAL", "operations.check_interval", Unit::kSeconds},
    {"MAX_CONCURRENT_ACTIONS", "operations.max_concurrent_actions", Unit::kNumber},
    {"ACTION_TIMEOUT", "operations.action_timeout", Unit::kSeconds},
    {"LOG_LEVEL", "agent.log_level", Unit::kText},
    {"POSTGRES_HOST", "postgres.host", Unit::kText},
    {"POSTGRES_PORT", "postgres.port", Unit::kNumber},
    {"POSTGRES_DB", "postgres.database", Unit::kText},
    {"POSTGRES_USER", "postgres.user", Unit::kText},
    {"POSTGRES_PASSWORD", "postgres.password_env", Unit::kSecret},
    {"REDIS_HOST", "redis.host", Unit::kText},
    {"REDIS_PORT", "redis.port", Unit::kNumber},
    {"REDIS_PASSWORD", "redis.password_env", Unit::kSecret},
    {"REDIS_DB", "redis.database", Unit::kNumber},
}};

/// Of DESIGN.md section 7, but nothing is read from them by itself.
struct Unused {
  std::string_view name;
  std::string_view what;
};
constexpr std::array<Unused, 1> kUnused = {{
    {"SLACK_WEBHOOK_URL",
     "it is read only where [notify.NAME] has url_env = \"SLACK_WEBHOOK_URL\""},
}};

std::optional<std::string> variable(const LoadOptions& options, std::string_view name) {
  if (!options.environment) return std::nullopt;
  auto text = options.environment(std::string(name));
  if (text && base::trim(*text).empty()) return std::nullopt;
  return text;
}

/// What cannot be read stays a string: the reader of the key then says what it expected. A bare
/// number counts in the variable's unit; durations with their own unit are taken too.
Node to_node(const std::string& text, Unit unit, const Where& where) {
  Node node{where, text};
  if (unit == Unit::kText || unit == Unit::kSecret) return node;
  if (const auto integer = base::parse_int(text); integer && unit == Unit::kNumber) {
    node.value = *integer;
  } else if (const auto number = base::parse_double(text)) {
    switch (unit) {
      case Unit::kText:
      case Unit::kSecret:
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
  for (const auto& known : kVariables) {
    const auto text = variable(options, known.name);
    if (!text) continue;
    const auto source = fmt::format("environment variable {}", known.name);
    const std::string value(known.unit == Unit::kSecret ? known.name : base::trim(*text));
    settings.push_back(
        {source, std::string(known.key), to_node(value, known.unit, {source, 0, 0})});
  }
  return settings;
}

std::vector<std::string> unused_variables(const LoadOptions& options) {
  std::vector<std::string> out;
  for (const auto& unused : kUnused) {
    if (!variable(options, unused.name)) continue;
    out.push_back(fmt::format("environment variable {} is set; {}", unused.name, unused.what));
  }
  return out;
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
