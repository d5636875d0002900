// Alert: a finding as routes and receivers see it, with Alertmanager's labels; Notification: what
// one receiver is to be told of one group of them.
//
// Units: wall time. Thread safety: plain values.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nexus/analyze/finding.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/values.hpp"

namespace nexus::publish {

using config::StringMap;

/// A moment on both clocks: timers run on the steady one, what is told and kept is wall time.
struct Now {
  WallTime wall{};
  SteadyTime steady{};
};
[[nodiscard]] inline Now now_of(const Clock& clock) {
  return {clock.wall(), clock.steady()};
}

/// What the agent did about a finding, would do, or why it does not.
struct Deed {
  std::string text;         // one sentence
  std::string action = {};  // its id, when there is one
  bool proposed = false;    // it waits for approval
  bool under_way = false;   // queued, running, verifying
  WallTime expires{};       // of a proposal
};

struct Alert {
  StringMap labels;  // alertname, severity, kind, the finding's, and external ones; none is empty
  StringMap annotations;
  std::uint64_t fingerprint = 0;  // over the labels, Prometheus's own
  WallTime starts{};
  std::optional<WallTime> ends;  // set: resolved
  // Of one that is resolved: who heard that it fires hears of its end then; unset: at once.
  SteadyTime settles{};
  /// It is over since then, and told to fire until that has lasted (see `settles`).
  std::optional<WallTime> over_since = {};
  std::string generator_url;
  // What the finding knows beyond labels.
  config::Severity severity = config::Severity::kWarning;
  std::string finding;  // its fingerprint
  std::string subject;
  std::string source;  // the expression or model
  std::string text;    // one sentence
  double value = 0;
  std::optional<double> threshold;
  bool flapping = false;
  bool missing = false;              // its data is gone
  bool only_where_asked = false;     // says nothing new: told by routes that ask for its kind
  std::string trend;                 // one sentence on the values of late; may be empty
  std::string cause;                 // what explains it
  std::vector<std::string> changes;  // of the host, shortly before; newest first
  std::vector<Deed> deeds;

  [[nodiscard]] bool resolved() const noexcept { return ends.has_value(); }
};
using AlertPtr = std::shared_ptr<const Alert>;

/// As Prometheus counts it: FNV-1a over names and values, sorted by name.
[[nodiscard]] std::uint64_t fingerprint_of(const StringMap& labels);
/// 16 hexadecimal digits.
[[nodiscard]] std::string to_hex(std::uint64_t fingerprint);

/// What the agent adds to every alert.
struct Origin {
  StringMap external_labels;
  std::string external_url;  // without a slash at its end
  std::string host;
  /// Hosts of one name are many: this is of the machine, its name and its external labels.
  std::string identity = {};
};
/// An alert of a finding that fires or is resolved; trend and deeds are left empty.
[[nodiscard]] Alert to_alert(const analyze::Finding& finding, const Origin& origin);

struct Notification {
  std::string id;         // unique
  std::string receiver;   // its name
  std::string group_key;  // stable: route and group labels
  StringMap group_labels;
  StringMap common_labels;
  StringMap common_annotations;
  std::vector<AlertPtr> alerts;  // firing first, each part by its labels
  std::uint32_t merged = 0;      // a digest of so many notifications
  std::uint64_t left_out = 0;    // notifications that were dropped before this one
  WallTime time{};

  [[nodiscard]] std::size_t firing() const noexcept;
  [[nodiscard]] bool is_resolved() const noexcept { return firing() == 0; }
};
using NotificationPtr = std::shared_ptr<const Notification>;

/// Fills in common labels and annotations, and sorts the alerts.
void complete(Notification& notification);

// As kept in the state database.
[[nodiscard]] std::string to_json(const Notification& notification);
[[nodiscard]] Result<Notification> notification_from_json(const std::string& text);
[[nodiscard]] std::string alerts_to_json(const std::vector<AlertPtr>& alerts);
[[nodiscard]] Result<std::vector<AlertPtr>> alerts_from_json(const std::string& text);

}  // namespace nexus::publish
