#include "nexus/publish/routing.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "nexus/analyze/kinds.hpp"
#include "nexus/base/text.hpp"
#include "nexus/publish/receiver.hpp"
#include "publish/time_intervals.hpp"

namespace nexus::publish {
namespace {

constexpr WallTime kAlways{Millis(0)};
constexpr WallTime kNever{Millis(253'402'300'799'000)};  // the end of the year 9999

bool take(const Route& route, const StringMap& labels, Tell tell, std::vector<const Route*>& out) {
  if (!all_match(route.matchers, labels)) return false;
  const std::size_t before = out.size();
  for (const auto& child : route.routes) {
    if (take(*child, labels, tell, out) && !child->go_on) break;
  }
  if (out.size() > before) return true;
  // One that does not ask stands in nobody's way who does.
  if (tell == Tell::kWhereAsked && !route.asks) return false;
  out.push_back(&route);
  return true;
}

config::Where place(const config::Places& places, std::string_view key,
                    const config::Where& otherwise) {
  const auto found = places.find(key);
  return found == places.end() ? otherwise : found->second;
}

}  // namespace

struct RoutingCompiler {
  const config::PublishSection& written;
  std::vector<config::Problem>& problems;
  Routing& out;
  std::set<std::string, std::less<>> receivers{std::string(kLogReceiver)};
  std::set<std::string, std::less<>> intervals;

  Matchers matchers(const std::vector<std::string>& texts, std::string_view what,
                    const config::Where& where) {
    auto parsed = parse_matchers(texts);
    if (parsed) return *std::move(parsed);
    problems.push_back({where, fmt::format("{}: {}", what, parsed.error().message())});
    return {};
  }

  void check_names(const std::vector<std::string>& names,
                   const std::set<std::string, std::less<>>& known, std::string_view what,
                   std::string_view expected, const config::Where& where) {
    for (const auto& name : names) {
      if (!known.contains(name))
        problems.push_back({where, fmt::format("{}: \"{}\" is {}", what, name, expected)});
    }
  }

  void check_receivers(const std::vector<std::string>& names, std::string_view what,
                       const config::Where& where) {
    check_names(names, receivers, what, "no receiver; expected the NAME of a [notify.NAME]", where);
    for (const auto& name : names) {
      const auto found = std::ranges::find(written.receivers, name, &config::ReceiverConfig::name);
      const auto* type = found == written.receivers.end() ? nullptr : find_receiver(found->type);
      if (type != nullptr && type->beats_only)
        problems.push_back(
            {where, fmt::format("{}: \"{}\" takes no notifications: a {} gives signs of life by "
                                "itself",
                                what, name, found->type)});
    }
  }

  /// An Alertmanager forgets what it does not hear of for `valid_seconds`.
  void check_repeats(const Route& route, const config::Where& where) {
    for (const auto& name : route.receivers) {
      const auto found = std::ranges::find(written.receivers, name, &config::ReceiverConfig::name);
      if (found == written.receivers.end() || found->type != "alertmanager") continue;
      const auto given = found->parameters.find("valid_seconds");
      const auto* seconds =
          given == found->parameters.end() ? nullptr : std::get_if<std::int64_t>(&given->second);
      const Millis valid{(seconds == nullptr ? 18'000 : *seconds) * 1000};
      if (route.repeat_interval < valid) continue;
      problems.push_back(
          {where, fmt::format("repeat_interval: {} is an Alertmanager that forgets an alert after "
                              "{} s (valid_seconds); expected less than that, got {} s",
                              name, valid.count() / 1000, route.repeat_interval.count() / 1000)});
    }
  }

  /// Matchers tell siblings apart, so that a route more or less in front changes nobody's key; two
  /// of the same matchers side by side are counted.
  static std::string key_of(const Route& parent, const Matchers& matchers) {
    const auto plain = fmt::format("{}/{}", parent.key, to_string(matchers));
    const auto same = std::ranges::count_if(parent.routes, [&](const auto& other) {
      return other->key == plain || other->key.starts_with(plain + "#");
    });
    return same == 0 ? plain : fmt::format("{}#{}", plain, same + 1);
  }

  std::unique_ptr<Route> child(const config::RouteConfig& from, const Route& parent) {
    auto route = std::make_unique<Route>();
    route->matchers = matchers(from.match, "route.match", place(from.places, "match", from.where));
    route->key = key_of(parent, route->matchers);
    route->asks = parent.asks || std::ranges::any_of(route->matchers, analyze::is_asking);
    route->go_on = from.go_on;
    route->receivers = from.receivers.value_or(parent.receivers);
    check_receivers(route->receivers, "route.receivers",
                    place(from.places, "receivers", from.where));
    route->group_by = parent.group_by;
    route->group_by_all = parent.group_by_all;
    if (from.group_by) group_by(*from.group_by, *route);
    route->group_wait = from.group_wait.value_or(parent.group_wait);
    route->group_interval = from.group_interval.value_or(parent.group_interval);
    route->repeat_interval = from.repeat_interval.value_or(parent.repeat_interval);
    route->mute = from.mute_time_intervals;
    route->active = from.active_time_intervals;
    constexpr std::string_view kNoInterval =
        "no time interval; expected the name of a "
        "[[time_interval]]";
    check_names(route->mute, intervals, "route.mute_time_intervals", kNoInterval,
                place(from.places, "mute_time_intervals", from.where));
    check_names(route->active, intervals, "route.active_time_intervals", kNoInterval,
                place(from.places, "active_time_intervals", from.where));
    check_repeats(*route, from.where);
    for (const auto& inner : from.routes) route->routes.push_back(child(inner, *route));
    return route;
  }

  static void group_by(const std::vector<std::string>& names, Route& route) {
    route.group_by_all = names == std::vector<std::string>{"..."};
    route.group_by = route.group_by_all ? std::vector<std::string>{} : names;
  }

  void tree() {
    const auto& routing = written.routing;
    auto root = std::make_unique<Route>();
    root->key = "{}";
    root->receivers = routing.receivers;
    check_receivers(root->receivers, "routing.receivers", place(routing.places, "receivers", {}));
    group_by(routing.group_by, *root);
    root->group_wait = routing.group_wait;
    root->group_interval = routing.group_interval;
    root->repeat_interval = routing.repeat_interval;
    check_repeats(*root, place(routing.places, "receivers", {}));
    for (const auto& one : written.routes) root->routes.push_back(child(one, *root));
    const std::pair<std::string_view, const std::vector<std::string>*> simple[] = {
        {"critical", &routing.critical}, {"warning", &routing.warning}, {"info", &routing.info}};
    for (const auto& [severity, names] : simple) {
      if (names->empty()) continue;
      config::RouteConfig route;
      route.match = {fmt::format("severity=\"{}\"", severity)};
      route.receivers = *names;
      route.where = place(routing.places, severity, {});
      root->routes.push_back(child(route, *root));
    }
    out.root_ = std::move(root);
  }

  void silences() {
    for (std::size_t i = 0; i < written.silences.size(); ++i) {
      const auto& from = written.silences[i];
      Silence silence;
      silence.matchers =
          matchers(from.match, "silence.match", place(from.places, "match", from.where));
      if (silence.matchers.empty() && from.match.empty())
        problems.push_back({from.where, "silence.match: expected at least one matcher"});
      silence.id = fmt::format("file-{}", i + 1);
      silence.starts =
          from.starts.empty() ? kAlways : base::parse_time(from.starts).value_or(kAlways);
      silence.ends = from.ends.empty() ? kNever : base::parse_time(from.ends).value_or(kNever);
      if (silence.ends <= silence.starts)
        problems.push_back(
            {place(from.places, "ends", from.where), "silence.ends: expected a time after starts"});
      silence.author = "configuration";
      silence.comment = from.comment;
      silence.updated = silence.starts;
      silence.from_file = true;
      out.silences_.push_back(std::move(silence));
    }
  }

  void run() {
    for (const auto& receiver : written.receivers) {
      receivers.insert(receiver.name);
      if (!receiver.send_resolved) out.without_resolved_.push_back(receiver.name);
      const auto* descriptor = find_receiver(receiver.type);
      if (descriptor != nullptr && descriptor->groups) out.at_once_.push_back(receiver.name);
    }
    for (const auto& interval : written.time_intervals) {
      intervals.insert(interval.name);
      out.intervals_.emplace_back(interval.name, TimeInterval::compile(interval, problems));
    }
    tree();
    for (const auto& from : written.inhibits) {
      Inhibition rule;
      rule.source =
          matchers(from.source, "inhibit.source", place(from.places, "source", from.where));
      rule.target =
          matchers(from.target, "inhibit.target", place(from.places, "target", from.where));
      rule.equal = from.equal;
      out.inhibitions_.push_back(std::move(rule));
    }
    silences();
  }
};

Routing::Routing() = default;
Routing::~Routing() = default;

std::shared_ptr<const Routing> Routing::compile(const config::Config& config,
                                                std::vector<config::Problem>& problems) {
  std::shared_ptr<Routing> out(new Routing());
  RoutingCompiler{config.publish, problems, *out}.run();
  return out;
}

std::vector<const Route*> Routing::match(const StringMap& labels, Tell tell) const {
  std::vector<const Route*> out;
  take(*root_, labels, tell, out);
  return out;
}

bool Routing::is_muted(const Route& route, WallTime now) const {
  const auto in_any = [&](const std::vector<std::string>& names) {
    return std::ranges::any_of(intervals_, [&](const auto& interval) {
      return std::ranges::find(names, interval.first) != names.end() &&
             interval.second.contains(now);
    });
  };
  if (!route.active.empty() && !in_any(route.active)) return true;
  return !route.mute.empty() && in_any(route.mute);
}

bool Routing::sends_resolved(std::string_view receiver) const {
  return std::ranges::find(without_resolved_, receiver) == without_resolved_.end();
}

bool Routing::holds_ends(std::string_view receiver) const {
  return std::ranges::find(at_once_, receiver) == at_once_.end();
}

StringMap Route::group_of(const StringMap& labels) const {
  if (group_by_all) return labels;
  StringMap out;
  for (const auto& name : group_by) {
    if (const auto found = labels.find(name); found != labels.end()) out.insert(*found);
  }
  return out;
}

}  // namespace nexus::publish
