#include "nexus/agent/agent.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <mutex>

#include "agent/check.hpp"
#include "nexus/analyze/anomaly.hpp"
#include "nexus/analyze/forecast.hpp"
#include "nexus/analyze/services.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/loop_thread.hpp"
#include "nexus/base/version.hpp"
#include "nexus/drivers/systemd.hpp"
#include "nexus/execute/executor.hpp"
#include "nexus/host/file.hpp"
#include "nexus/knowledge/audit.hpp"
#include "nexus/knowledge/history.hpp"
#include "nexus/knowledge/ingest.hpp"
#include "nexus/monitor/scheduler.hpp"
#include "nexus/serve/routes.hpp"
#include "nexus/serve/server.hpp"

namespace nexus::agent {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kRingCapacity =
    1U << 16;                         // samples a producer may be ahead of the ingest thread
constexpr Millis kActionGrace = 10s;  // running steps at stop
constexpr Millis kHttpGrace = 5s;     // running requests at stop
constexpr Nanos kLoopPatience = 60s;  // a loop silent for longer is dead

/// Held for the life of the agent: two agents on one data directory would undo each other.
class DirectoryLock {
 public:
  static Result<DirectoryLock> take(const std::string& directory) {
    std::error_code ec;
    const bool made = std::filesystem::create_directories(directory, ec);
    if (ec) return std::unexpected(Error(ec, "create " + directory));
    if (made)
      ::chmod(directory.c_str(), 0750);  // one that was there keeps its administrator's mode
    const std::string path = directory + "/lock";
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return std::unexpected(Error::from_errno("open " + path));
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      ::close(fd);
      return fail(Errc::kConflict, "{}: another nexus-agent uses this data directory", directory);
    }
    return DirectoryLock(fd);
  }
  explicit DirectoryLock(int fd) : fd_(fd) {}
  DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  DirectoryLock& operator=(DirectoryLock&&) = delete;
  ~DirectoryLock() {
    if (fd_ >= 0) ::close(fd_);
  }

 private:
  int fd_;
};

knowledge::ServiceEvent to_event(const drivers::UnitEvent& event) {
  knowledge::ServiceEvent out;
  out.service = event.status.name;
  out.kind = "systemd";
  out.state = event.status.active_state;
  out.detail = event.status.sub_state + "/" + event.status.result;
  out.instance = event.status.invocation_id;
  out.pid = event.status.main_pid;
  out.job = !event.status.start_job.empty();
  out.restarts_itself = !event.status.restart.empty() && event.status.restart != "no";
  out.time = event.status.state_change;
  out.received = event.received;
  return out;
}

}  // namespace

struct Agent::Impl {
  Impl(Clock& the_clock, config::LoadOptions the_options, Checked checked, DirectoryLock the_lock)
      : clock(the_clock),
        options(std::move(the_options)),
        lock(std::move(the_lock)),
        config(checked.config),
        rule_set(checked.rules),
        remedy_set(checked.remedies),
        roots{config->collect.procfs, config->collect.sysfs, config->collect.rootfs},
        registry(config->collect.max_series),
        rings(kRingCapacity),
        history(registry, {config->history.retention, config->history.memory}),
        ingest(clock, rings, history, self),
        systemd(clock),
        started(clock.wall()),
        started_steady(clock.steady()) {}

  Status open();
  Result<std::shared_ptr<monitor::Scheduler>> make_collectors(
      const config::CollectSection& section);
  void replace_collectors(std::shared_ptr<monitor::Scheduler> fresh);
  void configure();
  Status start();
  void stop();
  Status reload();
  Status apply(Checked checked);
  void watch_services();
  void loops();
  SteadyTime analyze_turn();
  void weigh(const analyze::VitalsSnapshot& vitals);
  SteadyTime plan_turn();
  Status write_addresses();
  serve::Rooms rooms();
  std::vector<serve::Component> components() const;

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

  mutable std::mutex config_mutex;
  std::shared_ptr<const config::Config> config;  // guarded by config_mutex once running
  std::shared_ptr<const analyze::RuleSet> rule_set;
  std::shared_ptr<const plan::RemedySet> remedy_set;
  std::mutex reload_mutex;

  const host::Roots roots;
  knowledge::SelfMetrics self;
  knowledge::SeriesRegistry registry;
  knowledge::Rings rings;
  knowledge::History history;
  knowledge::Ingest ingest;
  drivers::Systemd systemd;
  std::unique_ptr<knowledge::StateDb> db;
  std::unique_ptr<knowledge::Audit> audit;
  std::unique_ptr<analyze::Book> book;
  std::unique_ptr<analyze::Rules> rules;
  std::unique_ptr<analyze::Forecaster> forecaster;
  std::unique_ptr<analyze::AnomalyDetector> anomalies;
  std::unique_ptr<analyze::Services> services;
  std::unique_ptr<execute::Journal> journal;
  std::unique_ptr<execute::Executor> executor;
  std::unique_ptr<plan::Planner> planner;
  mutable std::mutex scheduler_mutex;
  std::shared_ptr<monitor::Scheduler>
      scheduler;  // guarded by scheduler_mutex: a reload replaces it
  std::unique_ptr<serve::Server> server;
  mutable std::mutex watcher_mutex;
  std::unique_ptr<drivers::UnitWatcher> watcher;
  std::unique_ptr<base::LoopThread> analyze_loop;
  std::unique_ptr<base::LoopThread> plan_loop;

  SteadyTime next_vitals{};
  SteadyTime next_alerts{};
  SteadyTime next_forecast{};
  SteadyTime next_anomaly{};
  std::atomic<bool> vitals_stand{false};
  std::atomic<bool> stopping{false};
  int shedding = 0;  // stages of analysis left out; the analyze thread's
  bool running = false;
  std::atomic<std::size_t> abandoned{0};  // collector threads that hung and were left behind
  const WallTime started;
  const SteadyTime started_steady;
};

Status Agent::Impl::open() {
  auto opened = knowledge::StateDb::open(config->agent.data_dir + "/state.db");
  if (!opened) return propagate(std::move(opened), "state database");
  db = std::move(*opened);
  if (db->quarantined())
    log::error("agent", "the state database was damaged; it is kept as {}", *db->quarantined());
  auto made_audit = knowledge::Audit::open(*db, clock);
  if (!made_audit) return propagate(std::move(made_audit), "audit log");
  audit = std::move(*made_audit);
  auto made_book = analyze::Book::open(clock, *db, self);
  if (!made_book) return propagate(std::move(made_book), "book of findings");
  book = std::move(*made_book);
  rules = std::make_unique<analyze::Rules>(clock, history, registry, rings.add(), *book, self);
  forecaster = std::make_unique<analyze::Forecaster>(clock, history, *book, self);
  anomalies = std::make_unique<analyze::AnomalyDetector>(clock, history, *book, self);
  services = std::make_unique<analyze::Services>(*book);
  auto made_journal = execute::Journal::open(clock, *db);
  if (!made_journal) return propagate(std::move(made_journal), "journal");
  journal = std::move(*made_journal);
  executor = std::make_unique<execute::Executor>(clock, *journal, history, self, &systemd);
  auto made_planner =
      plan::Planner::open(clock, *db, self, *book, *executor, config->agent.data_dir + "/stop");
  if (!made_planner) return propagate(std::move(made_planner), "planner");
  planner = std::move(*made_planner);
  auto made_collectors = make_collectors(config->collect);
  if (!made_collectors) return propagate(std::move(made_collectors));
  scheduler = std::move(*made_collectors);
  return {};
}

Result<std::shared_ptr<monitor::Scheduler>> Agent::Impl::make_collectors(
    const config::CollectSection& section) {
  const monitor::SchedulerContext context{roots, clock, registry, rings, self, &systemd};
  auto made = monitor::Scheduler::make(context, section);
  if (!made) return propagate(std::move(made), "collectors");
  return std::shared_ptr<monitor::Scheduler>(std::move(*made));
}

void Agent::Impl::replace_collectors(std::shared_ptr<monitor::Scheduler> fresh) {
  auto old = fresh;
  {
    const std::lock_guard guard(scheduler_mutex);
    old.swap(scheduler);
  }
  old->stop();
  abandoned += old->abandoned();
  fresh->start();
}

void Agent::Impl::configure() {
  rules->set(rule_set);
  forecaster->configure(config->forecast);
  anomalies->configure(config->anomaly);
  planner->configure(config, remedy_set);
  executor->configure(config);
  history.set_limits({config->history.retention, config->history.memory});
  const auto level = log::parse_level(config->agent.log_level);
  const auto format = log::parse_format(config->agent.log_format);
  if (level && format) log::configure(*level, *format);
}

serve::Rooms Agent::Impl::rooms() {
  return serve::Rooms{
      .clock = clock,
      .info = {std::string(base::version()), started, started_steady},
      .registry = registry,
      .history = history,
      .audit = *audit,
      .collectors = [this] { return collectors()->status(); },
      .book = *book,
      .rules = *rules,
      .forecaster = *forecaster,
      .anomalies = *anomalies,
      .services = *services,
      .planner = *planner,
      .executor = *executor,
      .journal = *journal,
      .systemd = systemd,
      .config = [this] { return current(); },
      .reload = [this] { return reload(); },
      .ready =
          [this] { return vitals_stand.load() && collectors()->warmed_up() && !stopping.load(); },
      .components = [this] { return components(); }};
}

std::vector<serve::Component> Agent::Impl::components() const {
  std::vector<serve::Component> out;
  std::size_t failing = 0;
  for (const auto& status : collectors()->status())
    failing += status.outcome == "failed" || status.outcome == "stuck" ? 1 : 0;
  out.push_back(
      {"collectors", failing == 0 ? "healthy" : "degraded",
       failing == 0 ? "" : fmt::format("{} collectors fail; see /health/components", failing)});
  const auto stats = history.stats();
  out.push_back(
      {"history", "healthy",
       fmt::format("{} series, {} samples, {} bytes", stats.series, stats.samples, stats.bytes)});
  const std::lock_guard guard(watcher_mutex);
  if (watcher) {
    const bool connected = watcher->connected();
    out.push_back({"systemd", connected ? "healthy" : "failed",
                   connected ? "" : "no connection to the D-Bus of systemd"});
  }
  out.push_back({"operations", planner->running() ? "healthy" : "degraded",
                 planner->running() ? "" : "stopped by the kill switch"});
  return out;
}

void Agent::Impl::watch_services() {
  std::vector<std::string> units;
  for (const auto& service : config->services) {
    if (service.kind == "systemd") units.push_back(service.name);
  }
  services->set_watched(units);
  std::unique_ptr<drivers::UnitWatcher> fresh;
  {
    const std::lock_guard guard(watcher_mutex);
    fresh.swap(watcher);  // the old one ends outside the lock
  }
  fresh.reset();
  if (units.empty()) return;
  fresh = std::make_unique<drivers::UnitWatcher>(
      clock, units,
      [this](const drivers::UnitEvent& event) { services->on_event(to_event(event)); });
  const std::lock_guard guard(watcher_mutex);
  watcher = std::move(fresh);
}

/// Holds the agent's own use against [agent] cpu_budget_percent and memory_budget. Over budget it
/// sheds anomaly scoring, from twice the budget forecasts as well; findings and actions are never
/// shed.
void Agent::Impl::weigh(const analyze::VitalsSnapshot& vitals) {
  const auto configuration = current();
  double load = 0;
  for (const auto& value : vitals.values) {
    const auto& name = (*vitals.definitions)[value.vital].name;
    if (name == "agent_cpu_percent") {
      load = std::max(load, value.value / configuration->agent.cpu_budget_percent);
    } else if (name == "agent_resident_memory_bytes") {
      load = std::max(load, value.value / static_cast<double>(configuration->agent.memory_budget));
    }
  }
  const int sheds = load > 2 ? 2 : (load > 1 ? 1 : 0);
  if (sheds != shedding) {
    log::warning("agent", "at {:.1f} times its own budget: {}", load,
                 sheds == 2   ? "no anomalies and no forecasts for now"
                 : sheds == 1 ? "no anomalies for now"
                              : "everything runs again");
  }
  shedding = sheds;
  self.gauge("nexus_shed_stages",
             "Stages of analysis not run because the agent is over its budget.")
      .set(sheds);
}

SteadyTime Agent::Impl::analyze_turn() {
  const auto now = clock.steady();
  const auto configuration = current();
  const auto due = [&](SteadyTime& next, Millis interval) {
    if (now < next) return false;
    // Aligned to the interval; a late turn skips what it missed instead of catching up in a burst.
    next = next + interval > now ? next + interval : now + interval;
    return true;
  };
  if (due(next_vitals, configuration->collect.interval)) {
    rules->tick_vitals();
    // Ready is when there is something to show, not only something collected.
    const auto vitals = rules->vitals();
    const bool shown = vitals && (vitals->definitions->empty() || !vitals->values.empty());
    if (collectors()->warmed_up() && shown) vitals_stand = true;
  }
  if (due(next_alerts, configuration->operations.check_interval)) rules->tick_alerts();
  const auto vitals = rules->vitals();
  if (vitals) weigh(*vitals);
  if (vitals && shedding < 2 && due(next_forecast, configuration->forecast.interval))
    forecaster->tick(*vitals);
  if (vitals && shedding < 1 && due(next_anomaly, configuration->anomaly.interval))
    anomalies->tick(*vitals);
  return std::min(next_vitals, next_alerts);
}

SteadyTime Agent::Impl::plan_turn() {
  book->tick();
  planner->tick();
  executor->tick();
  return clock.steady() + current()->operations.check_interval;
}

Status Agent::Impl::start() {
  const std::lock_guard guard(reload_mutex);  // a reload over HTTP waits until all stands
  // What has just happened is told before anything new may happen.
  executor->on_finished([this](const plan::Action& action) { planner->on_finished(action); });
  executor->set_permission([this] {
    return planner->running() && current()->operations.mode != config::Mode::kObserve;
  });
  configure();
  if (auto recovered = executor->recover(); !recovered)
    return propagate(std::move(recovered), "recover unfinished actions");
  if (auto recovered = planner->recover(); !recovered)
    return propagate(std::move(recovered), "correct the decisions of lost actions");
  book->subscribe([this](const analyze::Finding& finding) { planner->on_finding(finding); });
  auto made = serve::Server::make(
      clock, config->http, std::make_shared<const serve::Authenticator>(config->auth),
      std::make_shared<const serve::Router>(serve::all_routes(rooms())), self);
  if (!made) return propagate(std::move(made), "http");
  server = std::move(*made);
  running = true;
  collectors()->start();
  executor->start();
  server->start();
  analyze_loop =
      std::make_unique<base::LoopThread>(clock, "analyze", [this] { return analyze_turn(); });
  plan_loop = std::make_unique<base::LoopThread>(clock, "plan", [this] { return plan_turn(); });
  watch_services();
  return write_addresses();
}

/// data_dir/addresses: where it listens, a line each, for scripts; there while it runs.
Status Agent::Impl::write_addresses() {
  std::string text;
  for (const auto& address : server->addresses()) text += address + "\n";
  return host::write_file_atomically(config->agent.data_dir + "/addresses", text, 0640);
}

void Agent::Impl::stop() {
  if (!running) return;
  running = false;
  stopping = true;
  ::unlink((config->agent.data_dir + "/addresses").c_str());
  if (server) server->stop(kHttpGrace);
  {
    std::unique_ptr<drivers::UnitWatcher> last;
    {
      const std::lock_guard guard(watcher_mutex);
      last.swap(watcher);
    }
  }
  if (plan_loop) plan_loop->stop();
  if (executor) executor->stop(kActionGrace);
  if (analyze_loop) analyze_loop->stop();
  if (scheduler) {
    collectors()->stop();
    abandoned += collectors()->abandoned();
  }
  ingest.stop();
  if (book) book->tick();
}

Status Agent::Impl::reload() {
  const std::lock_guard guard(reload_mutex);
  auto checked = check(options);
  auto successful = self.gauge("nexus_config_last_reload_successful",
                               "Whether the last reload of the configuration was accepted.");
  if (!checked.problems.empty()) {
    successful.set(0);
    self.counter("nexus_config_reloads_total", "Reloads of the configuration by result.",
                 {{"result", "refused"}})
        .add();
    return fail(Errc::kInvalidArgument, "{}", describe(checked.problems));
  }
  auto applied = apply(std::move(checked));
  successful.set(applied ? 1 : 0);
  self.counter("nexus_config_reloads_total", "Reloads of the configuration by result.",
               {{"result", applied ? "applied" : "refused"}})
      .add();
  if (applied) {
    self.gauge("nexus_config_last_reload_success_timestamp_seconds",
               "When a configuration was last applied.")
        .set(static_cast<double>(base::to_unix_millis(clock.wall())) / 1000.0);
  }
  return applied;
}

Status Agent::Impl::apply(Checked checked) {
  const auto before = current();
  const auto& after = *checked.config;
  for (const auto& reason : config::needs_restart(*before, after))
    log::warning("agent", "reload: {}", reason);
  // Everything that can fail comes first: a reload that is refused has changed nothing.
  std::shared_ptr<monitor::Scheduler> fresh;
  if (before->collect != after.collect) {
    auto made = make_collectors(after.collect);
    if (!made) return propagate(std::move(made));
    fresh = std::move(*made);
  }
  {
    const std::lock_guard guard(config_mutex);
    config = checked.config;
  }
  rule_set = checked.rules;
  remedy_set = checked.remedies;
  configure();
  if (fresh) replace_collectors(std::move(fresh));
  server->set(std::make_shared<const serve::Authenticator>(after.auth), after.http);
  if (before->services != after.services) watch_services();
  std::string changed;
  for (const auto& section : config::changed_sections(*before, after))
    changed += (changed.empty() ? "" : ", ") + section;
  log::info("agent", "configuration reloaded; changed: {}", changed.empty() ? "nothing" : changed);
  return {};
}

Agent::Agent(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Agent::~Agent() {
  stop();
}

Result<std::unique_ptr<Agent>> Agent::make(Clock& clock, config::LoadOptions options) {
  auto checked = check(options);
  if (!checked.problems.empty())
    return fail(Errc::kInvalidArgument, "{}", describe(checked.problems));
  auto lock = DirectoryLock::take(checked.config->agent.data_dir);
  if (!lock) return propagate(std::move(lock), "data directory");
  auto impl =
      std::make_unique<Impl>(clock, std::move(options), std::move(checked), std::move(*lock));
  if (auto opened = impl->open(); !opened) return std::unexpected(opened.error());
  return std::unique_ptr<Agent>(new Agent(std::move(impl)));
}

Status Agent::start() {
  return impl_->start();
}
void Agent::stop() {
  impl_->stop();
}
Status Agent::reload() {
  return impl_->reload();
}
bool Agent::ready() const {
  return impl_->vitals_stand && impl_->collectors()->warmed_up() && !impl_->stopping;
}

bool Agent::healthy(std::string& why) const {
  const auto now = impl_->clock.steady();
  const auto check_loop = [&](std::string_view name, SteadyTime last) {
    if (now - last < kLoopPatience) return true;
    why = fmt::format("the {} loop made no turn for {} s", name,
                      std::chrono::duration_cast<std::chrono::seconds>(now - last).count());
    return false;
  };
  return (!impl_->analyze_loop || check_loop("analyze", impl_->analyze_loop->last_turn())) &&
         (!impl_->plan_loop || check_loop("plan", impl_->plan_loop->last_turn())) &&
         (!impl_->server || check_loop("serve", impl_->server->last_turn()));
}

bool Agent::left_threads_behind() const {
  return impl_->abandoned > 0;
}

std::vector<std::string> Agent::addresses() const {
  return impl_->server ? impl_->server->addresses() : std::vector<std::string>();
}
std::string Agent::data_dir() const {
  return impl_->current()->agent.data_dir;
}

}  // namespace nexus::agent
