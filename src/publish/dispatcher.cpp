#include "publish/dispatcher.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "nexus/base/id.hpp"
#include "nexus/knowledge/labels.hpp"

namespace nexus::publish {
namespace {

std::string key_of(const Route& route, const StringMap& labels) {
  std::vector<knowledge::Label> list;
  list.reserve(labels.size());
  for (const auto& [name, value] : labels) list.push_back({name, value});
  return fmt::format("{}:{}", route.key, to_string(knowledge::Labels(std::move(list))));
}

bool is_subset(const std::set<std::uint64_t>& small, const std::set<std::uint64_t>& large) {
  return std::ranges::includes(large, small);
}

/// Whether a receiver that was told `entry` is to be told again.
bool needs_update(const LogEntry* entry, const LogEntry& present, bool sends_resolved,
                  Millis repeat_interval, SteadyTime now) {
  // Nobody needs to hear that something is over of which nobody heard that it began.
  if (entry == nullptr) return !present.firing.empty();
  if (!is_subset(present.firing, entry->firing)) return true;
  if (present.firing.empty()) return !entry->firing.empty();
  if (sends_resolved && !is_subset(present.resolved, entry->resolved)) return true;
  return entry->steady + repeat_interval < now;
}

/// What flaps was told, and is told again every other day; what may be over is not told again.
Millis repeat_of(const Route& route, const std::vector<AlertPtr>& firing) {
  const bool flaps = !firing.empty() && std::ranges::all_of(firing, [](const AlertPtr& one) {
    return one->flapping || one->over_since;
  });
  return flaps ? std::max(route.repeat_interval, Dispatcher::kFlappingRepeat)
               : route.repeat_interval;
}

using Severities = std::unordered_map<std::string_view, config::Severity>;  // the worst, by finding

void note(Severities& worst, const Alert& alert) {
  const auto [known, fresh] = worst.try_emplace(alert.finding, alert.severity);
  known->second = std::max(known->second, alert.severity);
}

/// `alerts` for a receiver that was last told `entry`. Of those whose end has to settle: what it
/// heard of goes on until then, and what it did not hear of was nothing. That the same finding is
/// less severe meanwhile is no news; that it is more severe is, and then there is nothing to wait
/// for.
std::vector<AlertPtr> settled(const std::vector<AlertPtr>& alerts, const LogEntry* entry,
                              SteadyTime now) {
  const auto is_held = [&](const Alert& alert) {
    return now < alert.settles && entry != nullptr && entry->firing.contains(alert.fingerprint);
  };
  Severities held;
  Severities firing;
  for (const auto& alert : alerts) {
    if (is_held(*alert)) note(held, *alert);
    if (!alert->resolved()) note(firing, *alert);
  }
  const auto is_worse_in = [](const Severities& worst, const Alert& alert) {
    const auto known = worst.find(alert.finding);
    return known != worst.end() && known->second > alert.severity;
  };
  std::vector<AlertPtr> out;
  for (const auto& alert : alerts) {
    if (is_held(*alert) && !is_worse_in(firing, *alert)) {
      auto still = std::make_shared<Alert>(*alert);
      still->over_since = std::exchange(still->ends, std::nullopt);
      out.push_back(std::move(still));
    } else if (entry != nullptr && entry->firing.contains(alert->fingerprint)) {
      out.push_back(alert);
    } else if (alert->settles == SteadyTime{} && !is_worse_in(held, *alert)) {
      out.push_back(alert);
    }
  }
  return out;
}

}  // namespace

Dispatcher::Dispatcher(std::shared_ptr<const Routing> routing, NotificationLog& log)
    : routing_(std::move(routing)), log_(log), inhibitor_(*routing_) {}

void Dispatcher::schedule(Group& group, SteadyTime at) {
  due_.erase({group.next, &group});
  group.next = at;
  due_.emplace(at, &group);
}

void Dispatcher::put(AlertPtr alert, const Now& now) {
  inhibitor_.put(*alert);
  const Tell tell = alert->only_where_asked ? Tell::kWhereAsked : Tell::kAsRouted;
  for (const Route* route : routing_->match(alert->labels, tell)) {
    auto labels = route->group_of(alert->labels);
    auto key = key_of(*route, labels);
    auto& held = groups_[key];
    if (!held) {
      held = std::make_unique<Group>();
      held->key = std::move(key);
      held->route = route;
      held->labels = std::move(labels);
      held->next = base::kForever;
    }
    held->empty_since.reset();
    // One that has waited that long elsewhere, over a restart or a reload, waits no longer.
    const auto age = std::max(Millis(0), now.wall - alert->starts);
    const auto at = now.steady + std::max(Millis(0), route->group_wait - age);
    if (!held->flushed && at < held->next) schedule(*held, at);
    held->alerts.insert_or_assign(alert->fingerprint, alert);
  }
}

SteadyTime Dispatcher::next() const noexcept {
  return due_.empty() ? base::kForever : due_.begin()->first;
}

std::vector<Notification> Dispatcher::turn(const Now& now, const IsSilenced& is_silenced) {
  std::vector<Notification> out;
  while (!due_.empty() && due_.begin()->first <= now.steady) {
    Group& group = *due_.begin()->second;
    if (group.empty_since && now.steady - *group.empty_since >= kEmptyFor) {
      due_.erase(due_.begin());
      groups_.erase(std::string(group.key));
      continue;
    }
    group.flushed = true;
    flush(group, now, is_silenced, out);
    // Late turns are not caught up with.
    auto at = group.next + group.route->group_interval;
    if (at <= now.steady) at = now.steady + group.route->group_interval;
    if (group.alerts.empty()) {
      if (!group.empty_since) group.empty_since = now.steady;
      at = std::min(at, *group.empty_since + kEmptyFor);
    }
    schedule(group, at);
  }
  return out;
}

void Dispatcher::flush(Group& group, const Now& now, const IsSilenced& is_silenced,
                       std::vector<Notification>& out) {
  std::vector<AlertPtr> told;
  if (!routing_->is_muted(*group.route, now.wall)) {
    for (const auto& [print, alert] : group.alerts) {
      if (!inhibitor_.mutes(alert->labels) && !is_silenced(alert->labels)) told.push_back(alert);
    }
  }
  if (!told.empty()) {
    for (const auto& receiver : group.route->receivers) notify(group, receiver, told, now, out);
  }
  std::erase_if(group.alerts, [&](const auto& entry) {
    const Alert& alert = *entry.second;
    if (!alert.resolved() || now.steady < alert.settles) return false;
    // One that had to settle may have become due while nobody may be told: it is told afterwards.
    return alert.settles == SteadyTime{} || !is_told_to_fire(group, alert);
  });
}

bool Dispatcher::is_told_to_fire(const Group& group, const Alert& alert) const {
  return std::ranges::any_of(group.route->receivers, [&](const std::string& receiver) {
    const LogEntry* const entry = log_.find(group.key, receiver);
    return entry != nullptr && entry->firing.contains(alert.fingerprint);
  });
}

void Dispatcher::notify(const Group& group, const std::string& receiver,
                        const std::vector<AlertPtr>& all, const Now& now,
                        std::vector<Notification>& out) {
  const LogEntry* const before = log_.find(group.key, receiver);
  const bool holds_ends = routing_->holds_ends(receiver);
  const auto alerts = holds_ends ? settled(all, before, now.steady) : all;
  if (alerts.empty()) return;
  LogEntry present;
  for (const auto& alert : alerts) {
    (alert->resolved() ? present.resolved : present.firing).insert(alert->fingerprint);
    if (!alert->resolved()) present.alerts.push_back(alert);
  }
  const bool sends_resolved = routing_->sends_resolved(receiver);
  const Millis repeat =
      holds_ends ? repeat_of(*group.route, present.alerts) : group.route->repeat_interval;
  if (!needs_update(before, present, sends_resolved, repeat, now.steady))
    return log_.keep_for(group.key, receiver, 2 * repeat);
  Notification notification;
  for (const auto& alert : alerts) {
    if (sends_resolved || !alert->resolved()) notification.alerts.push_back(alert);
  }
  present.time = now.wall;
  present.steady = now.steady;
  present.keep = 2 * repeat;
  log_.put(group.key, receiver, std::move(present));
  if (notification.alerts.empty()) return;
  notification.id = base::make_id(now.wall);
  notification.receiver = receiver;
  notification.group_key = group.key;
  notification.group_labels = group.labels;
  notification.time = now.wall;
  complete(notification);
  out.push_back(std::move(notification));
}

}  // namespace nexus::publish
