// Courier: brings one receiver its notifications, in order, on a thread of its own: whatever hangs
// there holds up nobody else.
//
// A failed attempt is made again after 1, 2, 4, ... seconds, at most kLongestWait, each with
// jitter, or when the other side said (Retry-After). After kBreakerAfter failures in a row the
// breaker is open: one attempt every kBreakerOpen until one succeeds. What is refused, older than
// give_up_after, or the oldest beyond max_queue, is dropped, counted, and the next notification
// says how many are missing. More than rate_per_minute are held back; where people read it and more
// than kDigestFrom wait, they become one digest. At a stop, what waits stays in the state database.
//
// Thread safety: all members, any thread; send() of the receiver runs on the courier's.
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
  static constexpr std::size_t kDigestFrom = 10;

  Courier(Clock& clock, const config::ReceiverConfig& config, const ReceiverDescriptor& descriptor,
          std::unique_ptr<Receiver> receiver, PublishStore store, knowledge::SelfMetrics& self);
  ~Courier();

  void enqueue(std::vector<Waiting> fresh);
  void start();
  /// Cancels a running attempt and joins; what waits is kept.
  void stop();
  /// What waits, oldest first, for a successor with another configuration. After stop().
  [[nodiscard]] std::vector<Waiting> take();
  [[nodiscard]] ReceiverStatus status() const;
  [[nodiscard]] const config::ReceiverConfig& config() const noexcept { return config_; }

  /// One attempt at most; when the next is due. The thread's turn.
  SteadyTime turn();

 private:
  struct Parcel {
    NotificationPtr notification;
    std::vector<Waiting> of;
  };

  [[nodiscard]] std::optional<Parcel> pick(SteadyTime now);
  void drop_old(SteadyTime now);
  void drop(std::size_t count, std::string_view why);
  [[nodiscard]] SteadyTime ready_at(SteadyTime now);
  void on_sent(const Parcel& parcel);
  void on_failed(const Parcel& parcel, const Delivery& delivery, SteadyTime now);
  void remove(const std::vector<std::int64_t>& rows);
  void show();

  Clock& clock_;
  const config::ReceiverConfig config_;
  const ReceiverDescriptor& descriptor_;
  const std::unique_ptr<Receiver> receiver_;
  PublishStore store_;

  mutable std::mutex mutex_;
  std::deque<Waiting> queue_;
  std::vector<std::int64_t> gone_;  // rows to be deleted
  std::size_t in_hand_ = 0;         // of the front: being sent
  std::uint64_t left_out_ = 0;      // dropped since the last that was sent
  SteadyTime next_attempt_{};
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

}  // namespace nexus::publish
