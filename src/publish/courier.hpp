// Courier: brings one receiver its notifications, in order, on a thread of its own: whatever hangs
// there holds up nobody else.
//
// A failed attempt is made again after 1, 2, 4, ... seconds, at most kLongestWait, each with
// jitter, or later when the other side says so (Retry-After). After kBreakerAfter failures in a row
// the breaker is open: one attempt every kBreakerOpen until one succeeds. One that the other side
// answers kBreakerAfter times with a refusal of its own is put aside, so that it holds up no other;
// it is tried again like that, and given up after kMostDislikes times while others were taken.
// Where that does not happen, the order is that in which they were made; of one group it always is.
//
// Of one group only the newest waits: it says all that the older ones say. What is refused, older
// than give_up_after, or beyond max_queue (what fires first, the newest first: it is told again),
// is dropped, counted and given to the Lost, and the next notification says how many are missing.
// More than rate_per_minute are held back; where people read it and more than kDigestFrom wait,
// they become one digest. At a stop, what waits stays in the state database.
//
// Thread safety: all members, any thread; send() of the receiver runs on the courier's. Lost is
// called with no lock held, by whoever dropped something.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "nexus/base/loop_thread.hpp"
#include "nexus/knowledge/self_metrics.hpp"
#include "nexus/publish/receiver.hpp"
#include "nexus/publish/status.hpp"
#include "publish/store.hpp"

namespace nexus::publish {

class Courier {
 public:
  static constexpr Millis kFirstWait{1'000};
  static constexpr Millis kLongestWait{60'000};
  static constexpr std::uint32_t kBreakerAfter = 5;
  static constexpr Millis kBreakerOpen{120'000};
  static constexpr std::uint32_t kMostDislikes = 10;
  static constexpr std::size_t kDigestFrom = 10;
  static constexpr Millis kForgetEvery{1'000};  // rows are deleted, while more waits

  /// What was dropped: its group is to be looked at as if nobody had been told.
  using Lost = std::function<void(const Notification& notification)>;
  /// What is asked before a sign of life.
  using Healthy = std::function<bool()>;

  Courier(Clock& clock, const config::ReceiverConfig& config, const ReceiverDescriptor& descriptor,
          std::unique_ptr<Receiver> receiver, PublishStore store, knowledge::SelfMetrics& self,
          Lost lost = {}, Healthy healthy = {});
  ~Courier();

  void enqueue(std::vector<Waiting> fresh);
  void start();
  /// A running attempt ends soon: before several are stopped, one after the other.
  void cancel() noexcept { stopping_ = true; }
  /// Cancels a running attempt and joins; what waits is kept.
  void stop();
  /// What waits, oldest first, for a successor with another configuration. After stop().
  [[nodiscard]] std::vector<Waiting> take();
  [[nodiscard]] ReceiverStatus status() const;
  [[nodiscard]] const config::ReceiverConfig& config() const noexcept { return config_; }

  /// What waits and is in no database, which was away.
  [[nodiscard]] std::vector<NotificationPtr> unsaved() const;
  /// It has a row now; false: it was delivered meanwhile, or dropped.
  [[nodiscard]] bool saved(const std::string& id, std::int64_t row);

  /// One attempt at most; when the next is due. The thread's turn.
  SteadyTime turn();

 private:
  /// What is being sent, or will be tried again.
  struct Parcel {
    NotificationPtr notification;
    std::vector<Waiting> of;
    std::uint32_t failures = 0;
    SteadyTime next{};          // once it was put aside
    bool others_taken = false;  // since then: it is this one, not the receiver
  };

  void coalesce();
  void drop_old(SteadyTime now, std::vector<NotificationPtr>& lost);
  void drop_surplus(std::vector<NotificationPtr>& lost);
  void count_dropped(std::size_t count, std::string_view why);
  void tell(const std::vector<NotificationPtr>& lost) const;
  [[nodiscard]] SteadyTime ready_at(SteadyTime now);
  [[nodiscard]] SteadyTime next_at(SteadyTime now);
  [[nodiscard]] bool pick(SteadyTime now);
  [[nodiscard]] Delivery attempt();
  void on_sent();
  void on_failed(const Delivery& delivery, SteadyTime now);
  void refuse(const std::string& why, std::vector<NotificationPtr>& lost);
  void wait(const Delivery& delivery, SteadyTime now);
  SteadyTime beat(SteadyTime now);
  void forget(bool now);
  [[nodiscard]] std::size_t size() const;
  void show();

  Clock& clock_;
  const config::ReceiverConfig config_;
  const ReceiverDescriptor& descriptor_;
  const std::unique_ptr<Receiver> receiver_;
  PublishStore store_;
  const Lost lost_;
  const Healthy healthy_;

  mutable std::mutex mutex_;
  std::deque<Waiting> queue_;
  std::optional<Parcel> hand_;      // being sent, or the next to be tried again
  bool sending_ = false;            // hand_ is with the receiver
  std::vector<Parcel> aside_;       // the other side dislikes them
  std::vector<std::int64_t> gone_;  // rows to be deleted
  SteadyTime forgot_{};             // when rows were last deleted
  std::uint64_t left_out_ = 0;      // dropped since the last that was sent
  SteadyTime next_attempt_{};
  SteadyTime next_beat_{};
  double tokens_;
  SteadyTime tokens_at_{};
  ReceiverStatus status_;

  std::atomic<bool> stopping_{false};
  knowledge::Gauge queued_;
  knowledge::Gauge breaker_open_;
  knowledge::Counter sent_;
  knowledge::Counter failed_;
  knowledge::Counter dropped_;
  std::unique_ptr<base::LoopThread> thread_;
};

/// One notification of many: of each alert its latest state.
[[nodiscard]] Notification digest_of(const std::vector<Waiting>& waiting, WallTime now);

/// `text` without what is secret in a receiver's configuration: its address and the path in it, its
/// token, password and key.
[[nodiscard]] std::string scrub(std::string text, const config::ReceiverConfig& config);

}  // namespace nexus::publish
