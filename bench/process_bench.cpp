// A pass over 2,000 real processes that sleep, as the collector process_groups makes it: all CPU of
// the calling thread, user and system.
//
// `quiet` passes find nothing changed; `busy` ones find that every tenth process ran meanwhile. Run
// as root for taskstats; without CAP_NET_ADMIN (setpriv --bounding-set -net_admin) every file is
// read. Each pass is after the first, which reads everything.
#include <benchmark/benchmark.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <vector>

#include "monitor/run_sink.hpp"
#include "nexus/monitor/collector.hpp"
#include "nexus/monitor/observed.hpp"

namespace {

using namespace nexus;

constexpr std::size_t kProcesses = 2000;

/// Processes that sleep until they get SIGUSR1, and then sleep on.
class Sleepers {
 public:
  Sleepers() {
    ::signal(SIGUSR1, [](int) {});
    for (std::size_t i = 0; i < kProcesses; ++i) {
      const pid_t child = ::fork();
      if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) ::pause();
      }
      if (child > 0) pids_.push_back(child);
    }
  }
  ~Sleepers() {
    for (const pid_t pid : pids_) ::kill(pid, SIGKILL);
    for (const pid_t pid : pids_) ::waitpid(pid, nullptr, 0);
  }
  void wake_some() const {
    for (std::size_t i = 0; i < pids_.size(); i += 10) ::kill(pids_[i], SIGUSR1);
  }

 private:
  std::vector<pid_t> pids_;
};

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void scan(benchmark::State& state, bool busy) {
  const Sleepers sleepers;
  const host::Roots roots;
  base::SystemClock clock;
  knowledge::SeriesRegistry registry(100'000);
  const config::Parameters options;
  monitor::Observed observed;
  const auto* descriptor = monitor::find_collector("process_groups");
  auto made = descriptor->make({.roots = roots,
                                .clock = clock,
                                .registry = registry,
                                .options = options,
                                .observed = &observed});
  monitor::RunSink sink(registry, 10'000);
  std::size_t samples = 0;
  const auto pass = [&] {
    sink.begin();
    const double before = cpu_seconds();
    static_cast<void>((*made)->collect(sink));
    const double used = cpu_seconds() - before;
    sink.finish();
    samples = sink.live().size();
    return used;
  };
  for (int i = 0; i < 20; ++i) pass();
  for (auto _ : state) {
    if (busy) sleepers.wake_some();
    state.SetIterationTime(pass());
  }
  state.counters["samples"] = static_cast<double>(samples);
  state.counters["processes"] = static_cast<double>(observed.processes()->processes.size());
}

BENCHMARK_CAPTURE(scan, quiet, false)->UseManualTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(scan, busy, true)->UseManualTime()->Unit(benchmark::kMillisecond);

}  // namespace
