#include "monitor/outbox.hpp"

namespace nexus::monitor {
namespace {

constexpr Millis kRetry{5};

}  // namespace

std::uint32_t GroupNumbers::take() {
  const std::lock_guard guard(mutex_);
  // A number that was just given back is not used at once: its last batch may carry this moment.
  constexpr std::size_t kResting = 64;
  if (free_.size() <= kResting) return next_++;
  const auto group = free_.front();
  free_.pop_front();
  return group;
}

void GroupNumbers::give(std::uint32_t group) {
  const std::lock_guard guard(mutex_);
  free_.push_back(group);
}

Outbox::Outbox(Clock& clock, std::shared_ptr<knowledge::SampleRing> ring,
               knowledge::SelfMetrics& self)
    : clock_(clock),
      refused_(self.counter("nexus_source_refused_samples_total",
                            "Samples of scrapes, probes, pushes, statsd and logs that the history "
                            "was too slow for.")),
      dropped_(
          self.counter("nexus_source_dropped_samples_total",
                       "Samples of probes, statsd and logs that were not taken: over their own "
                       "limit of series, or that of all sources together.")),
      ring_(std::move(ring)),
      loop_(clock, "outbox", [this] { return turn(); }) {}

bool Outbox::push(const knowledge::BatchView& batch) {
  bool refused = false;
  bool waiting = false;
  {
    const std::lock_guard guard(mutex_);
    const bool fits = waiting_.empty() && fits_now(batch.ids.size()) && ring_->push(batch);
    if (!fits && samples_ + batch.ids.size() > kMaxWaiting) {
      refused = true;
    } else if (!fits) {
      waiting = waiting_.empty();
      waiting_.push_back({batch.group,
                          batch.time,
                          {batch.ids.begin(), batch.ids.end()},
                          {batch.values.begin(), batch.values.end()}});
      samples_ += batch.ids.size();
    }
  }
  if (refused) refused_.add(static_cast<double>(batch.ids.size()));
  if (waiting) loop_.wake();
  return !refused;
}

/// Asked before each push, so that waiting is no refusal in the ring's statistics.
bool Outbox::fits_now(std::size_t samples) {
  if (ring_->empty()) in_ring_ = 0;
  if (in_ring_ > 0 && in_ring_ + samples > kMostInRing) return false;
  in_ring_ += samples;
  return true;
}

/// What waits goes first in, first out. True when nothing waits any more.
bool Outbox::flush() {
  const std::lock_guard guard(mutex_);
  while (!waiting_.empty()) {
    const Batch& batch = waiting_.front();
    if (!fits_now(batch.ids.size())) return false;
    if (!ring_->push({batch.group, batch.time, batch.ids, batch.values})) return false;
    samples_ -= batch.ids.size();
    waiting_.pop_front();
  }
  return true;
}

SteadyTime Outbox::turn() {
  return flush() ? base::kForever : clock_.steady() + kRetry;
}

}  // namespace nexus::monitor
