// Sources: what services and applications say of themselves, or what is seen of them from outside:
// [[scrape]], [[probe]], [statsd], [push] and [[log]] of the configuration.
//
// They have threads of their own, so that none of them delays a collector: one for all scrapes, a
// small pool for probes, one for statsd, one for logs. Each has a time limit or a bound on what one
// turn does, a budget of series, and counters of what was dropped (`nexus_scrape_*`,
// `nexus_probe_*`, `nexus_push_*`, `nexus_statsd_*`, `nexus_log_*`).
//
// configure() applies another configuration: what did not change goes on, what is gone ends with
// stale markers. Thread safety: all members, any thread; configure(), start() and stop() by one at
// a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/sources.hpp"
#include "nexus/knowledge/history.hpp"
#include "nexus/knowledge/labels.hpp"
#include "nexus/knowledge/ring.hpp"
#include "nexus/knowledge/self_metrics.hpp"
#include "nexus/knowledge/state.hpp"

namespace nexus::monitor {

/// A scrape target, a probed thing, a log, statsd, or a group of pushes.
struct SourceStatus {
  std::string kind;  // scrape, probe, statsd, push, log
  std::string name;
  std::string instance;  // a target's address, a log's files; may be empty
  std::string url;       // of a scrape
  knowledge::Labels labels = {};
  std::string health = "unknown";  // up, down, unknown
  std::string error = {};          // of the last time
  WallTime last{};                 // when it was last looked at
  Millis interval{};
  Millis timeout{};
  double duration_seconds = 0;
  std::uint64_t samples = 0;  // of the last time
  std::uint64_t series = 0;   // live
  std::uint64_t dropped = 0;  // samples, since it is there
};

struct SourcesContext {
  Clock& clock;
  knowledge::SeriesRegistry& registry;
  const knowledge::History& history;
  knowledge::Rings& rings;
  knowledge::SelfMetrics& self;
  /// Keeps the positions of logs; null: they begin anew.
  knowledge::StateDb* state = nullptr;
};

/// One push of exposition text.
struct PushRequest {
  std::string_view text;
  std::string_view content_type;
  /// The group: labels that all its series get, `job` among them.
  std::vector<knowledge::Label> group;
};
struct PushResult {
  std::uint64_t samples = 0;  // taken
  std::uint64_t invalid = 0;  // lines
  std::uint64_t dropped = 0;  // over a limit, doubled, untimely
  std::string mistake;        // the first
};

/// Regular expressions and patterns that only this room can judge.
[[nodiscard]] std::vector<config::Problem> check_sources(const config::SourcesSection& sources);

class Sources {
 public:
  /// Nothing runs before configure().
  explicit Sources(const SourcesContext& context);
  ~Sources();
  Sources(const Sources&) = delete;
  Sources& operator=(const Sources&) = delete;

  /// `section` has passed check_sources(). Fails when a socket of statsd cannot be bound; the rest
  /// is applied.
  [[nodiscard]] Status configure(const config::SourcesSection& section, Millis retention);
  void stop();
  [[nodiscard]] std::vector<SourceStatus> status() const;
  /// kInvalidArgument: nothing of it is a sample; kExhausted: too many groups.
  [[nodiscard]] Result<PushResult> push(const PushRequest& request);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::monitor
