// Prober: all targets of all [[probe]], each at its interval and within its time limit, on a small
// pool of threads that grows while probes wait for slow targets.
//
// At most one probe of a target runs at a time; one that is due while its last still runs is
// skipped and counted. Every step of a probe has the probe's deadline, so that no thread is ever
// stuck. Thread safety: all members, any thread; configure() and stop() by one at a time.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "monitor/outbox.hpp"
#include "monitor/probe/probe.hpp"
#include "nexus/monitor/sources.hpp"

namespace nexus::monitor {

class Prober {
 public:
  static constexpr std::size_t kMaxThreads = 32;

  Prober(const SourcesContext& context, Outbox& outbox);
  ~Prober();

  void configure(const std::vector<config::ProbeConfig>& configs);
  void stop();
  [[nodiscard]] std::vector<SourceStatus> status() const;

 private:
  struct Job;
  using Jobs = std::vector<std::shared_ptr<Job>>;
  [[nodiscard]] std::shared_ptr<Job> make_job(const config::ProbeConfig& config,
                                              const std::string& target) const;
  void work();
  [[nodiscard]] std::shared_ptr<Job> pick(SteadyTime now, SteadyTime& earliest);
  void spawn_if_short(SteadyTime now);
  void spawn();
  void run(Job& job);
  void end(Job& job);

  const SourcesContext& context_;
  Outbox& outbox_;
  const knowledge::Counter runs_;
  const knowledge::Counter failures_;
  const knowledge::Counter skipped_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Jobs jobs_;  // guarded by mutex_, as all below
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool stopping_ = false;
};

}  // namespace nexus::monitor
