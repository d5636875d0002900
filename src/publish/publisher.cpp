#include "nexus/publish/publisher.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "publish/publisher_impl.hpp"
#include "publish/signature.hpp"

namespace nexus::publish {
namespace {

constexpr Millis kLook{1'000};  // how often the book is looked at for changed severities
constexpr Millis kTidy{60'000};
/// A kill may have cost the book what it saw last, and people were told of it already: rules have
/// so long to see it again before it is over.
constexpr Millis kSeenAgain{60'000};
constexpr std::size_t kMostExplained = 20;  // alerts of a notification that deeds are asked about
constexpr Millis kExplainTime{1'000};       // of a turn: a flood is told at once, without trends

std::string without_slash(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  return url;
}

/// Whether its ends have to last before they are told: not of what happens by itself (a failed
/// service), nor where the rule itself is gone.
bool settles(const analyze::Finding& finding) {
  if (finding.kind != analyze::FindingKind::kVital && finding.kind != analyze::FindingKind::kAlert)
    return false;
  const auto& states = analyze::record_of(finding).states;
  const auto last = std::ranges::find_if(states.rbegin(), states.rend(), [](const auto& one) {
    return one.what == "firing" || one.what == "retired";
  });
  return last == states.rend() || last->what != "retired";
}

/// The steady moment of a wall time that has passed.
SteadyTime steady_of(WallTime wall, const Now& now) {
  return now.steady - std::max(Millis(0), std::chrono::duration_cast<Millis>(now.wall - wall));
}

}  // namespace

Publisher::Publisher(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Publisher::~Publisher() {
  stop();
}

Result<std::unique_ptr<Publisher>> Publisher::open(Clock& clock, knowledge::StateDb& db,
                                                   knowledge::SelfMetrics& self,
                                                   analyze::Book& book, Machine machine,
                                                   knowledge::StateDb* before) {
  auto store = PublishStore::open(db);
  if (!store) return propagate(std::move(store));
  auto approvals = Approvals::open(clock, db);
  if (!approvals) return propagate(std::move(approvals));
  if (before != nullptr) {
    if (auto moved = move_notifications(*before, db); !moved) return propagate(std::move(moved));
    approvals = Approvals::open(clock, db);  // with the key of links that are under way
    if (!approvals) return propagate(std::move(approvals));
  }
  NotificationLog sent;
  auto loaded = store->load(sent, now_of(clock));
  if (!loaded) return propagate(std::move(loaded), "notifications");
  if (loaded->damaged > 0)
    log::warning("publish", "{} saved notifications or silences were unreadable", loaded->damaged);
  auto impl = std::make_unique<Impl>(clock, *store, *std::move(approvals), self, book,
                                     std::move(machine), *loaded);
  impl->sent = std::move(sent);
  return std::unique_ptr<Publisher>(new Publisher(std::move(impl)));
}

void Publisher::set_surroundings(Surroundings surroundings) {
  impl_->around = std::move(surroundings);
}

Approvals& Publisher::approvals() noexcept {
  return *impl_->approvals;
}

void Publisher::configure(const std::shared_ptr<const config::Config>& config,
                          std::shared_ptr<const Routing> routing) {
  const std::lock_guard guard(impl_->turn_mutex);
  impl_->origin = {config->agent.external_labels, without_slash(config->agent.external_url),
                   impl_->machine.host, impl_->identity_of(*config)};
  impl_->settling.set_most(config->publish.routing.hold_ends);
  impl_->hire(config);
  impl_->silences.set_file(routing->silences());
  impl_->routing = std::move(routing);
  impl_->route_anew();
}

/// Of incidents elsewhere, which hosts of the same name must not share: no machine id is told.
std::string Publisher::Impl::identity_of(const config::Config& all) const {
  std::string text = machine.host;
  for (const auto& [name, value] : all.agent.external_labels) text += "\n" + name + "=" + value;
  return hmac_sha256(machine.id, text).substr(0, 32);
}

/// What the log says was told to fire: it fires until something else is put. By fingerprint.
std::map<std::uint64_t, AlertPtr> Publisher::Impl::resume_told(const Now& now) {
  std::map<std::uint64_t, AlertPtr> told;
  for (const auto& [key, entry] : sent.entries()) {
    for (const auto& alert : entry.alerts) told.insert_or_assign(alert->fingerprint, alert);
  }
  for (const auto& [print, alert] : told) {
    AlertPtr fires = alert;
    if (alert->over_since) {  // whether it still is will be put next
      auto plain = std::make_shared<Alert>(*alert);
      plain->over_since.reset();
      fires = std::move(plain);
    }
    dispatcher->put(fires, now);
    auto& of_finding = known[alert->finding];
    if (!of_finding || of_finding->severity < alert->severity) of_finding = std::move(fires);
  }
  return told;
}

/// Everything that fires, through new routes; of what was told to fire and does not any more, the
/// end. Of what is over and nobody was told to fire, nothing.
void Publisher::Impl::route_anew() {
  const Now now = now_of(clock);
  dispatcher = std::make_unique<Dispatcher>(routing, sent);
  known.clear();
  seen = book.snapshot();
  auto told = resume_told(now);
  for (const auto& finding : *seen) {
    if (finding.state == analyze::FindingState::kPending) continue;
    const bool fires = finding.state == analyze::FindingState::kFiring;
    if (fires || known.contains(finding.fingerprint)) put(finding, now);
    told.erase(to_alert(finding, origin).fingerprint);
  }
  // What the book has forgotten, and what fires with another severity.
  for (const auto& [print, alert] : told) {
    const auto of_finding = known.find(alert->finding);
    if (of_finding != known.end() && of_finding->second->fingerprint == print)
      known.erase(of_finding);
    auto ended = std::make_shared<Alert>(*alert);
    ended->ends = now.wall;
    if (const auto end = settling.end_of(print)) {
      ended->ends = now.wall - std::chrono::duration_cast<Millis>(now.steady - end->at);
      if (end->told > now.steady) ended->settles = end->told;
    } else if (!book.find(alert->finding)) {
      ended->settles = now.steady + kSeenAgain;
    }
    dispatcher->put(std::move(ended), now);
  }
}

/// An alert that has ended, with the moment from which that may be told.
AlertPtr Publisher::Impl::ended(Alert alert, const analyze::Finding& finding, const Now& now) {
  if (!settles(finding)) {
    settling.forget(alert.fingerprint);
  } else {
    const auto told = settling.ended(alert.fingerprint, steady_of(alert.starts, now),
                                     steady_of(*alert.ends, now), now.steady);
    if (told > now.steady) alert.settles = told;
  }
  return std::make_shared<const Alert>(std::move(alert));
}

void Publisher::Impl::put(const analyze::Finding& finding, const Now& now) {
  Alert alert = to_alert(finding, origin);
  const auto before = known.find(finding.fingerprint);
  if (before != known.end() && before->second->fingerprint != alert.fingerprint) {
    Alert other = *before->second;
    other.ends = alert.ends.value_or(now.wall);
    dispatcher->put(ended(std::move(other), finding, now), now);
    // What ends was told under its former severity, and under no other.
    if (alert.resolved()) {
      known.erase(before);
      return;
    }
  }
  if (alert.resolved()) {
    if (before != known.end()) known.erase(before);
    return dispatcher->put(ended(std::move(alert), finding, now), now);
  }
  if (settles(finding)) settling.fires(alert.fingerprint, steady_of(alert.starts, now), now.steady);
  alert.flapping |= settling.flaps(alert.fingerprint, now.steady);
  auto fires = std::make_shared<const Alert>(std::move(alert));
  known.insert_or_assign(finding.fingerprint, fires);
  dispatcher->put(std::move(fires), now);
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

/// A severity that changes is no transition of the book's, nor is that it flaps: it is seen here.
void Publisher::Impl::look(const Now& now) {
  if (now.steady < next_look) return;
  next_look = now.steady + kLook;
  auto snapshot = book.snapshot();
  if (snapshot == seen) return;
  seen = std::move(snapshot);
  for (const auto& finding : *seen) {
    if (finding.state != analyze::FindingState::kFiring) continue;
    const auto found = known.find(finding.fingerprint);
    if (found != known.end() && found->second->severity == finding.severity) {
      const Alert& told = *found->second;
      const bool flaps =
          finding.flapping || (told.flapping && settling.flaps(told.fingerprint, now.steady));
      if (told.flapping == flaps) continue;
    }
    // One that is not known is on its way through the inbox; put() again changes nothing.
    put(finding, now);
  }
}

void Publisher::Impl::tidy_ends(const Now& now) {
  std::unordered_set<std::uint64_t> firing;
  for (const auto& [finding, alert] : known) firing.insert(alert->fingerprint);
  settling.tidy([&](std::uint64_t alert) { return firing.contains(alert); }, now.steady);
  held.set(static_cast<double>(settling.held(now.steady)));
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
  if (due.empty()) return;
  const auto snapshot = book.snapshot();
  const SteadyTime present_moment = clock.steady();
  const SteadyTime until = present_moment + kExplainTime;
  std::unordered_map<std::string_view, const analyze::Finding*> present;
  for (const auto& finding : *snapshot) present.emplace(finding.fingerprint, &finding);
  std::unordered_map<std::string_view, AlertPtr> done;  // several receivers are told of the same
  for (auto& notification : due) {
    std::size_t number = 0;
    for (auto& alert : notification.alerts) {
      const auto found = present.find(alert->finding);
      if (alert->resolved() || found == present.end() ||
          found->second->state != analyze::FindingState::kFiring)
        continue;
      auto& fresh = done[found->first];
      if (!fresh) {
        auto anew = to_alert(*found->second, origin);
        anew.flapping |= settling.flaps(anew.fingerprint, present_moment);
        if (clock.steady() < until) explain(anew, *found->second, number++);
        fresh = std::make_shared<const Alert>(std::move(anew));
      }
      if (fresh->fingerprint == alert->fingerprint && fresh->starts == alert->starts) alert = fresh;
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
    impl_->tidy_ends(now);
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
  for (const auto& courier : staff) courier->cancel();
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

}  // namespace nexus::publish
