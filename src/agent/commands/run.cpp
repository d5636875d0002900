#include <fmt/format.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "agent/commands.hpp"
#include "agent/config_flags.hpp"
#include "nexus/agent/agent.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/version.hpp"

namespace nexus::agent {
namespace {

/// SIGHUP, SIGTERM and SIGINT as a descriptor. Blocked before any thread starts, so that all
/// threads inherit the mask.
Result<int> open_signals() {
  sigset_t mask;
  sigemptyset(&mask);
  for (const int signal : {SIGHUP, SIGTERM, SIGINT}) sigaddset(&mask, signal);
  if (pthread_sigmask(SIG_BLOCK, &mask, nullptr) != 0)
    return std::unexpected(Error::from_errno("block signals"));
  ::signal(SIGPIPE, SIG_IGN);
  const int fd = signalfd(-1, &mask, SFD_CLOEXEC);
  if (fd < 0) return std::unexpected(Error::from_errno("signalfd"));
  return fd;
}

/// Connections, scrapes and files of the history may need more than the usual soft limit of 1024.
void raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
    log::warning("agent", "{}", Error::from_errno("raise the limit of open files").message());
}

/// systemd wants to hear that a reload begins and ends (sd_notify(3), Type=notify with ExecReload).
void reload(Agent& agent, Clock& clock) {
  const auto micros =
      std::chrono::duration_cast<std::chrono::microseconds>(clock.steady().time_since_epoch())
          .count();
  sd_notify(0, fmt::format("RELOADING=1\nMONOTONIC_USEC={}", micros).c_str());
  const auto reloaded = agent.reload();
  if (!reloaded)
    log::error("agent", "the configuration was not reloaded, the old one stays: {}",
               reloaded.error().message());
  sd_notify(0, fmt::format("READY=1\nSTATUS={}",
                           reloaded ? "running" : "running; the last reload was refused")
                   .c_str());
}

void feed_watchdog(const Agent& agent) {
  std::string why;
  if (agent.healthy(why)) {
    sd_notify(0, "WATCHDOG=1");
  } else {
    log::error("agent", "unhealthy, the watchdog is not fed: {}", why);
  }
}

/// Until SIGTERM or SIGINT.
void serve_signals(Agent& agent, Clock& clock, int signals) {
  std::uint64_t watchdog_usec = 0;
  sd_watchdog_enabled(0, &watchdog_usec);
  const int wait_ms = watchdog_usec == 0 ? 5000 : static_cast<int>(watchdog_usec / 3000);
  while (true) {
    pollfd entry{signals, POLLIN, 0};
    const int ready = ::poll(&entry, 1, wait_ms);
    feed_watchdog(agent);
    if (ready <= 0) continue;
    signalfd_siginfo info{};
    if (::read(signals, &info, sizeof info) != static_cast<ssize_t>(sizeof info)) continue;
    if (info.ssi_signo != SIGHUP) {
      log::info("agent", "{} received, stopping", info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
      return;
    }
    reload(agent, clock);
  }
}

int run(const ConfigFlags& flags) {
  auto options = flags.options();
  if (!options) {
    fmt::print(stderr, "{}\n", options.error().message());
    return 2;
  }
  const auto signals = open_signals();
  if (!signals) {
    fmt::print(stderr, "{}\n", signals.error().message());
    return 1;
  }
  raise_file_limit();
  // The C library would give nearly every thread a heap of its own, each with its own holes: four
  // MiB after ten minutes. Few threads here allocate much at the same time.
  ::mallopt(M_ARENA_MAX, 2);
  // And it would keep the room of whatever large piece was freed once: blocks read from disk, whole
  // columns and answers go back to the kernel instead. Reading a day of 1,500 series costs ten MiB
  // less at its most.
  ::mallopt(M_MMAP_THRESHOLD, 256 << 10);
  ::mallopt(M_TRIM_THRESHOLD, 512 << 10);
  // The C library reads the time zone's names at the first need; threads that ask later only read
  // them.
  ::tzset();
  base::SystemClock clock;
  auto agent = Agent::make(clock, std::move(*options));
  if (!agent) {
    fmt::print(stderr, "{}\n", agent.error().message());
    return 1;
  }
  if (auto started = (*agent)->start(); !started) {
    fmt::print(stderr, "{}\n", started.error().message());
    return 1;
  }
  std::string addresses;
  for (const auto& address : (*agent)->addresses())
    addresses += (addresses.empty() ? "" : ", ") + address;
  log::info("agent", "nexus-agent {} runs, data in {}, listening on {}", base::version(),
            (*agent)->data_dir(), addresses);
  sd_notify(0, "READY=1\nSTATUS=running");
  serve_signals(**agent, clock, *signals);
  sd_notify(0, "STOPPING=1");
  (*agent)->stop();
  log::info("agent", "stopped");
  if ((*agent)->left_threads_behind()) std::_Exit(0);
  return 0;
}

}  // namespace

void ConfigFlags::add_to(CLI::App& command) {
  command.add_option("--config,-c", file, "The configuration; conf.d/*.toml beside it is read too")
      ->capture_default_str();
  command.add_option("--set", settings, "Override one key, e.g. --set agent.log_level=debug")
      ->take_all()
      ->type_name("KEY=VALUE");
}

Result<config::LoadOptions> ConfigFlags::options() const {
  config::LoadOptions out;
  out.file = file;
  out.environment = config::process_environment;
  for (const auto& setting : settings) {
    const auto equals = setting.find('=');
    if (equals == std::string::npos || equals == 0) {
      return fail(Errc::kInvalidArgument, "--set {}: expected KEY=VALUE", setting);
    }
    out.overrides.emplace_back(setting.substr(0, equals), setting.substr(equals + 1));
  }
  return out;
}

void add_run(CLI::App& app, CommandContext& context) {
  auto* command = app.add_subcommand("run", "Run the daemon in the foreground");
  auto flags = std::make_shared<ConfigFlags>();
  flags->add_to(*command);
  command->callback([flags, &context] { context.code = run(*flags); });
}

}  // namespace nexus::agent
