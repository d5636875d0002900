// The couriers of a publisher: who works for which receiver, and what is sent to try one.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "nexus/base/id.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "publish/publisher_impl.hpp"
#include "publish/receiver_memory.hpp"

namespace nexus::publish {
namespace {

constexpr Millis kOrphans{7 * 24 * 3'600'000};  // what waits for a receiver that is no more

}  // namespace

ReceiverContext Publisher::Impl::context_of(
    const config::ReceiverConfig& receiver,
    const std::shared_ptr<const config::Config>& all) const {
  ReceiverContext out{clock, origin, all, {}, around.chart};
  out.memory = std::make_shared<ReceiverMemory>(clock, store.db(), receiver.name);
  const auto url = origin.external_url;
  if (!url.empty() && receiver.approval_links) {
    out.approval_link = [this, url, name = receiver.name](const Deed& deed) {
      return fmt::format("{}/approve/{}", url, approvals->token({deed.action, name, deed.expires}));
    };
  }
  return out;
}

/// Ends those that do not stay. What they still have goes to whoever has their name next; what
/// nobody has waits in the database for the day that the receiver comes back.
void Publisher::Impl::dismiss(const std::vector<std::shared_ptr<Courier>>& old) {
  for (const auto& courier : old) {
    if (courier) courier->cancel();
  }
  for (const auto& courier : old) {
    if (!courier) continue;
    courier->stop();
    auto left = courier->take();
    auto& into = waiting[courier->config().name];
    std::ranges::move(left, std::back_inserter(into));
  }
}

/// A new courier, not started; null, and the reason in the log, where its receiver cannot be made.
std::shared_ptr<Courier> Publisher::Impl::engage(const config::ReceiverConfig& one,
                                                 const std::shared_ptr<const config::Config>& all) {
  const auto* descriptor = find_receiver(one.type);
  if (descriptor == nullptr) return nullptr;  // refused when the configuration was checked
  auto receiver = descriptor->make(one, context_of(one, all));
  if (!receiver) {
    log::error("publish", "{}: {}", one.name, receiver.error().message());
    return nullptr;
  }
  const auto lose = [this](const Notification& notification) {
    const std::lock_guard guard(mutex);
    if (lost.size() < kMostInbox) lost.emplace_back(notification.group_key, notification.receiver);
  };
  return std::make_shared<Courier>(clock, one, *descriptor, *std::move(receiver), store, self, lose,
                                   around.healthy);
}

/// A courier for each receiver; those that stay the same go on with what they do. The others are
/// ended before anybody new is made: what a receiver remembers is read when it is made, and the
/// last of it (the key of an incident that was just opened) is written by the one before.
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
  const auto stays_of = [&](const config::ReceiverConfig& one) {
    return std::ranges::find_if(old, [&](const std::shared_ptr<Courier>& courier) {
      return courier && same_origin && courier->config() == one;
    });
  };
  std::map<std::string, std::shared_ptr<Courier>> stay;
  for (const auto& one : wanted) {
    if (const auto found = stays_of(one); found != old.end())
      stay.emplace(one.name, std::move(*found));
  }
  dismiss(old);
  std::vector<std::shared_ptr<Courier>> staff;
  std::vector<std::shared_ptr<Courier>> fresh;
  for (const auto& one : wanted) {
    if (const auto found = stay.find(one.name); found != stay.end()) {
      staff.push_back(found->second);
    } else if (auto courier = engage(one, next)) {
      fresh.push_back(courier);
      staff.push_back(std::move(courier));
    }
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
