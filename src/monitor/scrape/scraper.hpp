// Scraper: all targets of all [[scrape]], on one thread: transfers run side by side, their text is
// read as it comes, a part at a time, so that a large answer holds no other up.
//
// A target whose scrape is still running when the next is due is skipped once, and counted. Thread
// safety: all members, any thread; configure() by one at a time.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "monitor/scrape/target.hpp"

namespace nexus::monitor {

class Scraper {
 public:
  Scraper(const SourcesContext& context, Outbox& outbox);
  ~Scraper();

  void configure(const std::vector<config::ScrapeConfig>& configs, Millis retention);
  void stop();
  [[nodiscard]] std::vector<SourceStatus> status() const;

 private:
  using Targets = std::vector<std::shared_ptr<ScrapeTarget>>;
  void run();
  void adopt(Targets& active);

  const SourcesContext& context_;
  Outbox& outbox_;
  const ScrapeCounters counters_;
  const knowledge::Gauge count_;
  drivers::Fetcher fetcher_;  // the thread's, but for wake()

  mutable std::mutex mutex_;
  Targets targets_;       // guarded by mutex_: as configured
  bool changed_ = false;  // guarded by mutex_
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace nexus::monitor
