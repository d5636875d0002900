// What the files of Agent share: agent.cpp (start, reload, stop), wiring.cpp (the rooms made and
// joined), turns.cpp (what the loops do).
//
// Thread safety: as said at the members.
#pragma once

#include <atomic>
#include <mutex>

#include "agent/budget.hpp"
#include "agent/check.hpp"
#include "agent/configuration_watch.hpp"
#include "agent/connectivity.hpp"
#include "agent/container_watcher.hpp"
#include "agent/directory_lock.hpp"
#include "agent/drift.hpp"
#include "agent/incident.hpp"
#include "agent/life.hpp"
#include "agent/surroundings.hpp"
#include "agent/tunings.hpp"
#include "agent/witness.hpp"
#include "nexus/agent/agent.hpp"
#include "nexus/analyze/anomaly.hpp"
#include "nexus/analyze/change_watch.hpp"
#include "nexus/analyze/forecast.hpp"
#include "nexus/analyze/incidents.hpp"
#include "nexus/analyze/models.hpp"
#include "nexus/analyze/services.hpp"
#include "nexus/base/loop_thread.hpp"
#include "nexus/config/config.hpp"
#include "nexus/drivers/systemd.hpp"
#include "nexus/drivers/unit_privileged.hpp"
#include "nexus/execute/executor.hpp"
#include "nexus/knowledge/audit.hpp"
#include "nexus/knowledge/history.hpp"
#include "nexus/knowledge/ingest.hpp"
#include "nexus/knowledge/models.hpp"
#include "nexus/monitor/observed.hpp"
#include "nexus/monitor/scheduler.hpp"
#include "nexus/monitor/sources.hpp"
#include "nexus/publish/publisher.hpp"
#include "nexus/serve/routes.hpp"
#include "nexus/serve/server.hpp"

namespace nexus::agent {

struct Agent::Impl {
  static constexpr std::size_t kRingCapacity =
      1U << 16;  // samples a producer may be ahead of the ingest thread

  Impl(Clock& the_clock, config::LoadOptions the_options, Checked checked, DirectoryLock the_lock)
      : clock(the_clock),
        options(std::move(the_options)),
        lock(std::move(the_lock)),
        started_with(checked.config),
        data_dir(started_with->agent.data_dir),
        config(checked.config),
        rule_set(checked.rules),
        remedy_set(checked.remedies),
        routing(checked.routing),
        roots{config->collect.procfs, config->collect.sysfs, config->collect.rootfs},
        registry(config->collect.max_series),
        rings(kRingCapacity),
        history(registry, {config->history.retention, config->history.memory}),
        importer(clock, registry, history, rings, self),
        systemd(clock),
        privileged(clock),
        started(clock.wall()),
        started_steady(clock.steady()) {
    configuration_watch.applied(checked);
  }

  Status open();
  Status open_history();
  Result<std::shared_ptr<monitor::Scheduler>> make_collectors(const config::Config& configuration);
  void replace_collectors(std::shared_ptr<monitor::Scheduler> fresh);
  void configure();
  void configure_sources();
  /// Tells people what a remedy has to say: a finding that ends by itself.
  Status tell(const execute::Notice& notice);
  static void configure_log(const config::AgentSection& section);
  Status start();
  void stop();
  Status reload();
  /// A reload that a signal asked for is audited as one over HTTP is.
  Status reload_by_signal();
  Status apply(Checked checked);
  void watch_services();
  void watch_containers();
  void save_services();
  SteadyTime analyze_turn();
  /// Has the collectors look more closely that a firing finding concerns.
  void look_closer(const analyze::VitalsSnapshot& vitals, double cpu_budget_percent);
  SteadyTime plan_turn();
  // message_facts.cpp
  publish::Surroundings message_facts();
  [[nodiscard]] std::vector<publish::Deed> deeds_about(const analyze::Finding& finding) const;
  [[nodiscard]] std::string picture_of(const publish::Alert& alert) const;
  [[nodiscard]] bool deploys(const plan::Action& action) const;
  void note_start(const plan::Action& action);
  void note_action(const plan::Action& action);
  void note_beside_finding(const plan::Action& action);
  void tell_of_life();
  Status write_addresses();
  /// Addresses of the server that could not be had: tells of them, and of their end.
  void look_at_listeners();
  serve::Rooms rooms();
  [[nodiscard]] bool ready() const;
  [[nodiscard]] bool healthy(std::string& why) const;
  [[nodiscard]] std::vector<std::string> needs_restart() const;
  [[nodiscard]] std::vector<std::string> watched_units() const;
  [[nodiscard]] DriftQuestions drift_questions();
  std::vector<serve::Component> components() const;
  [[nodiscard]] serve::Component sources_component() const;
  [[nodiscard]] serve::Component notifications_component() const;

  [[nodiscard]] std::shared_ptr<const config::Config> current() const {
    const std::lock_guard guard(config_mutex);
    return config;
  }

  [[nodiscard]] std::shared_ptr<monitor::Scheduler> collectors() const {
    const std::lock_guard guard(scheduler_mutex);
    return scheduler;
  }

  Clock& clock;
  const config::LoadOptions options;
  DirectoryLock lock;

  // What holds until the process ends, whatever is reloaded: see config::needs_restart().
  const std::shared_ptr<const config::Config> started_with;
  const std::string data_dir;

  mutable std::mutex config_mutex;
  std::shared_ptr<const config::Config> config;  // guarded by config_mutex once running
  std::shared_ptr<const analyze::RuleSet> rule_set;
  std::shared_ptr<const plan::RemedySet> remedy_set;
  std::shared_ptr<const publish::Routing> routing;
  std::mutex reload_mutex;

  const host::Roots roots;
  knowledge::SelfMetrics self;
  knowledge::SeriesRegistry registry;
  knowledge::Rings rings;
  knowledge::History history;
  const knowledge::WithModels queryable{history, analyze::standard_models()};  // what rules ask
  knowledge::Importer importer;
  std::optional<knowledge::Ingest> ingest;  // once the history has taken in what is on disk
  drivers::Systemd systemd;
  drivers::UnitPrivileged privileged;
  monitor::Observed observed;
  const std::shared_ptr<HostSurroundings> surroundings =
      std::make_shared<HostSurroundings>(clock, systemd, observed);
  const Witness witness{clock, roots, observed, queryable, [this] {
                          const auto now = current();
                          return drivers::engine_socket(now->connections.docker,
                                                        now->collect.rootfs);
                        }};
  std::unique_ptr<knowledge::StateDb> db;
  // Its own: a flood of notifications is not to delay the journal of actions.
  std::unique_ptr<knowledge::StateDb> notifications_db;
  std::optional<Life> life;
  std::unique_ptr<Connectivity> connectivity;
  std::unique_ptr<knowledge::Audit> audit;
  std::unique_ptr<analyze::Book> book;
  std::unique_ptr<analyze::Rules> rules;
  std::unique_ptr<analyze::Forecaster> forecaster;
  std::unique_ptr<analyze::AnomalyDetector> anomalies;
  std::unique_ptr<analyze::Services> services;
  std::unique_ptr<analyze::ChangeWatch> changes;
  std::unique_ptr<execute::Journal> journal;
  std::unique_ptr<execute::Executor> executor;
  std::unique_ptr<plan::Planner> planner;
  std::unique_ptr<publish::Publisher> publisher;
  ConfigurationWatch configuration_watch{options};
  std::unique_ptr<analyze::Incidents> incidents;
  std::unique_ptr<Drift> drift;
  std::unique_ptr<Tunings> tunings;
  mutable std::mutex scheduler_mutex;
  std::shared_ptr<monitor::Scheduler>
      scheduler;  // guarded by scheduler_mutex: a reload replaces it
  std::unique_ptr<monitor::Sources> sources;
  std::unique_ptr<serve::Server> server;
  mutable std::mutex watcher_mutex;
  std::unique_ptr<drivers::UnitWatcher> watcher;
  std::shared_ptr<ContainerWatcher> containers;
  std::unique_ptr<base::LoopThread> analyze_loop;
  std::unique_ptr<base::LoopThread> plan_loop;
  std::vector<std::string> listeners_missing;  // plan loop only: as it was told

  bool told_of_life = false;  // the plan thread's
  SteadyTime next_vitals{};
  SteadyTime next_alerts{};
  SteadyTime next_forecast{};
  SteadyTime next_anomaly{};
  std::atomic<bool> vitals_stand{false};
  std::atomic<bool> stopping{false};
  std::atomic<bool> loops_run{false};  // the loops below are made: healthy() may look at them
  Budget budget{self};                 // the analyze thread's
  Incident incident{self};             // the analyze thread's
  bool hurries = false;                // the analyze thread's: some collectors run more often
  bool running = false;
  std::atomic<std::size_t> abandoned{0};  // threads that hung and were left behind
  const WallTime started;
  const SteadyTime started_steady;
};

}  // namespace nexus::agent
