// [routing], [[route]], [[inhibit]], [[silence]], [[time_interval]] and [notify.NAME]: who is told
// of what, when, and over which way.
//
// Matchers, ranges of time and a receiver's own options are kept as written: the room publish
// compiles them and complains at their places. Secrets come from a file, the environment or a
// systemd credential. Thread safety: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nexus/config/values.hpp"

namespace nexus::config {

/// A node of the routing tree. What is unset is the parent's, but for the time intervals.
struct RouteConfig {
  std::optional<std::vector<std::string>> receivers;
  std::vector<std::string> match;  // 'severity="critical"', ...; all must hold
  bool go_on = false;              // `continue`: the routes after this one are tried too
  std::optional<std::vector<std::string>> group_by;  // label names, or "..." for all
  std::optional<Millis> group_wait;
  std::optional<Millis> group_interval;
  std::optional<Millis> repeat_interval;
  std::vector<std::string> mute_time_intervals;
  std::vector<std::string> active_time_intervals;
  std::vector<RouteConfig> routes;  // [[route.route]], tried in order
  Where where;
  Places places;
  bool operator==(const RouteConfig& o) const {
    return receivers == o.receivers && match == o.match && go_on == o.go_on &&
           group_by == o.group_by && group_wait == o.group_wait &&
           group_interval == o.group_interval && repeat_interval == o.repeat_interval &&
           mute_time_intervals == o.mute_time_intervals &&
           active_time_intervals == o.active_time_intervals && routes == o.routes;
  }
};

/// [routing]: the root of the tree, for what no [[route]] takes.
struct RoutingSection {
  std::vector<std::string> receivers = {"log"};
  std::vector<std::string> group_by = {"alertname"};
  Millis group_wait = 10s;
  Millis group_interval = 5min;
  Millis repeat_interval = 4h;
  Millis hold_ends = 150min;  // at most so long an end is not told yet; 0: it is told at once
  // The simple form: receivers by severity, tried after every [[route]].
  std::vector<std::string> info = {};
  std::vector<std::string> warning = {};
  std::vector<std::string> critical = {};
  Places places = {};
  bool operator==(const RoutingSection& o) const {
    return receivers == o.receivers && group_by == o.group_by && group_wait == o.group_wait &&
           group_interval == o.group_interval && repeat_interval == o.repeat_interval &&
           hold_ends == o.hold_ends && info == o.info && warning == o.warning &&
           critical == o.critical;
  }
};

/// While something fires that matches `source`, what matches `target` is not told, where the labels
/// named in `equal` have the same values (absent is empty).
struct InhibitConfig {
  std::vector<std::string> source;
  std::vector<std::string> target;
  std::vector<std::string> equal;
  Where where;
  Places places;
  bool operator==(const InhibitConfig& o) const {
    return source == o.source && target == o.target && equal == o.equal;
  }
};

/// A silence that stands in the file; others are made over HTTP and on the command line.
struct SilenceConfig {
  std::vector<std::string> match;
  std::string starts;  // RFC 3339; empty: always
  std::string ends;    // empty: never
  std::string comment;
  Where where;
  Places places;
  bool operator==(const SilenceConfig& o) const {
    return match == o.match && starts == o.starts && ends == o.ends && comment == o.comment;
  }
};

/// A named set of times, as Alertmanager writes them; several of one name count together.
struct TimeIntervalConfig {
  std::string name;
  std::vector<std::string> times;          // "08:00-18:00"
  std::vector<std::string> weekdays;       // "monday:friday"
  std::vector<std::string> days_of_month;  // "1:5", "-3:-1"
  std::vector<std::string> months;         // "january:march", "12"
  std::vector<std::string> years;          // "2026:2028"
  std::string location = "UTC";            // "Europe/Berlin", "Local"
  Where where;
  Places places;
  bool operator==(const TimeIntervalConfig& o) const {
    return name == o.name && times == o.times && weekdays == o.weekdays &&
           days_of_month == o.days_of_month && months == o.months && years == o.years &&
           location == o.location;
  }
};

/// [notify.NAME]: one way to tell people or programs.
struct ReceiverConfig {
  std::string name;
  std::string type;  // without one, the name's
  bool send_resolved = true;
  Millis timeout = 10s;            // for one attempt
  Millis give_up_after = 24h;      // of trying to deliver one notification
  std::uint32_t max_queue = 1000;  // notifications that wait; beyond it the oldest is dropped
  std::uint32_t rate_per_minute = 30;
  std::string proxy;  // URL; empty: as the environment of the agent says
  std::string ca_file;
  std::string cert_file;
  std::string key_file;
  bool insecure_skip_verify = false;
  Secret url;                 // where it goes to; secret for some
  bool url_is_plain = false;  // it stands in the file
  Secret password;
  Secret token;
  Secret secret;
  // Templates as rule files have them: of the title, and of what is told of each alert; empty: the
  // agent's own words.
  std::string title;
  std::string text;
  bool approval_links = false;  // in messages about proposals, where `external_url` is set
  Parameters parameters;        // of its type
  Places parameter_places;
  Where where;
  Where type_place;
  bool operator==(const ReceiverConfig& o) const {
    return name == o.name && type == o.type && send_resolved == o.send_resolved &&
           timeout == o.timeout && give_up_after == o.give_up_after && max_queue == o.max_queue &&
           rate_per_minute == o.rate_per_minute && proxy == o.proxy && ca_file == o.ca_file &&
           cert_file == o.cert_file && key_file == o.key_file &&
           insecure_skip_verify == o.insecure_skip_verify && url == o.url &&
           password == o.password && token == o.token && secret == o.secret && title == o.title &&
           text == o.text && approval_links == o.approval_links && parameters == o.parameters;
  }
};

struct PublishSection {
  RoutingSection routing;
  std::vector<RouteConfig> routes;
  std::vector<InhibitConfig> inhibits;
  std::vector<SilenceConfig> silences;
  std::vector<TimeIntervalConfig> time_intervals;
  std::vector<ReceiverConfig> receivers;
  bool operator==(const PublishSection&) const = default;
};

}  // namespace nexus::config
