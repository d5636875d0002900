#include "nexus/agent/agent.hpp"

#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "agent/agent_impl.hpp"
#include "agent/shutdown.hpp"
#include "nexus/base/log.hpp"
#include "nexus/config/config.hpp"
#include "nexus/host/file.hpp"
#include "nexus/serve/notification_routes.hpp"

namespace nexus::agent {
namespace {

using namespace std::chrono_literals;

// The stop as a whole; TimeoutStopSec of the unit is well above it. What a stage does not use is
// the next one's.
constexpr Millis kStopLimit = 20s;
constexpr Millis kHttpGrace = 4s;       // running requests
constexpr Millis kHandlerGrace = 2s;    // and their handlers, to see that it stops
constexpr Millis kActionGrace = 10s;    // running steps
constexpr Millis kCommandEnd = 7s;      // SIGTERM, SIGKILL and the last of a command's processes
constexpr Millis kCollectorGrace = 2s;  // running collectors
constexpr Millis kFlush = 1s;           // samples and findings: never given to anybody else
constexpr Nanos kLoopPatience = 60s;    // a turn this long, or a loop this late, is dead

/// Whether something that was set may be another now.
bool may_set(const plan::Action& action) {
  const auto sets = [](std::string_view type) {
    const auto* descriptor = execute::find_action(type);
    return descriptor != nullptr && descriptor->sets_values;
  };
  return action.type == "undo_action" || sets(action.type) ||
         std::ranges::any_of(action.rungs, sets, &plan::Rung::type);
}

}  // namespace

Status Agent::Impl::start() {
  const std::lock_guard guard(reload_mutex);  // a reload over HTTP waits until all stands
  // What has just happened is told before anything new may happen.
  executor->on_started([this](const plan::Action& action) { note_start(action); });
  executor->on_finished([this](const plan::Action& action) {
    note_action(action);
    planner->on_finished(action);
    tunings->note(action);
    if (may_set(action)) drift->soon();
  });
  executor->set_permission([this](const plan::Action& action) { return planner->refusal(action); });
  executor->set_halted([this] { return !planner->running(); });
  executor->set_notifier([this](const execute::Notice& notice) { return tell(notice); });
  executor->set_witness([this](const plan::Action& action) { return witness.testify(action); });
  planner->set_surroundings(surroundings);
  configure();
  for (const auto& unused : config::unused_variables(options)) log::warning("agent", "{}", unused);
  if (auto recovered = executor->recover(); !recovered)
    return propagate(std::move(recovered), "recover unfinished actions");
  if (auto recovered = planner->recover(); !recovered)
    return propagate(std::move(recovered), "correct the decisions of lost actions");
  book->subscribe([this](const analyze::Finding& finding) { planner->on_finding(finding); });
  book->subscribe([this](const analyze::Finding& finding) { publisher->on_finding(finding); });
  if (life->unclean()) {
    log::warning("agent", "{}", *life->unclean());
    book->report("agent", {.kind = analyze::FindingKind::kAgent,
                           .name = "unclean_restart",
                           .severity = config::Severity::kInfo,
                           .subject = "nexus-agent",
                           .evidence = {.text = *life->unclean()}});
  }
  auto routes = serve::all_routes(rooms());
  std::ranges::move(serve::notification_routes(rooms(), *publisher), std::back_inserter(routes));
  auto made = serve::Server::make(clock, current()->http,
                                  std::make_shared<const serve::Authenticator>(current()->auth),
                                  std::make_shared<const serve::Router>(std::move(routes)), self);
  if (!made) return propagate(std::move(made), "http");
  server = std::move(*made);
  running = true;
  collectors()->start();
  configure_sources();
  executor->start();
  publisher->start();
  server->start();
  analyze_loop =
      std::make_unique<base::LoopThread>(clock, "analyze", [this] { return analyze_turn(); });
  plan_loop = std::make_unique<base::LoopThread>(clock, "plan", [this] { return plan_turn(); });
  drift->start();
  loops_run = true;
  watch_services();
  watch_containers();
  return write_addresses();
}

/// data_dir/addresses: where it listens, a line each, for scripts; there while it runs.
Status Agent::Impl::write_addresses() {
  std::string text;
  for (const auto& address : server->addresses()) text += address + "\n";
  return host::write_file_atomically(data_dir + "/addresses", text, 0640);
}

void Agent::Impl::stop() {
  if (!running) return;
  running = false;
  stopping = true;
  ::unlink((data_dir + "/addresses").c_str());
  Shutdown shutdown(clock, kStopLimit);
  constexpr Millis kLast = kCollectorGrace + kFlush;
  if (server && shutdown.run("the HTTP server", kCommandEnd + kLast,
                             [this] { server->stop(kHttpGrace, kHandlerGrace); }))
    abandoned += server->left_behind();
  shutdown.run("the watch over units", kCommandEnd + kLast, [this] {
    std::unique_ptr<drivers::UnitWatcher> last;
    const std::lock_guard guard(watcher_mutex);
    last.swap(watcher);
  });
  shutdown.run("the watch over containers", kCommandEnd + kLast, [this] {
    // It goes on to be asked: the plan loop runs.
    std::shared_ptr<ContainerWatcher> last;
    {
      const std::lock_guard guard(watcher_mutex);
      last = containers;
    }
    if (last) last->stop();
  });
  if (drift) shutdown.run("the look for drift", kCommandEnd + kLast, [this] { drift->stop(); });
  if (plan_loop) shutdown.run("the plan loop", kCommandEnd + kLast, [this] { plan_loop->stop(); });
  ::unlink((data_dir + "/addresses").c_str());  // a last turn may have written it again
  const auto action_grace = shutdown.grace(kActionGrace, kCommandEnd + kLast);
  if (executor)
    shutdown.run("an action", kLast, [this, action_grace] { executor->stop(action_grace); });
  if (analyze_loop)
    shutdown.run("the analyze loop", kLast, [this] {
      analyze_loop->stop();
      if (auto saved = anomalies->save(); !saved)
        log::error("agent", "anomaly models are not saved: {}", saved.error().message());
    });
  if (publisher) shutdown.run("notifications", kFlush, [this] { publisher->stop(); });
  if (forecaster && shutdown.left_behind() == 0) {  // else its thread may still be at work
    shutdown.run("what forecasts have learnt", kFlush, [this] {
      if (Status saved = forecaster->save(); !saved)
        log::error("agent", "what forecasts have learnt is lost: {}", saved.error().message());
    });
  }
  if (scheduler) {
    shutdown.run("the collectors", kFlush, [this] { collectors()->stop(); });
    abandoned += collectors()->abandoned();
  }
  if (sources) shutdown.run("scrapes, probes and logs", kFlush, [this] { sources->stop(); });
  if (ingest) ingest->stop();
  shutdown.run("the last write of the history", Millis(0), [this] {
    importer.finish();
    history.close_disk();
  });
  abandoned += shutdown.left_behind();
  if (book) book->tick();
  if (services) save_services();
  if (auto ended = life->end(clock); !ended) log::error("agent", "{}", ended.error().message());
}

Status Agent::Impl::reload() {
  const std::lock_guard guard(reload_mutex);
  if (stopping) return fail(Errc::kConflict, "the agent is stopping");
  auto checked = check(options);
  auto successful = self.gauge("nexus_config_last_reload_successful",
                               "Whether the last reload of the configuration was accepted.");
  if (!checked.problems.empty()) {
    successful.set(0);
    self.counter("nexus_config_reloads_total", "Reloads of the configuration by result.",
                 {{"result", "refused"}})
        .add();
    configuration_watch.refused(config::to_string(checked.problems.front()),
                                ConfigurationWatch::Why::kFiles);
    drift->soon();
    return fail(Errc::kInvalidArgument, "{}", describe(checked.problems));
  }
  auto applied = apply(std::move(checked));
  if (!applied)
    configuration_watch.refused(applied.error().message(), ConfigurationWatch::Why::kHost);
  drift->soon();
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

Status Agent::Impl::reload_by_signal() {
  knowledge::AuditRecord record;
  record.who = "signal";
  record.from = "SIGHUP";
  record.what = "reload";
  record.subject = "configuration";
  record.result = "requested";
  if (auto written = audit->record(record); !written)
    return propagate(std::move(written), "not reloaded: it cannot be written to the audit log");
  auto reloaded = reload();
  record.result = reloaded ? "ok" : reloaded.error().message();
  if (auto written = audit->record(record); !written)
    log::error("agent", "the result of the reload is not in the audit log: {}",
               written.error().message());
  return reloaded;
}

Status Agent::Impl::apply(Checked checked) {
  const auto before = current();
  const auto& after = *checked.config;
  for (const auto& reason : config::needs_restart(*started_with, after))
    log::warning("agent", "reload: {}", reason);
  // Everything that can fail comes first: a reload that is refused has changed nothing.
  std::shared_ptr<monitor::Scheduler> fresh;
  if (before->collect != after.collect || before->connections != after.connections) {
    auto made = make_collectors(after);
    if (!made) return propagate(std::move(made));
    fresh = std::move(*made);
  }
  {
    const std::lock_guard guard(config_mutex);
    config = checked.config;
  }
  rule_set = checked.rules;
  remedy_set = checked.remedies;
  routing = checked.routing;
  configure();
  if (fresh) replace_collectors(std::move(fresh));
  server->set(std::make_shared<const serve::Authenticator>(after.auth), after.http);
  if (before->sources != after.sources || before->history.retention != after.history.retention)
    configure_sources();
  if (before->services != after.services) watch_services();
  if (before->services != after.services || before->connections.docker != after.connections.docker)
    watch_containers();
  configuration_watch.applied(checked);
  std::string changed;
  for (const auto& section : config::changed_sections(*before, after))
    changed += (changed.empty() ? "" : ", ") + section;
  book->note({clock.wall(), "configuration", "nexus-agent",
              fmt::format("the agent's configuration was applied again; changed: {}",
                          changed.empty() ? "nothing" : changed)});
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
  Impl::configure_log(checked.config->agent);  // what opening has to say is to be in that format
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
  return impl_->reload_by_signal();
}
bool Agent::ready() const {
  return impl_->ready();
}

bool Agent::Impl::ready() const {
  return vitals_stand && collectors()->warmed_up() && !stopping;
}

bool Agent::Impl::healthy(std::string& why) const {
  if (!loops_run || stopping) return true;
  const auto check_loop = [&](std::string_view name, Nanos late) {
    if (late < kLoopPatience) return true;
    why = fmt::format("the {} loop is in one turn, or late for its next, for {} s", name,
                      std::chrono::duration_cast<std::chrono::seconds>(late).count());
    return false;
  };
  return check_loop("analyze", analyze_loop->late()) && check_loop("plan", plan_loop->late()) &&
         check_loop("ingest", ingest->thread().late()) && check_loop("notify", publisher->late()) &&
         check_loop("serve", clock.steady() - server->last_turn());
}

std::vector<std::string> Agent::Impl::needs_restart() const {
  return config::needs_restart(*started_with, *current());
}

bool Agent::healthy(std::string& why) const {
  return impl_->healthy(why);
}

bool Agent::left_threads_behind() const {
  return impl_->abandoned > 0;
}

std::vector<std::string> Agent::addresses() const {
  return impl_->server ? impl_->server->addresses() : std::vector<std::string>();
}
std::string Agent::data_dir() const {
  return impl_->data_dir;
}

}  // namespace nexus::agent
