// [operations], [[command]], [[remedy]], [guardrails], [fleet] and [services]: what may be done,
// and its limits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nexus/config/values.hpp"

namespace nexus::config {

struct OperationsSection {
  Mode mode = Mode::kAct;  // of the whole agent; a remedy can only be more careful
  Millis check_interval = 1s;
  std::uint32_t max_concurrent_actions = 3;  // a thread each; at most 64
  Millis action_timeout = 300s;
  Millis approval_timeout = 1h;  // a proposal that nobody answers expires
  std::uint32_t max_queue = 1000;
  Millis journal_retention = 90 * 24h;
  std::uint32_t journal_actions = 100'000;  // the oldest go beyond it
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

/// One step of a remedy whose action is `composite`.
struct RungConfig {
  std::string action;
  std::string target;  // empty: the remedy's
  Parameters parameters;
  std::optional<VerifyConfig> verify;  // unset: the remedy's, or the action's own check
  std::optional<Millis> timeout;       // unset: the remedy's
  Where where;
  bool operator==(const RungConfig& o) const {
    return action == o.action && target == o.target && parameters == o.parameters &&
           verify == o.verify && timeout == o.timeout;
  }
};

/// What decides whether an action is kept: a metric before and after it.
struct ExperimentConfig {
  Expression metric;
  std::string better = "lower";  // or higher
  Millis before = 5min;
  Millis after = 5min;
  double confidence = 0.95;
  double min_effect = 0.33;  // Cliff's delta, 0 to 1
  bool operator==(const ExperimentConfig&) const = default;
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
  /// Asked just before it acts: false holds it, and so does that nothing is known.
  std::optional<Expression> only_if;
  std::vector<RungConfig> steps;  // of `composite`
  bool all_steps = false;         // every step has to help, rather than the first that does
  std::optional<ExperimentConfig> experiment;
  bool enabled = true;
  Where where;
  Where action_place;
  Places parameter_places;
  bool operator==(const RemedyConfig& o) const {
    return name == o.name && on == o.on && action == o.action && target == o.target &&
           parameters == o.parameters && priority == o.priority && mode == o.mode &&
           cooldown == o.cooldown && max_attempts == o.max_attempts && verify == o.verify &&
           timeout == o.timeout && only_if == o.only_if && steps == o.steps &&
           all_steps == o.all_steps && experiment == o.experiment && enabled == o.enabled;
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
  std::uint32_t max_proposals_per_hour = 30;
  std::uint32_t max_targets_at_once = 3;
  /// Of the watched services, so many may be acted on at once (one always may).
  double max_share_at_once = 0.5;
  /// When more than this share of the watched services is down at once, the sensor or something
  /// common to all is suspected, and nothing is done. 1: never.
  double max_unhealthy_share = 0.5;
  /// What nobody has measured for so long is not acted upon (events of services are no
  /// measurements).
  Millis max_finding_age = 10min;
  std::uint32_t min_watched_for_share = 4;   // of fewer services the share says nothing
  std::vector<std::string> protected_units;  // globs, besides the compiled-in floor
  bool operator==(const GuardrailsSection&) const = default;
};

/// At most `budget` hosts do the same thing at once. The connection is that of [redis], [postgres]
/// or [kubernetes].
struct FleetSection {
  std::string lock = "none";  // redis, postgres, kubernetes
  std::string name = "nexus";
  std::uint32_t budget = 1;
  std::string scope = "action";              // what "the same thing" is: action, remedy, all
  std::vector<std::string> actions = {"*"};  // globs of the actions that ask
  Millis timeout = 2s;
  /// `namespace` of the Lease objects; empty: that of the kubeconfig or the pod, else "default".
  std::string name_space;
  bool operator==(const FleetSection&) const = default;
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

}  // namespace nexus::config
