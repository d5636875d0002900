#include "publish/courier.hpp"

#include <algorithm>
#include <exception>
#include <map>
#include <set>

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
  out.group_key = "digest " + out.id;
  for (auto& [print, alert] : latest) out.alerts.push_back(std::move(alert));
  out.merged = static_cast<std::uint32_t>(waiting.size());
  out.time = now;
  complete(out);
  return out;
}

std::string scrub(std::string text, const config::ReceiverConfig& config) {
  constexpr std::size_t kShortest = 4;  // of what is looked for: less is everywhere
  std::vector<std::string> secrets;
  for (const auto* one : {&config.url, &config.password, &config.token, &config.secret}) {
    if (one == &config.url && config.url_is_plain) continue;
    secrets.push_back(one->reveal());
  }
  if (!config.url_is_plain && !config.url.empty()) {
    const std::string& url = config.url.reveal();
    const auto host = url.find("://");
    const auto path = host == std::string::npos ? host : url.find('/', host + 3);
    if (path != std::string::npos) secrets.push_back(url.substr(path));
  }
  // The user of a proxy, and the password alone.
  const auto user = config.proxy.find("://");
  const auto host = config.proxy.rfind('@');
  if (user != std::string::npos && host != std::string::npos && host > user) {
    secrets.push_back(config.proxy.substr(user + 3, host - user - 3));
    secrets.push_back(secrets.back().substr(secrets.back().find(':') + 1));
  }
  std::ranges::sort(secrets, std::greater(), [](const std::string& one) { return one.size(); });
  for (const auto& secret : secrets) {
    if (secret.size() < kShortest) continue;
    for (auto at = text.find(secret); at != std::string::npos; at = text.find(secret, at + 3))
      text.replace(at, secret.size(), "***");
  }
  return text;
}

Courier::Courier(Clock& clock, const config::ReceiverConfig& config,
                 const ReceiverDescriptor& descriptor, std::unique_ptr<Receiver> receiver,
                 PublishStore store, knowledge::SelfMetrics& self, Lost lost, Healthy healthy)
    : clock_(clock),
      config_(config),
      descriptor_(descriptor),
      receiver_(std::move(receiver)),
      store_(store),
      lost_(std::move(lost)),
      healthy_(std::move(healthy)),
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
  forget(true);
}

std::vector<Waiting> Courier::take() {
  const std::lock_guard guard(mutex_);
  std::vector<Waiting> out;
  for (auto& parcel : aside_) std::ranges::move(parcel.of, std::back_inserter(out));
  if (hand_) std::ranges::move(hand_->of, std::back_inserter(out));
  out.insert(out.end(), queue_.begin(), queue_.end());
  aside_.clear();
  hand_.reset();
  queue_.clear();
  show();
  return out;
}

std::size_t Courier::size() const {
  std::size_t count = queue_.size() + (hand_ ? hand_->of.size() : 0);
  for (const auto& parcel : aside_) count += parcel.of.size();
  return count;
}

ReceiverStatus Courier::status() const {
  const std::lock_guard guard(mutex_);
  auto out = status_;
  out.queued = size();
  return out;
}

void Courier::show() {
  queued_.set(static_cast<double>(size()));
}

std::vector<NotificationPtr> Courier::unsaved() const {
  const std::lock_guard guard(mutex_);
  std::vector<NotificationPtr> out;
  const auto add = [&](const auto& some) {
    for (const Waiting& one : some) {
      if (one.row == 0) out.push_back(one.notification);
    }
  };
  for (const auto& parcel : aside_) add(parcel.of);
  if (hand_) add(hand_->of);
  add(queue_);
  return out;
}

bool Courier::saved(const std::string& id, std::int64_t row) {
  const std::lock_guard guard(mutex_);
  const auto note = [&](auto& some) {
    for (Waiting& one : some) {
      if (one.row != 0 || one.notification->id != id) continue;
      one.row = row;
      return true;
    }
    return false;
  };
  for (auto& parcel : aside_) {
    if (note(parcel.of)) return true;
  }
  return (hand_ && note(hand_->of)) || note(queue_);
}

void Courier::enqueue(std::vector<Waiting> fresh) {
  std::vector<NotificationPtr> lost;
  {
    const std::lock_guard guard(mutex_);
    for (Waiting& one : fresh) {
      if (one.made == SteadyTime{}) one.made = clock_.steady();
      queue_.push_back(std::move(one));
    }
    coalesce();
    drop_surplus(lost);
    show();
  }
  tell(lost);
  if (thread_) thread_->wake();
}

/// Of each group only the newest; it takes the place, and the age, of the first. What is with the
/// receiver right now stays. With the lock held.
void Courier::coalesce() {
  std::map<std::string_view, std::size_t> newest;
  for (std::size_t i = 0; i < queue_.size(); ++i) newest[queue_[i].notification->group_key] = i;
  if (newest.size() < queue_.size()) {
    std::deque<Waiting> left;
    std::set<std::string_view> placed;
    for (std::size_t i = 0; i < queue_.size(); ++i) {
      const auto last = newest.find(queue_[i].notification->group_key);
      if (last->second != i) gone_.push_back(queue_[i].row);
      if (placed.insert(last->first).second) left.push_back(queue_[last->second]);
    }
    newest.clear();
    placed.clear();
    queue_ = std::move(left);
  }
  std::set<std::string_view> waiting;
  for (const Waiting& one : queue_) waiting.insert(one.notification->group_key);
  std::erase_if(aside_, [&](const Parcel& parcel) {
    if (!waiting.contains(parcel.notification->group_key)) return false;
    for (const Waiting& one : parcel.of) gone_.push_back(one.row);
    return true;
  });
}

/// With the lock held.
void Courier::count_dropped(std::size_t count, std::string_view why) {
  left_out_ += count;
  status_.dropped += count;
  dropped_.add(static_cast<double>(count));
  log::warning("publish", "{} notifications for {} are dropped: {}", count, config_.name, why);
}

void Courier::tell(const std::vector<NotificationPtr>& lost) const {
  if (!lost_) return;
  for (const auto& one : lost) lost_(*one);
}

/// With the lock held.
void Courier::drop_surplus(std::vector<NotificationPtr>& lost) {
  std::size_t count = 0;
  for (const bool ends : {false, true}) {
    for (std::size_t i = queue_.size(); i > 0 && size() > config_.max_queue; --i) {
      const auto at = queue_.begin() + static_cast<std::ptrdiff_t>(i - 1);
      if (at->notification->is_resolved() != ends) continue;
      gone_.push_back(at->row);
      lost.push_back(at->notification);
      queue_.erase(at);
      ++count;
    }
  }
  if (count > 0) count_dropped(count, "its queue is full");
}

/// With the lock held.
void Courier::drop_old(SteadyTime now, std::vector<NotificationPtr>& lost) {
  const std::size_t before = lost.size();
  const auto is_old = [&](const Waiting& one) { return now - one.made > config_.give_up_after; };
  const auto drop = [&](const Waiting& one) {
    gone_.push_back(one.row);
    lost.push_back(one.notification);
  };
  while (!queue_.empty() && is_old(queue_.front())) {
    drop(queue_.front());
    queue_.pop_front();
  }
  const auto drop_parcel = [&](const Parcel& parcel) {
    if (!std::ranges::all_of(parcel.of, is_old)) return false;
    std::ranges::for_each(parcel.of, drop);
    return true;
  };
  std::erase_if(aside_, drop_parcel);
  if (hand_ && drop_parcel(*hand_)) hand_.reset();
  if (lost.size() > before)
    count_dropped(lost.size() - before, "they could not be delivered in time");
}

/// With the lock held.
SteadyTime Courier::ready_at(SteadyTime now) {
  if (descriptor_.local) return std::max(now, next_attempt_);
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

/// When there is something to send next. With the lock held.
SteadyTime Courier::next_at(SteadyTime now) {
  if (hand_ || !queue_.empty()) return ready_at(now);
  SteadyTime at = base::kForever;
  for (const auto& parcel : aside_) at = std::min(at, std::max(parcel.next, ready_at(now)));
  return at;
}

/// Takes the next in hand; a digest stays what it is until it is settled. With the lock held.
bool Courier::pick(SteadyTime now) {
  if (!hand_) {
    const auto due =
        std::ranges::find_if(aside_, [&](const Parcel& parcel) { return parcel.next <= now; });
    if (queue_.empty() && due != aside_.end()) {
      hand_ = std::move(*due);
      aside_.erase(due);
    } else if (!queue_.empty()) {
      const bool digest = descriptor_.digests && queue_.size() > kDigestFrom && aside_.empty();
      const std::size_t count = digest ? queue_.size() : 1;
      Parcel parcel;
      for (std::size_t i = 0; i < count; ++i) {
        parcel.of.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
      parcel.notification =
          digest ? std::make_shared<const Notification>(digest_of(parcel.of, clock_.wall()))
                 : parcel.of.front().notification;
      hand_ = std::move(parcel);
    }
  }
  if (!hand_) return false;
  if (hand_->notification->left_out != left_out_) {
    Notification one = *hand_->notification;
    one.left_out = left_out_;
    hand_->notification = std::make_shared<const Notification>(std::move(one));
  }
  tokens_ -= 1;
  sending_ = true;
  status_.state = "sending";
  return true;
}

Delivery Courier::attempt() {
  // A receiver that throws has a bug, or met one in a library: this one does not go, others do.
  try {
    return receiver_->send(*hand_->notification, [this] { return stopping_.load(); });
  } catch (const std::exception& error) {
    return Delivery::disliked(fmt::format("it could not be put into words: {}", error.what()));
  }
}

SteadyTime Courier::turn() {
  const SteadyTime now = clock_.steady();
  bool picked = false;
  std::vector<NotificationPtr> lost;
  {
    const std::lock_guard guard(mutex_);
    drop_old(now, lost);
    if (next_at(now) <= now) picked = pick(now);
    show();
  }
  tell(lost);
  if (picked) {
    // hand_ is this thread's while sending_ is set.
    Delivery delivery = attempt();
    delivery.why = scrub(std::move(delivery.why), config_);
    if (delivery.result == Delivery::Result::kSent) {
      on_sent();
    } else {
      on_failed(delivery, clock_.steady());
    }
  }
  const SteadyTime next_beat = beat(clock_.steady());
  bool idle = false;
  SteadyTime next = base::kForever;
  {
    const std::lock_guard guard(mutex_);
    next = next_at(clock_.steady());
    idle = next == base::kForever;
  }
  forget(idle);
  {
    const std::lock_guard guard(mutex_);
    if (!gone_.empty()) next = std::min(next, clock_.steady() + kForgetEvery);
  }
  return std::min(next, next_beat);
}

SteadyTime Courier::beat(SteadyTime now) {
  const auto every = receiver_->beats();
  if (!every) return base::kForever;
  if (now < next_beat_) return next_beat_;
  next_beat_ = now + *every;
  Delivery delivery;
  try {
    delivery = receiver_->beat(!healthy_ || healthy_(), [this] { return stopping_.load(); });
  } catch (const std::exception& error) {
    delivery = Delivery::retry(error.what());
  }
  if (stopping_) return next_beat_;
  const std::lock_guard guard(mutex_);
  if (!descriptor_.beats_only) return next_beat_;  // its notifications tell how it is
  if (delivery.result == Delivery::Result::kSent) {
    if (status_.failures > 0) log::info("publish", "{} hears of the agent again", config_.name);
    status_.failures = 0;
    status_.last_error.clear();
    status_.last_sent = clock_.wall();
    ++status_.sent;
    sent_.add();
  } else {
    status_.last_error = scrub(std::move(delivery.why), config_);
    ++status_.failed;
    failed_.add();
    if (++status_.failures == 1)
      log::warning("publish", "{} does not hear of the agent: {}", config_.name,
                   status_.last_error);
  }
  status_.next_attempt = clock_.wall() + *every;
  return next_beat_;
}

void Courier::on_sent() {
  {
    const std::lock_guard guard(mutex_);
    for (const Waiting& one : hand_->of) gone_.push_back(one.row);
    left_out_ -= std::min(left_out_, hand_->notification->left_out);
    if (status_.failures > 0) log::info("publish", "{} takes notifications again", config_.name);
    status_.failures = 0;
    status_.state = "idle";
    status_.sent += hand_->of.size();
    sent_.add(static_cast<double>(hand_->of.size()));
    status_.last_sent = clock_.wall();
    status_.next_attempt.reset();
    status_.last_error.clear();
    next_attempt_ = {};
    hand_.reset();
    sending_ = false;
    // Whether it was the receiver or they, is seen now.
    for (Parcel& parcel : aside_) {
      parcel.next = std::min(parcel.next, clock_.steady());
      parcel.others_taken = true;
    }
    show();
  }
  breaker_open_.set(0);
}

/// With the lock held: what is in hand is given up.
void Courier::refuse(const std::string& why, std::vector<NotificationPtr>& lost) {
  for (const Waiting& one : hand_->of) {
    gone_.push_back(one.row);
    lost.push_back(one.notification);
  }
  count_dropped(hand_->of.size(), "they were refused: " + why);
  hand_.reset();
  status_.state = "idle";
  next_attempt_ = {};
}

/// With the lock held.
void Courier::wait(const Delivery& delivery, SteadyTime now) {
  ++status_.failures;
  const bool open = status_.failures >= kBreakerAfter;
  const Millis wait = delivery.retry_after
                          ? std::max(*delivery.retry_after, backoff(status_.failures))
                      : open ? kBreakerOpen
                             : backoff(status_.failures);
  next_attempt_ = now + wait;
  status_.next_attempt = clock_.wall() + wait;
  status_.state = open ? "open" : "waiting";
  if (!delivery.suspect || hand_->failures < kBreakerAfter || (queue_.empty() && aside_.empty()))
    return;
  // The others are to have their turn: it may be this one alone that is disliked.
  hand_->next = next_attempt_;
  aside_.push_back(*std::move(hand_));
  hand_.reset();
  if (!queue_.empty() && aside_.back().failures == kBreakerAfter) next_attempt_ = now;
}

void Courier::on_failed(const Delivery& delivery, SteadyTime now) {
  std::uint32_t failures = 0;
  std::vector<NotificationPtr> lost;
  {
    const std::lock_guard guard(mutex_);
    sending_ = false;
    if (stopping_) return;  // cancelled by us: nobody failed
    failed_.add();
    ++status_.failed;
    status_.last_error = delivery.why;
    ++hand_->failures;
    const bool disliked =
        delivery.suspect && hand_->failures >= kMostDislikes && hand_->others_taken;
    if (disliked || delivery.result == Delivery::Result::kRefused) {
      if (disliked) {  // the receiver takes others
        status_.failures = 0;
        breaker_open_.set(0);
      }
      refuse(delivery.why, lost);
    } else {
      wait(delivery, now);
      failures = status_.failures;
    }
    show();
  }
  tell(lost);
  if (failures == 1) log::warning("publish", "{} cannot be told: {}", config_.name, delivery.why);
  if (failures == kBreakerAfter) {
    breaker_open_.set(1);
    log::error("publish", "{} failed {} times in a row and is tried rarely now: {}", config_.name,
               kBreakerAfter, delivery.why);
  }
}

/// Deletes rows: all of them now, or those that have been collected for a while.
void Courier::forget(bool now) {
  std::vector<std::int64_t> rows;
  {
    const std::lock_guard guard(mutex_);
    if (gone_.empty() || (!now && clock_.steady() - forgot_ < kForgetEvery)) return;
    forgot_ = clock_.steady();
    rows.swap(gone_);
  }
  if (auto removed = store_.remove(rows); !removed) {
    // They would be sent again after a restart: better twice than never.
    log::error("publish", "delivered notifications stay in the state database: {}",
               removed.error().message());
    const std::lock_guard guard(mutex_);
    gone_.insert(gone_.end(), rows.begin(), rows.end());
  }
}

}  // namespace nexus::publish
