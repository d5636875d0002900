// Pushes: groups of series that applications send. A group is named by its labels; each has an
// Intake. Series that are not pushed any more end after stale_after; until then they keep their
// last value. Bounded: groups, and series of each. Thread safety: all members, any thread; pushes
// of one group go one after the other.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "monitor/scrape/intake.hpp"
#include "nexus/monitor/sources.hpp"

namespace nexus::monitor {

class Pushes {
 public:
  Pushes(const SourcesContext& context, Outbox& outbox);

  void configure(const config::PushSection& section, Millis retention);
  [[nodiscard]] Result<PushResult> push(const PushRequest& request);
  [[nodiscard]] std::vector<SourceStatus> status() const;
  void stop() { loop_.stop(); }

 private:
  struct Group {
    std::mutex mutex;  // guards what follows
    std::unique_ptr<Intake> intake;
    SourceStatus status;
    bool gone = false;  // taken out of the map
  };
  [[nodiscard]] Result<std::shared_ptr<Group>> group(const LabelList& labels);
  SteadyTime turn();
  bool expire(Group& group, Millis stale_after);

  const SourcesContext& context_;
  Outbox& outbox_;
  const knowledge::Counter pushes_;
  const knowledge::Counter samples_;
  const knowledge::Counter invalid_;
  const knowledge::Counter dropped_;
  const knowledge::Counter refused_;
  const knowledge::Gauge count_;

  mutable std::mutex mutex_;
  config::PushSection section_;                                 // guarded by mutex_
  Millis retention_{0};                                         // guarded by mutex_
  std::map<knowledge::Labels, std::shared_ptr<Group>> groups_;  // guarded by mutex_
  base::LoopThread loop_;
};

}  // namespace nexus::monitor
