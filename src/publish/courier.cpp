#include "publish/courier.hpp"

#include <algorithm>
#include <map>

#include "nexus/base/id.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"

namespace nexus::publish {
namespace {

/// Between 0.5 and 1: attempts of many agents after one outage do not come at once.
double jitter() {
  const auto drawn = base::parse_uint(base::random_hex(4), 16).value_or(0);
  return 0.5 + static_cast<double>(drawn) / 8589934592.0;  // 2^33
}

Millis backoff(std::uint32_t failures) {
  Millis wait = Courier::kFirstWait;
  for (std::uint32_t i = 1; i < failures && wait < Courier::kLongestWait; ++i) wait *= 2;
  wait = std::min(wait, Courier::kLongestWait);
  return Millis(static_cast<std::int64_t>(static_cast<double>(wait.count()) * jitter()));
}

}  // namespace

Notification digest_of(const std::vector<Waiting>& waiting, WallTime now) {
  std::map<std::uint64_t, AlertPtr> latest;
  for (const auto& one : waiting) {
    for (const auto& alert : one.notification->alerts)
      latest.insert_or_assign(alert->fingerprint, alert);
  }
  Notification out;
  out.id = base::make_id(now);
  out.receiver = waiting.front().notification->receiver;
  out.group_key = "digest";
  for (auto& [print, alert] : latest) out.alerts.push_back(std::move(alert));
  out.merged = static_cast<std::uint32_t>(waiting.size());
  out.time = now;
  complete(out);
  return out;
}

Courier::Courier(Clock& clock, const config::ReceiverConfig& config,
                 const ReceiverDescriptor& descriptor, std::unique_ptr<Receiver> receiver,
                 PublishStore store, knowledge::SelfMetrics& self)
    : clock_(clock),
      config_(config),
      descriptor_(descriptor),
      receiver_(std::move(receiver)),
      store_(store),
      tokens_(config.rate_per_minute),
      tokens_at_(clock.steady()),
      queued_(self.gauge("nexus_notifications_queued", "Notifications that wait for a receiver",
                         {{"receiver", config.name}})),
      breaker_open_(self.gauge("nexus_receiver_breaker_open",
                               "Whether a receiver failed so often that it is tried rarely",
                               {{"receiver", config.name}})),
      sent_(self.counter("nexus_notifications_sent_total",
                         "Notifications that a receiver has taken", {{"receiver", config.name}})),
      failed_(self.counter("nexus_notification_failures_total", "Failed attempts to notify",
                           {{"receiver", config.name}})),
      dropped_(self.counter("nexus_notifications_dropped_total",
                            "Notifications that were refused, too old or too many",
                            {{"receiver", config.name}})) {
  status_.name = config.name;
  status_.type = config.type;
  status_.state = "idle";
}

Courier::~Courier() {
  stop();
}

void Courier::start() {
  thread_ = std::make_unique<base::LoopThread>(clock_, "notify-" + config_.name,
                                               [this] { return turn(); });
}

void Courier::stop() {
  stopping_ = true;
  if (thread_) thread_->stop();
}

std::vector<Waiting> Courier::take() {
  const std::lock_guard guard(mutex_);
  std::vector<Waiting> out(queue_.begin(), queue_.end());
  queue_.clear();
  show();
  return out;
}

ReceiverStatus Courier::status() const {
  const std::lock_guard guard(mutex_);
  auto out = status_;
  out.queued = queue_.size();
  return out;
}

void Courier::enqueue(std::vector<Waiting> fresh) {
  {
    const std::lock_guard guard(mutex_);
    std::ranges::move(fresh, std::back_inserter(queue_));
    // What is being sent stands at the front and stays there.
    const std::size_t most = std::max<std::size_t>(config_.max_queue, in_hand_);
    if (queue_.size() > most) {
      const auto extra = static_cast<std::ptrdiff_t>(queue_.size() - most);
      const auto first = queue_.begin() + static_cast<std::ptrdiff_t>(in_hand_);
      std::for_each(first, first + extra, [&](const Waiting& one) { gone_.push_back(one.row); });
      queue_.erase(first, first + extra);
      drop(static_cast<std::size_t>(extra), "its queue is full");
    }
    show();
  }
  if (thread_) thread_->wake();
}

/// With the lock held.
void Courier::drop(std::size_t count, std::string_view why) {
  left_out_ += count;
  status_.dropped += count;
  dropped_.add(static_cast<double>(count));
  log::warning("publish", "{} notifications for {} are dropped: {}", count, config_.name, why);
}

void Courier::show() {
  queued_.set(static_cast<double>(queue_.size()));
}

/// With the lock held: by wall time, for they may come from before a restart.
void Courier::drop_old(SteadyTime) {
  const WallTime now = clock_.wall();
  std::size_t count = 0;
  while (!queue_.empty() && now - queue_.front().notification->time > config_.give_up_after) {
    gone_.push_back(queue_.front().row);
    queue_.pop_front();
    ++count;
  }
  if (count > 0) drop(count, "they could not be delivered in time");
}

/// With the lock held.
SteadyTime Courier::ready_at(SteadyTime now) {
  const double per_second = config_.rate_per_minute / 60.0;
  const double passed = std::chrono::duration<double>(now - tokens_at_).count();
  tokens_ = std::min<double>(config_.rate_per_minute, tokens_ + passed * per_second);
  tokens_at_ = now;
  SteadyTime at = std::max(now, next_attempt_);
  if (tokens_ < 1) {
    const auto wait = std::chrono::duration<double>((1 - tokens_) / per_second);
    at = std::max(at, now + std::chrono::ceil<Millis>(wait));
  }
  return at;
}

std::optional<Courier::Parcel> Courier::pick(SteadyTime) {
  if (queue_.empty()) return std::nullopt;
  const bool digest = descriptor_.digests && queue_.size() > kDigestFrom;
  const std::size_t count = digest ? queue_.size() : 1;
  Parcel parcel;
  parcel.of.assign(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(count));
  if (digest || left_out_ > 0) {
    Notification one =
        digest ? digest_of(parcel.of, clock_.wall()) : *parcel.of.front().notification;
    one.left_out = left_out_;
    parcel.notification = std::make_shared<const Notification>(std::move(one));
  } else {
    parcel.notification = parcel.of.front().notification;
  }
  in_hand_ = count;
  tokens_ -= 1;
  status_.state = "sending";
  return parcel;
}

SteadyTime Courier::turn() {
  const SteadyTime now = clock_.steady();
  std::optional<Parcel> parcel;
  std::vector<std::int64_t> gone;
  SteadyTime at = base::kForever;
  {
    const std::lock_guard guard(mutex_);
    drop_old(now);
    gone = std::exchange(gone_, {});
    if (!queue_.empty()) at = ready_at(now);
    if (!queue_.empty() && at <= now) parcel = pick(now);
    show();
  }
  if (!gone.empty()) remove(gone);
  if (!parcel) return at;
  const Delivery delivery =
      receiver_->send(*parcel->notification, [this] { return stopping_.load(); });
  if (delivery.result == Delivery::Result::kSent) {
    on_sent(*parcel);
  } else {
    on_failed(*parcel, delivery, clock_.steady());
  }
  const std::lock_guard guard(mutex_);
  return queue_.empty() ? base::kForever : ready_at(clock_.steady());
}

void Courier::on_sent(const Parcel& parcel) {
  std::vector<std::int64_t> rows;
  {
    const std::lock_guard guard(mutex_);
    for (std::size_t i = 0; i < in_hand_; ++i) queue_.pop_front();
    in_hand_ = 0;
    left_out_ -= std::min(left_out_, parcel.notification->left_out);
    if (status_.failures > 0) log::info("publish", "{} takes notifications again", config_.name);
    status_.failures = 0;
    status_.state = "idle";
    status_.sent += parcel.of.size();
    status_.last_sent = clock_.wall();
    status_.next_attempt.reset();
    status_.last_error.clear();
    next_attempt_ = {};
    show();
  }
  breaker_open_.set(0);
  sent_.add(static_cast<double>(parcel.of.size()));
  for (const auto& one : parcel.of) rows.push_back(one.row);
  remove(rows);
}

void Courier::on_failed(const Parcel& parcel, const Delivery& delivery, SteadyTime now) {
  if (stopping_) {  // cancelled by us: nobody failed
    const std::lock_guard guard(mutex_);
    in_hand_ = 0;
    return;
  }
  failed_.add();
  const bool refused = delivery.result == Delivery::Result::kRefused;
  bool opened = false;
  bool first = false;
  {
    const std::lock_guard guard(mutex_);
    ++status_.failed;
    status_.last_error = delivery.why;
    if (refused) {
      for (std::size_t i = 0; i < in_hand_; ++i) {
        gone_.push_back(queue_.front().row);
        queue_.pop_front();
      }
      drop(parcel.of.size(), "they were refused: " + delivery.why);
      status_.state = "idle";
      next_attempt_ = {};
    } else {
      ++status_.failures;
      first = status_.failures == 1;
      opened = status_.failures == kBreakerAfter;
      const bool open = status_.failures >= kBreakerAfter;
      const Millis wait =
          delivery.retry_after.value_or(open ? kBreakerOpen : backoff(status_.failures));
      next_attempt_ = now + wait;
      status_.next_attempt = clock_.wall() + wait;
      status_.state = open ? "open" : "waiting";
    }
    in_hand_ = 0;
    show();
  }
  if (first) log::warning("publish", "{} cannot be told: {}", config_.name, delivery.why);
  if (opened) {
    breaker_open_.set(1);
    log::error("publish", "{} failed {} times in a row and is tried rarely now: {}", config_.name,
               kBreakerAfter, delivery.why);
  }
}

void Courier::remove(const std::vector<std::int64_t>& rows) {
  if (auto removed = store_.remove(rows); !removed) {
    // They would be sent again after a restart: better twice than never.
    log::error("publish", "delivered notifications stay in the state database: {}",
               removed.error().message());
    const std::lock_guard guard(mutex_);
    gone_.insert(gone_.end(), rows.begin(), rows.end());
  }
}

}  // namespace nexus::publish
