#include "monitor/job.hpp"

#include <algorithm>

#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

// A host without the thing is asked ever more rarely: it may appear (a module, a mount), but seldom
// does.
constexpr Millis kNoDataCap{60'000};
// A failure is retried at once a few times, for it may be passing, then more rarely.
constexpr Millis kFailedCap{30'000};
constexpr std::uint32_t kFailuresAtOnce = 5;
constexpr std::uint32_t kMaxDoublings = 10;

WallTime next_multiple(WallTime now, Millis interval) {
  const std::int64_t step = interval.count();
  const std::int64_t millis = base::to_unix_millis(now);
  const std::int64_t floor = millis >= 0 ? millis / step : (millis - step + 1) / step;
  return base::from_unix_millis((floor + 1) * step);
}

}  // namespace

JobCounters make_counters(knowledge::SelfMetrics& self, std::string_view collector) {
  const auto counter = [&](std::string_view name, std::string_view help) {
    return self.counter(name, help, {{"collector", collector}});
  };
  const auto gauge = [&](std::string_view name, std::string_view help) {
    return self.gauge(name, help, {{"collector", collector}});
  };
  return {
      counter("nexus_collector_runs_total", "Runs of a collector that ended, in whatever way."),
      counter("nexus_collector_failures_total", "Runs of a collector that failed."),
      counter("nexus_collector_stuck_total",
              "Runs of a collector that passed their deadline and were left behind."),
      counter(
          "nexus_collector_skipped_total",
          "Runs of a collector that were not started because the one before was still going on."),
      counter("nexus_collector_dropped_samples_total",
              "Samples of a collector that were not taken: over its series budget, over the limit "
              "of all series, "
              "doubled, or refused by the ring."),
      counter("nexus_collector_cpu_seconds_total", "Processor time that runs of a collector took."),
      gauge(
          "nexus_collector_interval_seconds",
          "How often a collector runs now: more rarely after failures, more often in an incident."),
      gauge("nexus_collector_deadline_seconds", "How long a run of a collector may take."),
      gauge("nexus_collector_last_success_timestamp_seconds",
            "When a collector last succeeded, in seconds since the epoch; 0: never."),
  };
}

Verdict judge(const Status& status) {
  if (status) return {"ok", {}};
  if (status.error().code() == Errc::kNotFound) return {"no_data", status.error().message()};
  return {"failed", status.error().message()};
}

MetaFamilies make_meta_families(knowledge::SeriesRegistry& registry) {
  return {registry.family("node_scrape_collector_duration_seconds", MetricType::kGauge,
                          "node_exporter: Duration of a collector scrape."),
          registry.family("node_scrape_collector_success", MetricType::kGauge,
                          "node_exporter: Whether a collector succeeded.")};
}

void Job::plan(WallTime wall, SteadyTime steady) {
  // A run may begin a little before its moment, for the two clocks are read one after the other.
  const WallTime last = base::from_unix_millis(stamp);
  const bool early = wall < last && last - wall <= tolerance();
  planned = next_multiple(early ? last : wall, effective_interval());
  due = steady + (planned - wall);
}

Millis Job::effective_interval() const {
  if (streak == 0) return hurried > Millis(0) ? std::min(interval, hurried) : interval;
  const bool failing = status.outcome == "failed";
  const std::uint32_t grace = failing ? kFailuresAtOnce : 0;
  if (streak <= grace) return interval;
  const Millis cap = std::max(interval, failing ? kFailedCap : kNoDataCap);
  return std::min(cap, interval * (1U << std::min(streak - grace, kMaxDoublings)));
}

WallTime Job::batch_time(WallTime wall) const {
  return wall >= planned - tolerance() && wall < planned + tolerance() ? planned : wall;
}

Millis Job::tolerance() const {
  return std::max(Millis(10), std::min(interval, effective_interval()) / 10);
}

void Job::note_finished(const Verdict& verdict, double seconds, double cpu_seconds) {
  if (status.outcome == verdict.outcome && verdict.outcome != "ok") {
    ++streak;
  } else {
    streak = verdict.outcome == "ok" ? 0 : 1;
  }
  ++status.runs;
  if (verdict.outcome == "failed") ++status.failures;
  if (verdict.outcome == "ok") status.last_success = began;
  status.outcome = verdict.outcome;
  status.error = verdict.error;
  status.last_run = began;
  status.duration_seconds = seconds;
  status.cpu_seconds = cpu_seconds;
  status.cpu_seconds_sum += cpu_seconds;
  note_interval();
}

void Job::note_interval() {
  const Millis now = effective_interval();
  status.present_interval = now;
  status.note =
      now > interval   ? fmt::format("backed off: runs every {}", base::format_duration(now))
      : now < interval ? fmt::format("in an incident: runs every {}", base::format_duration(now))
                       : "";
  counters.interval.set(std::chrono::duration<double>(now).count());
}

}  // namespace nexus::monitor
