// The rooms made, joined and shown to each other.
#include <algorithm>
#include <array>
#include <iterator>

#include "agent/agent_impl.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "nexus/base/version.hpp"
#include "nexus/config/config.hpp"
#include "nexus/config/service_name.hpp"
#include "nexus/host/file.hpp"

namespace nexus::agent {
namespace {

knowledge::ServiceEvent to_event(const drivers::UnitEvent& event) {
  knowledge::ServiceEvent out;
  out.service = event.watched;
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

std::string host_name(const host::Roots& roots) {
  auto text = host::read_file(roots.proc("sys/kernel/hostname")).value_or("localhost");
  text.erase(text.find_last_not_of(" \n") + 1);
  return text;
}

/// Empty where there is none: then only names tell machines apart.
std::string machine_id(const host::Roots& roots) {
  return std::string(base::trim(host::read_file(roots.root("etc/machine-id")).value_or("")));
}

std::string boot_id(const host::Roots& roots) {
  auto text = host::read_file(roots.proc("sys/kernel/random/boot_id")).value_or("");
  text.erase(text.find_last_not_of(" \n") + 1);
  return text;
}

/// What the agent is connected to has a collector of that name, which tells how that is.
// Until then rules and services were looked at for the first time: what is found has not begun now.
constexpr Millis kFoundAtStart{60'000};
constexpr std::array kConnected = {"postgres", "redis", "docker", "kubernetes"};

serve::Component connection(std::string_view name,
                            const std::vector<monitor::CollectorStatus>& statuses) {
  const auto status = std::ranges::find(statuses, name, &monitor::CollectorStatus::name);
  if (status == statuses.end())
    return {std::string(name), "not_configured", "its collector is switched off"};
  std::string message = status->error;
  if (!status->note.empty()) message += (message.empty() ? "" : "; ") + status->note;
  if (status->outcome == "ok")
    return {std::string(name), "healthy",
            fmt::format("answered at {}", base::to_rfc3339(status->last_success))};
  if (status->outcome == "no_data") return {std::string(name), "not_configured", message};
  if (status->outcome == "pending") return {std::string(name), "unknown", "not looked at yet"};
  // Where one of several answers is missing there are samples besides "up".
  return {std::string(name), status->samples > 1 ? "degraded" : "failed", message};
}

}  // namespace

Status Agent::Impl::open() {
  auto opened = knowledge::StateDb::open(data_dir + "/state.db");
  if (!opened) return propagate(std::move(opened), "state database");
  db = std::move(*opened);
  if (db->quarantined())
    log::error("agent", "the state database was damaged; it is kept as {}", *db->quarantined());
  auto begun = Life::begin(clock, *db, roots);
  if (!begun) return propagate(std::move(begun), "the agent's own life");
  life = *std::move(begun);
  connectivity = std::make_unique<Connectivity>(clock, *db, roots, data_dir);
  auto made_audit = knowledge::Audit::open(*db, clock);
  if (!made_audit) return propagate(std::move(made_audit), "audit log");
  audit = std::move(*made_audit);
  if (auto opened_history = open_history(); !opened_history) return opened_history;
  auto made_book = analyze::Book::open(clock, *db, self);
  if (!made_book) return propagate(std::move(made_book), "book of findings");
  book = std::move(*made_book);
  rules = std::make_unique<analyze::Rules>(clock, queryable, registry, rings.add(), *book, self);
  forecaster = std::make_unique<analyze::Forecaster>(clock, history, *book, self);
  if (auto kept = forecaster->keep(*db); !kept) return propagate(std::move(kept), "forecasts");
  anomalies = std::make_unique<analyze::AnomalyDetector>(clock, history, *book, self, db.get());
  auto made_services = analyze::Services::open(*book, *db);
  if (!made_services) return propagate(std::move(made_services), "watched services");
  services = std::move(*made_services);
  auto made_changes = analyze::ChangeWatch::open(clock, history, *book, *db, roots);
  if (!made_changes) return propagate(std::move(made_changes), "changes of the host");
  changes = std::move(*made_changes);
  book->note({clock.wall(), "agent", "nexus-agent",
              fmt::format("nexus-agent {} was started", base::version())});
  auto made_journal = execute::Journal::open(clock, *db);
  if (!made_journal) return propagate(std::move(made_journal), "journal");
  journal = std::move(*made_journal);
  executor =
      std::make_unique<execute::Executor>(clock, *journal, queryable, self, &systemd, privileged);
  auto made_planner = plan::Planner::open(clock, *db, self, *book, *executor, data_dir + "/stop", 0,
                                          boot_id(roots));
  if (!made_planner) return propagate(std::move(made_planner), "planner");
  planner = std::move(*made_planner);
  // What people had stopped, which breakers were open and what was tried is gone: it is for them to
  // say that acting may go on.
  if (db->quarantined()) {
    if (auto ok = planner->set_running(false, "the agent (its state database was damaged)"); !ok)
      return propagate(std::move(ok), "planner");
  }
  auto notes = knowledge::StateDb::open(data_dir + "/notifications.db");
  if (!notes) return propagate(std::move(notes), "database of notifications");
  notifications_db = std::move(*notes);
  if (notifications_db->quarantined())
    log::error("agent", "the database of notifications was damaged; it is kept as {}",
               *notifications_db->quarantined());
  auto made_publisher = publish::Publisher::open(clock, *notifications_db, self, *book,
                                                 {host_name(roots), machine_id(roots)}, db.get());
  if (!made_publisher) return propagate(std::move(made_publisher), "notifications");
  publisher = std::move(*made_publisher);
  publisher->set_surroundings(message_facts());
  incidents = std::make_unique<analyze::Incidents>(*book, clock.wall() + kFoundAtStart);
  drift = std::make_unique<Drift>(clock, *book, roots, drift_questions());
  tunings = std::make_unique<Tunings>(clock, *book, *journal, *executor);
  auto made_collectors = make_collectors(*current());
  if (!made_collectors) return propagate(std::move(made_collectors));
  scheduler = std::move(*made_collectors);
  sources = std::make_unique<monitor::Sources>(
      monitor::SourcesContext{clock, registry, history, rings, self, db.get()});
  return {};
}

Status Agent::Impl::open_history() {
  const config::HistorySection& section = config->history;
  if (section.disk > 0) {
    knowledge::HistoryDisk disk{.directory = config->agent.data_dir + "/history",
                                .bytes = section.disk,
                                .retention = section.retention,
                                .checkpoint = section.checkpoint,
                                .tiers = {},
                                .key_file = section.key_file};
    for (const auto& tier : section.tiers) disk.tiers.push_back({tier.step, tier.retention});
    if (auto opened = history.open_disk(clock, std::move(disk)); !opened) return opened;
  }
  ingest.emplace(clock, rings, history, self);
  importer.on_written([this] { ingest->flush(); });
  return {};
}

Result<std::shared_ptr<monitor::Scheduler>> Agent::Impl::make_collectors(
    const config::Config& configuration) {
  const monitor::SchedulerContext context{.roots = roots,
                                          .clock = clock,
                                          .registry = registry,
                                          .rings = rings,
                                          .self = self,
                                          .systemd = &systemd,
                                          .observed = &observed,
                                          .connections = &configuration.connections};
  auto made = monitor::Scheduler::make(context, configuration.collect);
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
  fresh->inherit(*old);
  fresh->start();
}

Status Agent::Impl::tell(const execute::Notice& notice) {
  constexpr Millis kStands{15 * 60'000};
  analyze::Observation seen;
  seen.kind = analyze::FindingKind::kAgent;
  seen.name = notice.name;
  seen.severity = notice.severity;
  seen.subject = notice.subject;
  for (const auto& [name, value] : notice.labels) {
    if (!value.empty()) seen.labels.emplace(name, value);
  }
  seen.annotations = {{"summary", notice.text}};
  seen.evidence.source = "notify";
  seen.evidence.text = notice.text;
  seen.keep_firing_for = kStands;
  seen.received = clock.steady();
  constexpr std::string_view kSource = "notify";
  book->report(kSource, seen);
  const auto print = analyze::fingerprint(seen.kind, seen.name, seen.labels);
  if (!book->find(print))
    return fail(Errc::kExhausted, "the book of findings is full, people cannot be told");
  book->clear(kSource, print);  // seen once; it stands for kStands
  return {};
}

void Agent::Impl::configure() {
  rules->set(rule_set);
  const auto configuration = current();
  forecaster->configure(configuration->forecast);
  anomalies->configure(configuration->anomaly);
  planner->configure(configuration, remedy_set);
  privileged.list_commands(execute::listed_commands(*configuration));
  executor->configure(configuration);
  publisher->configure(configuration, routing);
  history.set_limits({configuration->history.retention, configuration->history.memory},
                     configuration->history.disk);
  configure_log(configuration->agent);
}

/// What cannot be bound is said, and everything else goes on.
void Agent::Impl::configure_sources() {
  const auto configuration = current();
  const auto applied = sources->configure(configuration->sources, configuration->history.retention);
  if (!applied) log::error("agent", "{}", applied.error().message());
}

void Agent::Impl::configure_log(const config::AgentSection& section) {
  const auto level = log::parse_level(section.log_level);
  const auto format = log::parse_format(section.log_format);
  if (level && format) log::configure(*level, *format);
}

serve::Rooms Agent::Impl::rooms() {
  return serve::Rooms{.clock = clock,
                      .info = {std::string(base::version()), started, started_steady},
                      .registry = registry,
                      .history = history,
                      .importer = importer,
                      .audit = *audit,
                      .collectors = [this] { return collectors()->status(); },
                      .sources = *sources,
                      .book = *book,
                      .rules = *rules,
                      .forecaster = *forecaster,
                      .anomalies = *anomalies,
                      .services = *services,
                      .planner = *planner,
                      .executor = *executor,
                      .journal = *journal,
                      .systemd = systemd,
                      .observed = observed,
                      .self = self,
                      .config = [this] { return current(); },
                      .reload = [this] { return reload(); },
                      .needs_restart = [this] { return needs_restart(); },
                      .ready = [this] { return ready(); },
                      .healthy = [this](std::string& why) { return healthy(why); },
                      .components = [this] { return components(); }};
}

/// A target that is down is the target's trouble; what is dropped or unreadable is told too.
serve::Component Agent::Impl::sources_component() const {
  const auto all = sources->status();
  if (all.empty()) return {"sources", "not_configured", "nothing is scraped, probed or followed"};
  std::size_t down = 0;
  std::uint64_t dropped = 0;
  for (const auto& source : all) {
    down += source.health == "down" ? 1 : 0;
    dropped += source.dropped;
  }
  return {
      "sources", down == 0 ? "healthy" : "degraded",
      fmt::format("{} sources, {} of them down, {} samples dropped", all.size(), down, dropped)};
}

/// A receiver that cannot be reached is told by the others, and here.
serve::Component Agent::Impl::notifications_component() const {
  std::string failing;
  std::size_t queued = 0;
  const auto receivers = publisher->receivers();
  for (const auto& receiver : receivers) {
    queued += receiver.queued;
    if (receiver.failures == 0) continue;
    failing += fmt::format("; {} failed {} times in a row: {}", receiver.name, receiver.failures,
                           receiver.last_error);
  }
  return {"notifications", failing.empty() ? "healthy" : "degraded",
          fmt::format("{} receivers, {} notifications wait{}", receivers.size(), queued, failing)};
}

std::vector<serve::Component> Agent::Impl::components() const {
  std::vector<serve::Component> out;
  std::size_t failing = 0;
  const auto statuses = collectors()->status();
  for (const auto& status : statuses)
    failing += status.outcome == "failed" || status.outcome == "stuck" ? 1 : 0;
  out.push_back(
      {"collectors", failing == 0 ? "healthy" : "degraded",
       failing == 0 ? "" : fmt::format("{} collectors fail; see /health/components", failing)});
  out.push_back(sources_component());
  out.push_back(notifications_component());
  const auto stats = history.stats();
  const bool persists = !stats.on_disk || stats.disk_writable;
  out.push_back({"history", persists ? "healthy" : "degraded",
                 fmt::format("{} series, {} samples, {} bytes in memory, {} bytes on disk{}",
                             stats.series, stats.samples, stats.bytes, stats.disk_bytes,
                             persists ? "" : "; the disk cannot be written")});
  std::ranges::move(connectivity->components(), std::back_inserter(out));
  for (const auto* name : kConnected) out.push_back(connection(name, statuses));
  {
    const std::lock_guard guard(watcher_mutex);
    const bool connected = watcher && watcher->connected();
    out.push_back({"systemd",
                   !watcher    ? "not_configured"
                   : connected ? "healthy"
                               : "failed",
                   !watcher    ? "no unit of systemd is watched"
                   : connected ? ""
                               : "no connection to the D-Bus of systemd"});
  }
  out.push_back({"operations", planner->running() ? "healthy" : "degraded",
                 planner->running() ? "" : "stopped by the kill switch"});
  return out;
}

DriftQuestions Agent::Impl::drift_questions() {
  return {.configuration = [this] { return configuration_watch.look(clock.steady()); },
          .needs_restart = [this] { return needs_restart(); },
          .watched_units = [this] { return watched_units(); },
          .stale_units =
              [this](std::span<const std::string> units) { return systemd.stale_units(units); },
          .kept = [this] { return executor->kept(); }};
}

std::vector<std::string> Agent::Impl::watched_units() const {
  std::vector<std::string> out;
  for (const auto& service : current()->services) {
    if (service.kind == config::kUnitKind) out.push_back(service.name);
  }
  return out;
}

void Agent::Impl::save_services() {
  if (auto saved = services->save(); !saved) log::error("agent", "{}", saved.error().message());
}

void Agent::Impl::watch_services() {
  std::vector<std::string> units;
  std::vector<std::string> all;
  const auto configuration = current();
  for (const auto& service : configuration->services) {
    if (service.kind == config::kUnitKind) units.push_back(service.name);
    all.push_back(service.name);
  }
  std::unique_ptr<drivers::UnitWatcher> fresh;
  {
    const std::lock_guard guard(watcher_mutex);
    fresh.swap(watcher);  // the old one ends outside the lock
  }
  fresh.reset();
  services->set_watched(all);  // nobody reports of the others any more
  if (units.empty()) return;
  fresh =
      std::make_unique<drivers::UnitWatcher>(clock, units, [this](const drivers::UnitEvent& event) {
        executor->learn_names(event.status.name, event.status.names);
        executor->learn_run(event.status.name, event.status.invocation_id);
        const auto told = to_event(event);
        changes->on_event(told);
        services->on_event(told);
        save_services();  // somebody's will, before anything else can happen
      });
  const std::lock_guard guard(watcher_mutex);
  watcher = std::move(fresh);
}

void Agent::Impl::watch_containers() {
  const auto configuration = current();
  std::shared_ptr<ContainerWatcher> last;
  {
    const std::lock_guard guard(watcher_mutex);
    last.swap(containers);
  }
  // It goes on to be asked until there is another; what that one has not looked at is held.
  if (last) last->stop();
  if (!ContainerWatcher::has_work(*configuration)) {
    surroundings->set_containers(nullptr);
    return;
  }
  auto fresh = std::make_shared<ContainerWatcher>(clock, *configuration,
                                                  [this](const knowledge::ServiceEvent& event) {
                                                    changes->on_event(event);
                                                    services->on_event(event);
                                                    save_services();
                                                  });
  surroundings->set_containers(fresh);
  const std::lock_guard guard(watcher_mutex);
  containers = std::move(fresh);
}

}  // namespace nexus::agent
