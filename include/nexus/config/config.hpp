// The configuration as plain values: the intermediate form between agent.toml and every engine
// (DESIGN.md section 7).
//
// Nothing here knows TOML, PromQL or a plugin. Every default is written here once; etc/agent.toml
// shows it. A value that a later room has to check (an expression, a plugin's option) carries the
// place where it was written, so that its complaint names file, line and column too.
//
// Units: durations are std::chrono, sizes are bytes, percentages are 0 to 100. Thread safety: plain
// values.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "nexus/base/clock.hpp"

namespace nexus::config {

using namespace std::chrono_literals;

/// Where something was written. Line and column count from 1; 0 when it came from a default, a flag
/// or the environment.
struct Where {
  std::string file;
  int line = 0;
  int column = 0;
  bool operator==(const Where&) const = default;
};
/// "agent.toml:12:7", or just the source when there is no line.
[[nodiscard]] std::string to_string(const Where& where);

/// Something wrong with the configuration.
struct Problem {
  Where where;
  std::string message;  // names the key and says what was expected
};
[[nodiscard]] std::string to_string(const Problem& problem);

/// A PromQL expression as written.
struct Expression {
  std::string text;
  Where where;
  bool operator==(const Expression& other) const { return text == other.text; }
};

/// A secret: there is no way to print it but reveal().
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  [[nodiscard]] const std::string& reveal() const noexcept { return value_; }
  [[nodiscard]] bool empty() const noexcept { return value_.empty(); }
  bool operator==(const Secret&) const = default;

 private:
  std::string value_;
};

using ParameterValue =
    std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>>;
using Parameters = std::map<std::string, ParameterValue, std::less<>>;
using StringMap = std::map<std::string, std::string, std::less<>>;
using Places =
    std::map<std::string, Where, std::less<>>;  // of keys, for complaints; never compared

enum class Role { kNone, kViewer, kOperator, kAdministrator };
enum class Severity { kInfo, kWarning, kCritical };
enum class Mode { kObserve, kPropose, kAct };
enum class Direction { kAbove, kBelow };                       // which side of a threshold is bad
[[nodiscard]] std::string_view to_string(Role role) noexcept;  // none viewer operator administrator
[[nodiscard]] std::string_view to_string(Severity severity) noexcept;    // info warning critical
[[nodiscard]] std::string_view to_string(Mode mode) noexcept;            // observe propose act
[[nodiscard]] std::string_view to_string(Direction direction) noexcept;  // above below

struct AgentSection {
  std::string data_dir = "/var/lib/nexus-agent";
  std::string log_level = "info";
  std::string log_format = "text";
  double cpu_budget_percent = 10;              // of one core
  std::uint64_t memory_budget = 256ULL << 20;  // resident bytes
  bool operator==(const AgentSection&) const = default;
};

struct HttpSection {
  std::vector<std::string> listen = {"127.0.0.1:8060", "127.0.0.1:8061",
                                     "unix:/run/nexus-agent/agent.sock"};
  bool allow_insecure = false;  // needed to listen beyond loopback: there is no TLS yet
  std::vector<std::string> allowed_hosts =
      {};  // Host headers accepted besides loopback names and listen addresses
  std::uint32_t max_connections = 5000;
  std::uint32_t max_requests_per_connection = 10'000;
  std::uint64_t max_header_bytes = 8ULL << 10;
  std::uint64_t max_body_bytes = 64ULL << 10;
  Millis idle_timeout = 30s;
  Millis read_timeout = 10s;  // for one whole request, headers and body
  Millis write_timeout = 10s;
  bool operator==(const HttpSection&) const = default;
};

struct TokenConfig {
  std::string name;
  Role role = Role::kViewer;
  Secret token;
  bool operator==(const TokenConfig&) const = default;
};
struct AuthSection {
  Role anonymous_role = Role::kViewer;  // over TCP without a token
  std::vector<TokenConfig> tokens;      // [[auth.token]]
  bool operator==(const AuthSection&) const = default;
};

struct CollectorConfig {
  std::optional<bool> enabled;     // unset: the collector's own default
  std::optional<Millis> interval;  // unset: [collect] interval
  std::optional<Millis> deadline;  // unset: [collect] deadline
  Parameters options;              // checked against the collector's descriptor
  Where where;
  Places option_places;
  bool operator==(const CollectorConfig& o) const {
    return enabled == o.enabled && interval == o.interval && deadline == o.deadline &&
           options == o.options;
  }
};
struct CollectSection {
  Millis interval = 1s;
  Millis deadline = 5s;
  std::uint32_t threads = 2;
  std::uint32_t max_series = 100'000;  // of all collectors together
  std::uint32_t max_series_per_collector = 10'000;
  std::string procfs = "/proc";
  std::string sysfs = "/sys";
  std::string rootfs = "/";
  std::map<std::string, CollectorConfig, std::less<>> collectors;  // [collect.NAME]
  bool operator==(const CollectSection&) const = default;
};

/// [[history.tiers]]: min, max, sum, count and last of every `step`.
struct TierConfig {
  Millis step = 1min;
  Millis retention = 30 * 24h;
  bool operator==(const TierConfig&) const = default;
};
struct HistorySection {
  Millis retention = 24h;
  std::uint64_t memory = 32ULL << 20;  // bytes of compressed samples kept in memory
  std::uint64_t disk = 1ULL << 30;     // bytes of files below data_dir/history; 0: none
  Millis checkpoint = 10s;             // how often the newest samples are written
  std::string key_file = {};           // empty: not encrypted
  std::vector<TierConfig> tiers = {{1min, 30 * 24h}, {1h, 365 * 24h}};
  bool operator==(const HistorySection&) const = default;
};

/// [[vital]]: a recording rule with unit and thresholds. One result series per element of the
/// expression's vector.
struct VitalConfig {
  std::string name;
  Expression expr;
  std::string unit;  // percent, bytes, bytes_per_second, seconds, ratio, count, ...
  std::string help;
  std::optional<double> warning;
  std::optional<double> critical;
  Direction direction = Direction::kAbove;
  std::optional<double> minimum;  // natural bounds of the value: forecasts are kept inside
  std::optional<double> maximum;
  Millis pending = 0s;  // `for`: how long a threshold must be crossed before its finding fires
  bool forecast = true;
  bool anomaly = true;
  bool enabled = true;  // `enabled = false` switches a shipped vital off
  Where where;
  bool operator==(const VitalConfig& o) const {
    return name == o.name && expr == o.expr && unit == o.unit && help == o.help &&
           warning == o.warning && critical == o.critical && direction == o.direction &&
           minimum == o.minimum && maximum == o.maximum && pending == o.pending &&
           forecast == o.forecast && anomaly == o.anomaly && enabled == o.enabled;
  }
};

struct ForecastSection {
  bool enabled = true;
  Millis horizon = 60min;  // how far ahead predictions are made
  Millis window = 60min;   // rolling window of the regression
  Millis interval = 15s;   // how often every vital's forecast is made anew
  std::uint32_t minimum_samples = 60;
  double minimum_r_squared = 0.5;  // below it a crossing is not reported as a finding
  double interval_level = 0.95;
  bool operator==(const ForecastSection&) const = default;
};

struct AnomalySection {
  bool enabled = true;
  double contamination =
      0.1;  // share of training samples that lies below the offset of the decision function
  std::uint32_t trees = 100;
  std::uint32_t subsample = 256;
  Millis window = 6h;  // training window
  Millis retrain = 1h;
  Millis interval = 5s;                 // how often every vital is scored
  std::uint32_t minimum_samples = 256;  // below it a model says "warming up"
  bool operator==(const AnomalySection&) const = default;
};

struct AlertConfig {
  std::string name;
  Expression expr;
  Millis pending = 0s;  // `for`
  Millis keep_firing_for = 0s;
  Severity severity = Severity::kWarning;
  StringMap labels;
  StringMap annotations;
  Where where;
  bool operator==(const AlertConfig& o) const {
    return name == o.name && expr == o.expr && pending == o.pending &&
           keep_firing_for == o.keep_firing_for && severity == o.severity && labels == o.labels &&
           annotations == o.annotations;
  }
};

struct OperationsSection {
  Mode mode = Mode::kAct;  // of the whole agent; a remedy can only be more careful
  Millis check_interval = 1s;
  std::uint32_t max_concurrent_actions = 3;
  Millis action_timeout = 300s;
  Millis approval_timeout = 1h;  // a proposal that nobody answers expires
  std::uint32_t max_queue = 1000;
  Millis journal_retention = 90 * 24h;
  bool operator==(const OperationsSection&) const = default;
};

/// [[command]]: the only commands that `run_command` may run. An argv array, never a shell line.
struct CommandConfig {
  std::string name;
  std::vector<std::string> argv;
  std::optional<Millis> timeout;
  Where where;
  bool operator==(const CommandConfig& o) const {
    return name == o.name && argv == o.argv && timeout == o.timeout;
  }
};

struct VerifyConfig {
  Expression expr;      // must be true (a non-empty vector or a non-zero scalar) ...
  Millis within = 30s;  // ... within this time after the action
  bool operator==(const VerifyConfig&) const = default;
};

struct RemedyConfig {
  std::string name;
  /// A finding's name, or a PromQL selector over its name and labels:
  /// `service_failed{unit=~"web.*"}`.
  Expression on;
  std::string action;
  std::string target;     // "${label}" takes a label of the finding; empty: the finding's subject
  Parameters parameters;  // the same substitution in strings
  int priority = 50;      // 0 (first) to 100 (last)
  std::optional<Mode> mode;
  std::optional<Millis> cooldown;  // unset: [guardrails] cooldown
  std::optional<std::uint32_t> max_attempts;
  std::optional<VerifyConfig> verify;  // unset: the action's own check
  std::optional<Millis> timeout;       // unset: [operations] action_timeout
  bool enabled = true;
  Where where;
  Where action_place;
  Places parameter_places;
  bool operator==(const RemedyConfig& o) const {
    return name == o.name && on == o.on && action == o.action && target == o.target &&
           parameters == o.parameters && priority == o.priority && mode == o.mode &&
           cooldown == o.cooldown && max_attempts == o.max_attempts && verify == o.verify &&
           timeout == o.timeout && enabled == o.enabled;
  }
};

struct GuardrailsSection {
  Millis cooldown =
      10s;  // after the first action of a remedy on a target; doubles with each further one
  Millis cooldown_max = 300s;
  double jitter = 0.1;         // share of the cool-down added at random
  Millis reset_after = 10min;  // counters fall back after this long without an action or a failure
  std::uint32_t max_attempts = 5;  // then the breaker of (remedy, target) opens
  Millis breaker_open_for = 0s;    // 0: stays open until a person resets it
  std::uint32_t max_actions_per_hour = 60;
  std::uint32_t max_actions_per_hour_per_target = 12;
  std::uint32_t max_targets_at_once = 3;
  std::vector<std::string> protected_units;  // globs, besides the compiled-in floor
  bool operator==(const GuardrailsSection&) const = default;
};

struct ServiceConfig {
  std::string name;  // "web.service"
  std::string kind = "systemd";
  std::vector<std::string> depends_on;
  Where where;
  bool operator==(const ServiceConfig& o) const {
    return name == o.name && kind == o.kind && depends_on == o.depends_on;
  }
};

struct Config {
  AgentSection agent;
  HttpSection http;
  AuthSection auth;
  CollectSection collect;
  HistorySection history;
  std::vector<VitalConfig>
      vitals;  // the shipped ones first (with what the user replaced), then the user's
  ForecastSection forecast;
  AnomalySection anomaly;
  std::vector<AlertConfig> alerts;
  OperationsSection operations;
  std::vector<CommandConfig> commands;
  std::vector<RemedyConfig> remedies;
  GuardrailsSection guardrails;
  std::vector<ServiceConfig> services;  // [services] watch
  /// Prometheus rule files, * ? [ ] allowed; beside the configuration when not absolute.
  std::vector<std::string> rule_files = {"rules.d/*.yml"};
  bool operator==(const Config&) const = default;
};

}  // namespace nexus::config
