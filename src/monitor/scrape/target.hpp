// ScrapeTarget: one endpoint that is scraped: when, with what, and what came of it.
//
// Thread safety: the scraper's thread, but for status().
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "monitor/scrape/intake.hpp"
#include "nexus/drivers/fetcher.hpp"
#include "nexus/monitor/sources.hpp"

namespace nexus::monitor {

struct ScrapeCounters {
  knowledge::Counter scrapes;
  knowledge::Counter failures;
  knowledge::Counter samples;
  knowledge::Counter invalid;
  knowledge::Counter doubled;
  knowledge::Counter untimely;
  knowledge::Counter dropped;
  knowledge::Counter skipped;
};

class ScrapeTarget {
 public:
  struct Place {
    std::string url;
    LabelList labels;  // without those that begin with __
    Millis interval;
    Millis timeout;
  };
  /// What relabelling makes of a configured target; nothing when it is dropped.
  [[nodiscard]] static std::optional<Place> place(const config::ScrapeConfig& config,
                                                  const std::string& target);

  ScrapeTarget(const SourcesContext& context, Outbox& outbox, const ScrapeCounters& counters,
               const config::ScrapeConfig& config, Place place, Millis retention);
  ~ScrapeTarget();

  /// Begins a scrape; it ends from fetcher.run().
  void start(drivers::Fetcher& fetcher);
  /// All its series end.
  void end();
  [[nodiscard]] bool running() const noexcept { return running_; }
  [[nodiscard]] SourceStatus status() const;
  [[nodiscard]] const config::ScrapeConfig& config() const noexcept { return config_; }
  [[nodiscard]] const Place& place() const noexcept { return place_; }
  void plan();

  SteadyTime due{};

 private:
  [[nodiscard]] Result<drivers::FetchRequest> request() const;
  void on_head(const drivers::FetchResult& result);
  [[nodiscard]] bool on_data(std::string_view part);
  void on_done(drivers::FetchResult&& result);
  void settle(const Status& outcome, bool read);
  void report(bool up, double seconds, const IntakeCounts& counts);

  const SourcesContext& context_;
  Outbox& outbox_;
  const ScrapeCounters& counters_;
  const config::ScrapeConfig config_;
  const Place place_;
  Intake intake_;
  std::vector<knowledge::SeriesId> reports_;
  std::uint64_t forgotten_ = 0;
  std::uint32_t group_;
  Millis offset_;  // of its scrapes from multiples of the interval
  WallTime planned_{};

  bool running_ = false;
  SteadyTime began_{};
  std::int64_t stamp_ = 0;
  bool accepted_ = false;       // the answer is 200: its body counts
  std::uint64_t received_ = 0;  // bytes

  mutable std::mutex mutex_;
  SourceStatus status_;  // guarded by mutex_
};

}  // namespace nexus::monitor
