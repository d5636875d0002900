// [routing], [[route]], [[inhibit]], [[silence]], [[time_interval]] and [notify.NAME].
#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "config/sections/sections.hpp"
#include "config/shapes.hpp"
#include "nexus/base/text.hpp"

namespace nexus::config {
namespace {

constexpr std::size_t kDeepest = 16;
constexpr std::int64_t kMost = 1'000'000;
constexpr Period kWait{0s, 30 * 24h};
constexpr Period kHeld{0s, 24h};
constexpr Period kInterval{1ms, 365 * 24h};
constexpr Period kTimeout{100ms, 5min};

const Shape kGroupLabel{[](std::string_view text) { return text == "..." || is_label_name(text); },
                        "the name of a label, or \"...\" for all of them"};
const Shape kLabel{is_label_name, "the name of a label"};
const Shape kMoment{
    [](std::string_view text) { return text.empty() || base::parse_time(text).has_value(); },
    "a time such as \"2026-11-23T17:00:00Z\""};
const Shape kUrl{[](std::string_view text) {
                   return (text.starts_with("http://") || text.starts_with("https://")) &&
                          text.size() > 8 && std::ranges::none_of(text, [](char c) {
                            return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f;
                          });
                 },
                 "an address that begins with http:// or https://"};
bool is_proxy(std::string_view text) {
  constexpr auto kSchemes =
      std::to_array<std::string_view>({"http", "https", "socks4", "socks4a", "socks5", "socks5h"});
  const auto end = text.find("://");
  return end != std::string_view::npos && text.size() > end + 3 &&
         std::ranges::find(kSchemes, text.substr(0, end)) != kSchemes.end() &&
         std::ranges::none_of(
             text, [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; });
}

const Shape kProxy{
    [](std::string_view text) { return text.empty() || (is_proxy(text) && !text.contains('@')); },
    "the URL of a proxy such as \"http://proxy.example:3128\" (http, https, socks4, socks4a, "
    "socks5 "
    "or socks5h), or \"\"; one with user:password@ comes from proxy_file, proxy_env or "
    "proxy_credential"};
const Shape kPathOrNothing{
    [](std::string_view text) { return text.empty() || text.starts_with('/'); },
    "an absolute path, or \"\" for none"};

void note_places(Section& section, std::initializer_list<std::string_view> keys, Places& places) {
  for (const auto key : keys) {
    if (section.has(key)) places.insert_or_assign(std::string(key), section.place_of({key}));
  }
}

/// "..." stands for every label: beside it no other makes sense.
void check_group_by(Section& section, const std::vector<std::string>& group_by) {
  if (group_by.size() > 1 && std::ranges::find(group_by, "...") != group_by.end())
    section.complain("group_by", "\"...\" stands for every label, and alone");
}

void read_route(Section& section, std::vector<RouteConfig>& into, std::size_t depth) {
  RouteConfig route;
  route.where = section.where();
  section.texts("match", route.match);
  Severity severity{};
  if (section.choice("severity", severity,
                     {Severity::kInfo, Severity::kWarning, Severity::kCritical}) != nullptr)
    route.match.push_back(fmt::format("severity=\"{}\"", to_string(severity)));
  section.optional(&Section::texts, "receivers", route.receivers, kPlainName);
  section.boolean("continue", route.go_on);
  section.optional(&Section::texts, "group_by", route.group_by, kGroupLabel);
  if (route.group_by) check_group_by(section, *route.group_by);
  section.optional(&Section::duration, "group_wait", route.group_wait, kWait);
  section.optional(&Section::duration, "group_interval", route.group_interval, kInterval);
  section.optional(&Section::duration, "repeat_interval", route.repeat_interval, kInterval);
  section.texts("mute_time_intervals", route.mute_time_intervals);
  section.texts("active_time_intervals", route.active_time_intervals);
  note_places(section, {"match", "receivers", "mute_time_intervals", "active_time_intervals"},
              route.places);
  if (depth < kDeepest) {
    section.tables("route", [&](Section& inner) { read_route(inner, route.routes, depth + 1); });
  } else if (section.take("route") != nullptr) {
    section.complain("route", fmt::format("expected at most {} routes inside each other", depth));
  }
  into.push_back(std::move(route));
}

void read_inhibit(Section& section, Reading& reading) {
  InhibitConfig inhibit;
  inhibit.where = section.where();
  section.require("source", "an array of matchers such as ['severity=\"critical\"']");
  section.require("target", "an array of matchers such as ['severity=\"warning\"']");
  section.texts("source", inhibit.source);
  section.texts("target", inhibit.target);
  section.texts("equal", inhibit.equal, kLabel);
  note_places(section, {"source", "target"}, inhibit.places);
  reading.config.publish.inhibits.push_back(std::move(inhibit));
}

void read_silence(Section& section, Reading& reading) {
  SilenceConfig silence;
  silence.where = section.where();
  section.require("match", "an array of matchers such as ['alertname=\"disk_usage_percent\"']");
  section.texts("match", silence.match);
  section.text("starts", silence.starts, kMoment);
  section.text("ends", silence.ends, kMoment);
  section.text("comment", silence.comment, kAnyText);
  note_places(section, {"match", "ends"}, silence.places);
  reading.config.publish.silences.push_back(std::move(silence));
}

void read_time_interval(Section& section, Reading& reading) {
  TimeIntervalConfig interval;
  interval.where = section.where();
  section.require("name", kPlainName.expected);
  section.text("name", interval.name, kPlainName);
  section.texts("times", interval.times);
  section.texts("weekdays", interval.weekdays);
  section.texts("days_of_month", interval.days_of_month);
  section.texts("months", interval.months);
  section.texts("years", interval.years);
  section.text("location", interval.location);
  note_places(section, {"times", "weekdays", "days_of_month", "months", "years", "location"},
              interval.places);
  reading.config.publish.time_intervals.push_back(std::move(interval));
}

/// The address may stand in the file, or come from where secrets do.
void read_url(Section& section, Reading& reading, ReceiverConfig& out) {
  std::string url;
  const Node* node = section.has("url") ? section.take("url") : nullptr;
  if (node != nullptr) {
    if (section.text("url", url, kUrl) != nullptr) {
      out.url = Secret(url);
      // From a variable of the environment it is as good as a secret's.
      out.url_is_plain = node->where.line > 0;
    }
    for (const auto* other : {"url_file", "url_env", "url_credential"}) {
      if (section.take(other) != nullptr)
        section.complain(other, "expected one of url, url_file, url_env and url_credential");
    }
    return;
  }
  Secret given;
  read_secret(section, reading, "url", given);
  if (given.empty()) return;
  if (!kUrl.accepts(given.reveal())) {
    section.complain("url_file",
                     "what it names is not an address that begins with http:// or "
                     "https://");
    return;
  }
  out.url = std::move(given);
  out.url_is_plain = false;
}

/// As an address: one with a password in it is a secret.
void read_proxy(Section& section, Reading& reading, ReceiverConfig& out) {
  if (section.has("proxy")) {
    section.text("proxy", out.proxy, kProxy);
    for (const auto* other : {"proxy_file", "proxy_env", "proxy_credential"}) {
      if (section.take(other) != nullptr)
        section.complain(other,
                         "expected one of proxy, proxy_file, proxy_env and proxy_credential");
    }
    return;
  }
  Secret given;
  read_secret(section, reading, "proxy", given);
  if (given.empty()) return;
  out.proxy = given.reveal();
  if (!is_proxy(out.proxy))
    section.complain("proxy_file",
                     "what it names is not the URL of a proxy, such as "
                     "http://user:password@proxy.example:3128");
}

void read_receiver(std::string_view name, Section& section, Reading& reading) {
  auto& all = reading.config.publish.receivers;
  auto found = std::ranges::find(all, name, &ReceiverConfig::name);
  if (found == all.end()) {
    ReceiverConfig fresh;
    fresh.name = name;
    fresh.type = name;
    fresh.where = section.where();
    fresh.type_place = section.where();
    all.push_back(std::move(fresh));
    found = all.end() - 1;
  }
  ReceiverConfig& out = *found;
  if (!kPlainName.accepts(name))
    section.complain("type",
                     "the name of a receiver: expected " + std::string(kPlainName.expected));
  if (const Node* node = section.text("type", out.type, kPlainName)) out.type_place = node->where;
  section.boolean("send_resolved", out.send_resolved);
  section.duration("timeout", out.timeout, kTimeout);
  section.duration("give_up_after", out.give_up_after, {1s, kLongest});
  section.integer("max_queue", out.max_queue, 1, kMost);
  section.integer("rate_per_minute", out.rate_per_minute, 1, kMost);
  read_proxy(section, reading, out);
  section.text("ca_file", out.ca_file, kPathOrNothing);
  section.text("cert_file", out.cert_file, kPathOrNothing);
  section.text("key_file", out.key_file, kPathOrNothing);
  section.boolean("insecure_skip_verify", out.insecure_skip_verify);
  read_url(section, reading, out);
  read_secret(section, reading, "password", out.password);
  read_secret(section, reading, "token", out.token);
  read_secret(section, reading, "secret", out.secret);
  section.text("title", out.title, kAnyText);
  section.text("text", out.text, kAnyText);
  section.boolean("approval_links", out.approval_links);
  note_places(section, {"title", "text"}, out.parameter_places);
  section.remaining_parameters(out.parameters, out.parameter_places);
}

}  // namespace

void read_routing(Section& root, Reading& reading) {
  RoutingSection& out = reading.config.publish.routing;
  root.table("routing", [&](Section& routing) {
    routing.texts("receivers", out.receivers, kPlainName);
    routing.texts("group_by", out.group_by, kGroupLabel);
    check_group_by(routing, out.group_by);
    routing.duration("group_wait", out.group_wait, kWait);
    routing.duration("group_interval", out.group_interval, kInterval);
    routing.duration("repeat_interval", out.repeat_interval, kInterval);
    routing.duration("hold_ends", out.hold_ends, kHeld);
    routing.texts("info", out.info, kPlainName);
    routing.texts("warning", out.warning, kPlainName);
    routing.texts("critical", out.critical, kPlainName);
    note_places(routing, {"receivers", "info", "warning", "critical"}, out.places);
  });
  root.tables("route",
              [&](Section& route) { read_route(route, reading.config.publish.routes, 1); });
  root.tables("inhibit", [&](Section& inhibit) { read_inhibit(inhibit, reading); });
  root.tables("silence", [&](Section& silence) { read_silence(silence, reading); });
  root.tables("time_interval", [&](Section& interval) { read_time_interval(interval, reading); });
}

void read_notify(Section& root, Reading& reading) {
  root.table(
      "notify",
      [&](Section& notify) {
        notify.remaining_tables([&](std::string_view name, Section& receiver) {
          read_receiver(name, receiver, reading);
        });
      },
      Disclosure::kTypesOnly);
}

}  // namespace nexus::config
