// What the files of Publisher share: publisher.cpp (turns), staff.cpp (couriers and who they are).
//
// Thread safety: as said at the members.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "nexus/base/loop_thread.hpp"
#include "nexus/publish/publisher.hpp"
#include "publish/courier.hpp"
#include "publish/dispatcher.hpp"
#include "publish/receivers.hpp"
#include "publish/settling.hpp"
#include "publish/silences.hpp"

namespace nexus::publish {

struct Publisher::Impl {
  Impl(Clock& c, PublishStore s, std::unique_ptr<Approvals> a, knowledge::SelfMetrics& m,
       analyze::Book& b, Machine who, PublishStore::Loaded& loaded)
      : clock(c),
        store(s),
        approvals(std::move(a)),
        self(m),
        book(b),
        machine(std::move(who)),
        silences(clock, store, self, std::move(loaded.silences)),
        waiting(std::move(loaded.waiting)),
        write_errors(self.counter("nexus_notifications_write_errors_total",
                                  "Failed writes of notifications to the state database")),
        made(self.counter("nexus_notifications_total", "Notifications that routes led to")),
        overflows(self.counter("nexus_notifications_overflows_total",
                               "How often so many findings changed at once that all were routed "
                               "anew")),
        groups(self.gauge("nexus_notification_groups", "Groups of alerts in the routes")),
        held(self.gauge("nexus_notification_ends_held",
                        "Ends that are told once they have lasted")) {}

  void hire(const std::shared_ptr<const config::Config>& config);
  void dismiss(const std::vector<std::shared_ptr<Courier>>& old);
  [[nodiscard]] std::shared_ptr<Courier> engage(const config::ReceiverConfig& one,
                                                const std::shared_ptr<const config::Config>& all);
  [[nodiscard]] ReceiverContext context_of(const config::ReceiverConfig& receiver,
                                           const std::shared_ptr<const config::Config>& all) const;
  [[nodiscard]] std::string identity_of(const config::Config& all) const;
  void drop_orphans();
  void forget_lost();
  void save_unsaved();
  void explain(Alert& alert, const analyze::Finding& finding, std::size_t number) const;
  void route_anew();
  [[nodiscard]] std::map<std::uint64_t, AlertPtr> resume_told(const Now& now);
  void take_in(const Now& now);
  void look(const Now& now);
  [[nodiscard]] AlertPtr ended(Alert alert, const analyze::Finding& finding, const Now& now);
  void put(const analyze::Finding& finding, const Now& now);
  void tidy_ends(const Now& now);
  void refresh(std::vector<Notification>& due) const;
  void hand_out(std::vector<Notification> due);

  Clock& clock;
  PublishStore store;
  const std::unique_ptr<Approvals> approvals;
  knowledge::SelfMetrics& self;
  analyze::Book& book;
  const Machine machine;
  Silences silences;
  Surroundings around;  // constant once it was set

  // The thread's own, or of configure() while it stands still; guarded by turn_mutex.
  std::mutex turn_mutex;
  Origin origin;
  std::shared_ptr<const Routing> routing;
  NotificationLog sent;
  std::unique_ptr<Dispatcher> dispatcher;
  std::unordered_map<std::string, AlertPtr> known;  // by finding: what is told to fire
  Settling settling;
  std::shared_ptr<const analyze::Findings> seen;
  SteadyTime next_look{};
  SteadyTime next_tidy{};
  bool unsaved = false;  // couriers have what no database has

  mutable std::mutex mutex;  // guards what follows
  std::deque<analyze::Finding> inbox;
  bool overflowed = false;                 // the inbox; all is to be routed anew
  std::vector<NotificationLog::Key> lost;  // told to nobody after all
  std::shared_ptr<const config::Config> config;
  std::vector<std::shared_ptr<Courier>> couriers;
  std::map<std::string, std::vector<Waiting>> waiting;  // from the database, not yet with a courier
  bool running = false;

  knowledge::Counter write_errors;
  knowledge::Counter made;
  knowledge::Counter overflows;
  knowledge::Gauge groups;
  knowledge::Gauge held;
  std::unique_ptr<base::LoopThread> thread;
};

}  // namespace nexus::publish
