#include "nexus/agent/agent.hpp"

#include <unistd.h>

#include "agent/agent_impl.hpp"
#include "nexus/base/log.hpp"
#include "nexus/host/file.hpp"

namespace nexus::agent {
namespace {

using namespace std::chrono_literals;

constexpr Millis kActionGrace = 10s;  // running steps at stop
constexpr Millis kHttpGrace = 5s;     // running requests at stop
constexpr Nanos kLoopPatience = 60s;  // a loop silent for longer is dead

}  // namespace

Status Agent::Impl::start() {
  const std::lock_guard guard(reload_mutex);  // a reload over HTTP waits until all stands
  // What has just happened is told before anything new may happen.
  executor->on_finished([this](const plan::Action& action) { planner->on_finished(action); });
  executor->set_permission([this] {
    return planner->running() && current()->operations.mode != config::Mode::kObserve;
  });
  configure();
  for (const auto& unused : config::unused_variables(options)) log::warning("agent", "{}", unused);
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
  if (server) {
    server->stop(kHttpGrace);
    abandoned += server->left_behind();
  }
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
  if (ingest) ingest->stop();
  history.close_disk();
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
