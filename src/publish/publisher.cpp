#include "nexus/publish/publisher.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>

#include "nexus/base/id.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/loop_thread.hpp"
#include "nexus/base/text.hpp"
#include "publish/courier.hpp"
#include "publish/dispatcher.hpp"
#include "publish/receivers.hpp"
#include "publish/silences.hpp"

namespace nexus::publish {
namespace {

constexpr Millis kLook{1'000};  // how often the book is looked at for changed severities
constexpr Millis kTidy{60'000};
constexpr std::size_t kMostExplained = 20;  // alerts of a notification that deeds are asked about
constexpr Millis kOrphans{7 * 24 * 3'600'000};  // what waits for a receiver that is no more

std::string without_slash(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  return url;
}

}  // namespace

struct Publisher::Impl {
  Impl(Clock& c, PublishStore s, std::unique_ptr<Approvals> a, knowledge::SelfMetrics& m,
       analyze::Book& b, std::string h, PublishStore::Loaded& loaded)
      : clock(c),
        store(s),
        approvals(std::move(a)),
        self(m),
        book(b),
        host(std::move(h)),
        silences(clock, store, self, std::move(loaded.silences)),
        waiting(std::move(loaded.waiting)),
        write_errors(self.counter("nexus_notifications_write_errors_total",
                                  "Failed writes of notifications to the state database")),
        made(self.counter("nexus_notifications_total", "Notifications that routes led to")),
        overflows(self.counter("nexus_notifications_overflows_total",
                               "How often so many findings changed at once that all were routed "
                               "anew")),
        groups(self.gauge("nexus_notification_groups", "Groups of alerts in the routes")) {}

  void hire(const std::shared_ptr<const config::Config>& config);
  [[nodiscard]] ReceiverContext context_of(const config::ReceiverConfig& receiver,
                                           const std::shared_ptr<const config::Config>& all) const;
  void drop_orphans();
  void forget_lost();
  void save_unsaved();
  void explain(Alert& alert, const analyze::Finding& finding, std::size_t number) const;
  void route_anew();
  void take_in(const Now& now);
  void look(const Now& now);
  void put(const analyze::Finding& finding, const Now& now);
  void refresh(std::vector<Notification>& due) const;
  void hand_out(std::vector<Notification> due);

  Clock& clock;
  PublishStore store;
  const std::unique_ptr<Approvals> approvals;
  knowledge::SelfMetrics& self;
  analyze::Book& book;
  const std::string host;
  Silences silences;
  Surroundings around;  // constant once it was set

  // The thread's own, or of configure() while it stands still; guarded by turn_mutex.
  std::mutex turn_mutex;
  Origin origin;
  std::shared_ptr<const Routing> routing;
  NotificationLog sent;
  std::unique_ptr<Dispatcher> dispatcher;
  std::unordered_map<std::string, AlertPtr> known;  // by finding: what fires, as it was put
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
  std::unique_ptr<base::LoopThread> thread;
};

Publisher::Publisher(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Publisher::~Publisher() {
  stop();
}

Result<std::unique_ptr<Publisher>> Publisher::open(Clock& clock, knowledge::StateDb& db,
                                                   knowledge::SelfMetrics& self,
                                                   analyze::Book& book, std::string host) {
  auto store = PublishStore::open(db);
  if (!store) return propagate(std::move(store));
  auto approvals = Approvals::open(clock, db);
  if (!approvals) return propagate(std::move(approvals));
  NotificationLog sent;
  auto loaded = store->load(sent, now_of(clock));
  if (!loaded) return propagate(std::move(loaded), "notifications");
  if (loaded->damaged > 0)
    log::warning("publish", "{} saved notifications or silences were unreadable", loaded->damaged);
  auto impl = std::make_unique<Impl>(clock, *store, *std::move(approvals), self, book,
                                     std::move(host), *loaded);
  impl->sent = std::move(sent);
  return std::unique_ptr<Publisher>(new Publisher(std::move(impl)));
}

void Publisher::set_surroundings(Surroundings surroundings) {
  impl_->around = std::move(surroundings);
}

Approvals& Publisher::approvals() noexcept {
  return *impl_->approvals;
}

ReceiverContext Publisher::Impl::context_of(
    const config::ReceiverConfig& receiver,
    const std::shared_ptr<const config::Config>& all) const {
  ReceiverContext out{clock, origin, all, {}, around.chart};
  const auto url = origin.external_url;
  if (!url.empty() && receiver.approval_links) {
    out.approval_link = [this, url, name = receiver.name](const Deed& deed) {
      return fmt::format("{}/approve/{}", url, approvals->token({deed.action, name, deed.expires}));
    };
  }
  return out;
}

/// A courier for each receiver; those that stay the same go on with what they do.
void Publisher::Impl::hire(const std::shared_ptr<const config::Config>& next) {
  std::vector<config::ReceiverConfig> wanted = next->publish.receivers;
  if (std::ranges::find(wanted, kLogReceiver, &config::ReceiverConfig::name) == wanted.end()) {
    config::ReceiverConfig journal;
    journal.name = kLogReceiver;
    journal.type = kLogReceiver;
    wanted.push_back(std::move(journal));
  }
  std::vector<std::shared_ptr<Courier>> old;
  {
    const std::lock_guard guard(mutex);
    old.swap(couriers);
  }
  const bool same_origin = config && config->agent.external_labels == next->agent.external_labels &&
                           config->agent.external_url == next->agent.external_url &&
                           config->commands == next->commands;
  std::vector<std::shared_ptr<Courier>> staff;
  std::vector<std::shared_ptr<Courier>> fresh;
  for (const auto& one : wanted) {
    const auto stays = std::ranges::find_if(old, [&](const std::shared_ptr<Courier>& courier) {
      return courier && courier->config() == one && same_origin;
    });
    if (stays != old.end()) {
      staff.push_back(std::move(*stays));
      continue;
    }
    const auto* descriptor = find_receiver(one.type);
    if (descriptor == nullptr) continue;  // refused when the configuration was checked
    auto receiver = descriptor->make(one, context_of(one, next));
    if (!receiver) {
      log::error("publish", "{}: {}", one.name, receiver.error().message());
      continue;
    }
    const auto lose = [this](const Notification& notification) {
      const std::lock_guard guard(mutex);
      if (lost.size() < kMostInbox)
        lost.emplace_back(notification.group_key, notification.receiver);
    };
    fresh.push_back(std::make_shared<Courier>(clock, one, *descriptor, *std::move(receiver), store,
                                              self, lose, around.healthy));
    staff.push_back(fresh.back());
  }
  // What the others still have goes to whoever has their name now; what nobody has waits in the
  // database for the day that the receiver comes back.
  for (const auto& courier : old) {
    if (!courier) continue;
    courier->stop();
    auto left = courier->take();
    auto& into = waiting[courier->config().name];
    std::ranges::move(left, std::back_inserter(into));
  }
  bool start = false;
  {
    const std::lock_guard guard(mutex);
    start = running;
  }
  for (const auto& courier : staff) {
    const auto found = waiting.find(courier->config().name);
    if (found != waiting.end()) {
      courier->enqueue(std::move(found->second));
      waiting.erase(found);
    }
  }
  if (start) {
    for (const auto& courier : fresh) courier->start();
  }
  drop_orphans();
  const std::lock_guard guard(mutex);
  couriers = std::move(staff);
  config = next;
}

/// What waits for a receiver that has not been in the configuration for long.
void Publisher::Impl::drop_orphans() {
  const SteadyTime now = clock.steady();
  for (auto& [receiver, all] : waiting) {
    std::vector<std::int64_t> rows;
    std::erase_if(all, [&](const Waiting& one) {
      if (now - one.made < kOrphans) return false;
      rows.push_back(one.row);
      return true;
    });
    if (rows.empty()) continue;
    log::warning("publish", "{} notifications for {}, which is no receiver any more, are dropped",
                 rows.size(), receiver);
    if (auto done = store.remove(rows); !done) log::error("publish", "{}", done.error().message());
  }
}

void Publisher::configure(const std::shared_ptr<const config::Config>& config,
                          std::shared_ptr<const Routing> routing) {
  const std::lock_guard guard(impl_->turn_mutex);
  impl_->origin = {config->agent.external_labels, without_slash(config->agent.external_url),
                   impl_->host};
  impl_->hire(config);
  impl_->silences.set_file(routing->silences());
  impl_->routing = std::move(routing);
  impl_->route_anew();
}

/// Everything that fires, through new routes; of what was told to fire and does not any more, the
/// end. Of what is over and nobody was told to fire, nothing.
void Publisher::Impl::route_anew() {
  const Now now = now_of(clock);
  dispatcher = std::make_unique<Dispatcher>(routing, sent);
  known.clear();
  seen = book.snapshot();
  std::map<std::uint64_t, AlertPtr> told;
  for (const auto& [key, entry] : sent.entries()) {
    for (const auto& alert : entry.alerts) told.insert_or_assign(alert->fingerprint, alert);
  }
  for (const auto& finding : *seen) {
    if (finding.state == analyze::FindingState::kPending) continue;
    const auto print = to_alert(finding, origin).fingerprint;
    const bool fires = finding.state == analyze::FindingState::kFiring;
    if (fires || told.contains(print)) put(finding, now);
    told.erase(print);
  }
  for (const auto& [print, alert] : told) {
    auto ended = std::make_shared<Alert>(*alert);
    ended->ends = now.wall;
    dispatcher->put(std::move(ended), now);
  }
}

void Publisher::Impl::put(const analyze::Finding& finding, const Now& now) {
  auto alert = std::make_shared<const Alert>(to_alert(finding, origin));
  const auto before = known.find(finding.fingerprint);
  if (before != known.end() && before->second->fingerprint != alert->fingerprint) {
    auto ended = std::make_shared<Alert>(*before->second);
    ended->ends = now.wall;
    dispatcher->put(std::move(ended), now);
  }
  if (alert->resolved()) {
    if (before != known.end()) known.erase(before);
  } else {
    known.insert_or_assign(finding.fingerprint, alert);
  }
  dispatcher->put(std::move(alert), now);
}

void Publisher::Impl::take_in(const Now& now) {
  std::deque<analyze::Finding> fresh;
  bool anew = false;
  {
    const std::lock_guard guard(mutex);
    fresh.swap(inbox);
    anew = std::exchange(overflowed, false);
  }
  if (anew) {
    overflows.add();
    log::warning("publish", "more than {} findings changed at once: all are routed anew",
                 kMostInbox);
    return route_anew();
  }
  for (const auto& finding : fresh) put(finding, now);
}

/// A severity that changes is no transition of the book's: it is seen here.
void Publisher::Impl::look(const Now& now) {
  if (now.steady < next_look) return;
  next_look = now.steady + kLook;
  auto snapshot = book.snapshot();
  if (snapshot == seen) return;
  seen = std::move(snapshot);
  for (const auto& finding : *seen) {
    if (finding.state != analyze::FindingState::kFiring) continue;
    const auto found = known.find(finding.fingerprint);
    if (found != known.end() && found->second->severity == finding.severity) continue;
    // One that is not known is on its way through the inbox; put() again changes nothing.
    put(finding, now);
  }
}

/// What was dropped is told again as long as it fires: nobody has heard of it.
void Publisher::Impl::forget_lost() {
  std::vector<NotificationLog::Key> keys;
  {
    const std::lock_guard guard(mutex);
    keys.swap(lost);
  }
  for (const auto& [group, receiver] : keys) sent.erase(group, receiver);
}

/// Once the database is back: what couriers still have of the time without it.
void Publisher::Impl::save_unsaved() {
  if (!unsaved) return;
  std::vector<std::shared_ptr<Courier>> staff;
  {
    const std::lock_guard guard(mutex);
    staff = couriers;
  }
  std::vector<Waiting> fresh;
  for (const auto& courier : staff) {
    for (auto& one : courier->unsaved()) fresh.push_back({0, std::move(one)});
  }
  auto changes = sent.take_changes();
  if (!store.write(sent, changes, fresh)) return sent.put_back(std::move(changes));
  unsaved = false;
  std::vector<std::int64_t> rows;
  for (const auto& one : fresh) {
    const bool waits = std::ranges::any_of(staff, [&](const std::shared_ptr<Courier>& courier) {
      return courier->config().name == one.notification->receiver &&
             courier->saved(one.notification->id, one.row);
    });
    if (!waits) rows.push_back(one.row);  // delivered meanwhile
  }
  if (auto done = store.remove(rows); !done) log::error("publish", "{}", done.error().message());
}

void Publisher::Impl::explain(Alert& alert, const analyze::Finding& finding,
                              std::size_t number) const {
  if (number >= kMostExplained) return;  // nobody is shown more
  if (around.deeds) alert.deeds = around.deeds(finding);
  if (around.trend) alert.trend = around.trend(finding);
  const auto& record = analyze::record_of(finding);
  if (record.cause.empty()) return;
  const auto cause = book.find(record.cause);
  if (!cause) return;
  alert.cause = base::sanitize_utf8(
      fmt::format("{} {} ({}): {}", cause->name, cause->subject,
                  record.cause_link == "started_together" ? "began together" : record.cause_link,
                  cause->evidence.text));
}

/// What is sent shows the present values, not those of the moment at which it fired.
void Publisher::Impl::refresh(std::vector<Notification>& due) const {
  const auto snapshot = book.snapshot();
  std::unordered_map<std::string_view, const analyze::Finding*> present;
  for (const auto& finding : *snapshot) present.emplace(finding.fingerprint, &finding);
  for (auto& notification : due) {
    std::size_t number = 0;
    for (auto& alert : notification.alerts) {
      const auto found = present.find(alert->finding);
      if (alert->resolved() || found == present.end() ||
          found->second->state != analyze::FindingState::kFiring)
        continue;
      auto fresh = to_alert(*found->second, origin);
      if (fresh.fingerprint != alert->fingerprint || fresh.starts != alert->starts) continue;
      explain(fresh, *found->second, number++);
      alert = std::make_shared<const Alert>(std::move(fresh));
    }
    complete(notification);
  }
}

void Publisher::Impl::hand_out(std::vector<Notification> due) {
  std::vector<Waiting> fresh;
  for (auto& notification : due)
    fresh.push_back({0, std::make_shared<const Notification>(std::move(notification))});
  auto changes = sent.take_changes();
  if (!changes.empty() || !fresh.empty()) {
    if (auto written = store.write(sent, changes, fresh); !written) {
      write_errors.add();
      log::error("publish", "notifications are sent, but not saved: {}", written.error().message());
      sent.put_back(std::move(changes));
      for (auto& one : fresh) one.row = 0;  // rolled back
      unsaved = true;
    }
  }
  made.add(static_cast<double>(fresh.size()));
  std::map<std::string, std::vector<Waiting>> by_receiver;
  for (auto& one : fresh) by_receiver[one.notification->receiver].push_back(std::move(one));
  std::vector<std::pair<std::shared_ptr<Courier>, std::vector<Waiting>>> ready;
  std::unique_lock lock(mutex);
  for (const auto& courier : couriers) {
    const auto found = by_receiver.find(courier->config().name);
    if (found == by_receiver.end()) continue;
    ready.emplace_back(courier, std::move(found->second));
    by_receiver.erase(found);
  }
  for (const auto& [receiver, some] : by_receiver)
    log::error("publish", "{} notifications wait, for there is no receiver {}", some.size(),
               receiver);
  lock.unlock();  // a courier may tell at once what it has to drop
  for (auto& [courier, some] : ready) courier->enqueue(std::move(some));
}

SteadyTime Publisher::turn() {
  const std::lock_guard guard(impl_->turn_mutex);
  if (!impl_->dispatcher) return base::kForever;
  const Now now = now_of(impl_->clock);
  impl_->forget_lost();
  impl_->take_in(now);
  impl_->look(now);
  impl_->save_unsaved();
  if (impl_->dispatcher->next() <= now.steady) {
    const auto active = impl_->silences.active();
    auto due = impl_->dispatcher->turn(now, [&](const StringMap& labels) {
      return std::ranges::any_of(
          active, [&](const Matchers& matchers) { return all_match(matchers, labels); });
    });
    if (!due.empty()) impl_->refresh(due);
    impl_->hand_out(std::move(due));
    impl_->groups.set(static_cast<double>(impl_->dispatcher->groups()));
  }
  if (now.steady >= impl_->next_tidy) {
    impl_->next_tidy = now.steady + kTidy;
    impl_->sent.expire(now);
    impl_->silences.tidy();
    (void)impl_->silences.active();  // the gauge
  }
  return std::min(impl_->dispatcher->next(), impl_->next_look);
}

void Publisher::start() {
  std::vector<std::shared_ptr<Courier>> staff;
  {
    const std::lock_guard guard(impl_->mutex);
    impl_->running = true;
    staff = impl_->couriers;
  }
  for (const auto& courier : staff) courier->start();
  impl_->thread =
      std::make_unique<base::LoopThread>(impl_->clock, "notify", [this] { return turn(); });
}

void Publisher::stop() {
  if (impl_->thread) impl_->thread->stop();
  std::vector<std::shared_ptr<Courier>> staff;
  {
    const std::lock_guard guard(impl_->mutex);
    impl_->running = false;
    staff = impl_->couriers;
  }
  for (const auto& courier : staff) courier->stop();
}

Nanos Publisher::late() const noexcept {
  return impl_->thread ? impl_->thread->late() : Nanos(0);
}

void Publisher::on_finding(const analyze::Finding& finding) {
  if (finding.state == analyze::FindingState::kPending) return;
  {
    const std::lock_guard guard(impl_->mutex);
    if (impl_->inbox.size() < kMostInbox) {
      impl_->inbox.push_back(finding);
    } else {
      impl_->inbox.clear();
      impl_->overflowed = true;
    }
  }
  if (impl_->thread) impl_->thread->wake();
}

Result<Silence> Publisher::put_silence(SilenceRequest request) {
  return impl_->silences.put(std::move(request));
}
Status Publisher::expire_silence(std::string_view id) {
  return impl_->silences.expire(id);
}
std::vector<Silence> Publisher::silences() const {
  return impl_->silences.all();
}

std::vector<ReceiverStatus> Publisher::receivers() const {
  std::vector<std::shared_ptr<Courier>> staff;
  {
    const std::lock_guard guard(impl_->mutex);
    staff = impl_->couriers;
  }
  std::vector<ReceiverStatus> out;
  for (const auto& courier : staff) out.push_back(courier->status());
  return out;
}

Status Publisher::test(const std::string& receiver, const std::function<bool()>& cancelled) {
  std::shared_ptr<const config::Config> config;
  std::shared_ptr<Courier> courier;
  {
    const std::lock_guard guard(impl_->mutex);
    config = impl_->config;
    for (const auto& one : impl_->couriers) {
      if (one->config().name == receiver) courier = one;
    }
  }
  if (!courier)
    return fail(Errc::kNotFound, "there is no receiver \"{}\"",
                base::sanitize_utf8(receiver.substr(0, 64)));
  const auto context = [&] {
    const std::lock_guard guard(impl_->turn_mutex);
    return impl_->context_of(courier->config(), config);
  }();
  const Origin& origin = context.origin;
  // One of its own: the courier's is the courier's thread's.
  const auto* descriptor = find_receiver(courier->config().type);
  auto made = descriptor->make(courier->config(), context);
  if (!made) return propagate(std::move(made), "{}", receiver);
  analyze::Finding finding;
  finding.kind = analyze::FindingKind::kAgent;
  finding.name = "notification_test";
  finding.fingerprint = analyze::fingerprint(finding.kind, finding.name, {});
  finding.severity = config::Severity::kInfo;
  finding.subject = origin.host;
  finding.evidence.text = "This is a test: somebody asked for it, nothing is wrong.";
  finding.state = analyze::FindingState::kFiring;
  finding.started = finding.last_seen = impl_->clock.wall();
  Notification notification;
  notification.id = base::make_id(impl_->clock.wall());
  notification.receiver = receiver;
  notification.group_key = "{}:{alertname=\"notification_test\"}";
  notification.group_labels = {{"alertname", "notification_test"}};
  notification.time = impl_->clock.wall();
  notification.alerts = {std::make_shared<const Alert>(to_alert(finding, origin))};
  complete(notification);
  const auto delivery = descriptor->beats_only ? (*made)->beat(true, cancelled)
                                               : (*made)->send(notification, cancelled);
  if (delivery.result == Delivery::Result::kSent) return {};
  return fail(delivery.result == Delivery::Result::kRefused ? Errc::kConflict : Errc::kUnavailable,
              "{}: {}", receiver, scrub(delivery.why, courier->config()));
}

}  // namespace nexus::publish
