// Dispatcher: from alerts to notifications, as Alertmanager's dispatcher and notification pipeline
// do it, without a thread, a lock or a disk.
//
// An alert joins the group of its labels in each route that takes it. A new group waits until
// its oldest alert is group_wait old, then is looked at every group_interval: of what
// is neither inhibited nor silenced, and while the route is not muted, each receiver is told when
// something new fires, when all has ended, when something has ended and the receiver wants to know,
// and when repeat_interval is over. Resolved alerts leave the group once it was looked at; a group
// that stays empty for kEmptyFor is forgotten.
//
// Invariants: (1) the notification log alone decides what is told again; (2) timers run on the
// steady clock; (3) an end that is to settle (Alert::settles) is none yet for who was told that the
// alert fires, and for who was not it ends like any other: nobody is told that something fires
// which is over, and a finding that becomes more severe is told at once. Inhibition knows no
// settling. Bounded by the number of alerts: the book's, and the ends that settle
// (Settling::kMost). Thread safety: one thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "nexus/publish/routing.hpp"
#include "publish/inhibitor.hpp"
#include "publish/notification_log.hpp"

namespace nexus::publish {

/// An active silence that matches; false: none.
using IsSilenced = std::function<bool(const StringMap& labels)>;

class Dispatcher {
 public:
  static constexpr Millis kEmptyFor{30'000};
  static constexpr Millis kFlappingRepeat{48 * 3'600'000};  // where all that fires is flapping

  Dispatcher(std::shared_ptr<const Routing> routing, NotificationLog& log);

  /// An alert that fires or has ended; one of the same labels is replaced.
  void put(AlertPtr alert, const Now& now);
  /// Notifications that are due.
  [[nodiscard]] std::vector<Notification> turn(const Now& now, const IsSilenced& is_silenced);
  /// When turn() has something to do next.
  [[nodiscard]] SteadyTime next() const noexcept;
  [[nodiscard]] std::size_t groups() const noexcept { return groups_.size(); }
  [[nodiscard]] const std::shared_ptr<const Routing>& routing() const noexcept { return routing_; }

 private:
  struct Group {
    std::string key;
    const Route* route = nullptr;
    StringMap labels;
    std::map<std::uint64_t, AlertPtr> alerts;  // by fingerprint
    SteadyTime next{};
    bool flushed = false;
    std::optional<SteadyTime> empty_since;
  };

  void schedule(Group& group, SteadyTime at);
  void flush(Group& group, const Now& now, const IsSilenced& is_silenced,
             std::vector<Notification>& out);
  /// Whether a receiver of the group was told last that the alert fires.
  [[nodiscard]] bool is_told_to_fire(const Group& group, const Alert& alert) const;
  void notify(const Group& group, const std::string& receiver, const std::vector<AlertPtr>& all,
              const Now& now, std::vector<Notification>& out);

  const std::shared_ptr<const Routing> routing_;
  NotificationLog& log_;
  Inhibitor inhibitor_;
  std::unordered_map<std::string, std::unique_ptr<Group>> groups_;  // by key
  std::set<std::pair<SteadyTime, Group*>> due_;
};

}  // namespace nexus::publish
