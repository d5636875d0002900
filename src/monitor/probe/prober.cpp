#include "monitor/probe/prober.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "nexus/base/log.hpp"
#include "nexus/base/loop_thread.hpp"
#include "nexus/base/text.hpp"
#include "nexus/knowledge/queryable.hpp"

namespace nexus::monitor {
namespace {

constexpr std::size_t kBudget = 200;  // series of one target

Status look(const ProbeRun& run) {
  const auto& kind = run.plan.config.kind;
  if (kind == "http") return probe_http(run);
  if (kind == "dns") return probe_dns(run);
  if (kind == "icmp") return probe_icmp(run);
  return probe_stream(run);
}

}  // namespace

struct Prober::Job {
  Job(knowledge::SeriesRegistry& registry, Allowance& allowance, ProbePlan the_plan,
      std::string the_target)
      : plan(std::move(the_plan)),
        target(std::move(the_target)),
        sink(registry, kBudget, &allowance) {}

  const ProbePlan plan;
  const std::string target;
  LabelList labels;
  Millis offset{0};
  std::uint32_t group = 0;

  RunSink sink;  // of whoever runs it, as the next
  ChosenLabels chosen;
  std::int64_t stamp = 0;  // of the last batch
  SteadyTime due{};        // guarded by the prober's mutex, as all below
  WallTime planned{};
  bool running = false;
  bool gone = false;  // not configured any more
  SourceStatus status;

  void next(WallTime wall, SteadyTime steady) {
    const auto step = plan.config.interval.count();
    const auto since = base::to_unix_millis(wall) - offset.count();
    planned = base::from_unix_millis((since / step + 1) * step + offset.count());
    due = steady + (planned - wall);
  }
};

Prober::Prober(const SourcesContext& context, Outbox& outbox)
    : context_(context),
      outbox_(outbox),
      runs_(context.self.counter("nexus_probe_runs_total", "Probes that ended.")),
      failures_(context.self.counter("nexus_probe_failures_total",
                                     "Probes that failed: probe_success is 0.")),
      skipped_(context.self.counter("nexus_probe_skipped_total",
                                    "Probes not begun because the one before still ran.")) {}

Prober::~Prober() {
  stop();
}

std::shared_ptr<Prober::Job> Prober::make_job(const config::ProbeConfig& config,
                                              const std::string& target) const {
  auto plan = plan_probe(config);
  if (!plan) {
    log::error("monitor", "probe {}: {}", config.name, plan.error().message());
    return nullptr;
  }
  auto job = std::make_shared<Job>(context_.registry, outbox_.series(), std::move(*plan), target);
  job->labels = {{"job", config.name}, {"instance", target}};
  for (const auto& [name, value] : config.labels) set_label(job->labels, name, value);
  const auto spread = base::fnv1a(target, base::fnv1a(config.name));
  job->offset = Millis(static_cast<std::int64_t>(
      spread % static_cast<std::uint64_t>(std::max<std::int64_t>(1, config.interval.count()))));
  job->group = outbox_.groups().take();
  job->planned = context_.clock.wall();
  job->due = context_.clock.steady();
  job->status.kind = "probe";
  job->status.name = config.name;
  job->status.instance = target;
  job->status.labels = knowledge::Labels(job->labels);
  job->status.interval = config.interval;
  job->status.timeout = config.timeout;
  return job;
}

void Prober::configure(const std::vector<config::ProbeConfig>& configs) {
  Jobs left;
  {
    const std::lock_guard guard(mutex_);
    Jobs fresh;
    for (const auto& config : configs) {
      for (const auto& target : config.targets) {
        const auto same = std::ranges::find_if(jobs_, [&](const auto& job) {
          return job->plan.config == config && job->target == target;
        });
        auto job = same != jobs_.end() ? *same : make_job(config, target);
        if (job != nullptr) fresh.push_back(std::move(job));
      }
    }
    for (const auto& job : jobs_) {
      if (std::ranges::find(fresh, job) != fresh.end()) continue;
      job->gone = true;
      if (!job->running) left.push_back(job);
    }
    jobs_ = std::move(fresh);
    if (threads_.empty() && !jobs_.empty() && !stopping_) spawn();
  }
  for (const auto& job : left) end(*job);
  changed_.notify_all();
}

void Prober::stop() {
  std::vector<std::thread> threads;
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
    threads.swap(threads_);
  }
  changed_.notify_all();
  for (auto& thread : threads) thread.join();
}

std::vector<SourceStatus> Prober::status() const {
  const std::lock_guard guard(mutex_);
  std::vector<SourceStatus> out;
  for (const auto& job : jobs_) out.push_back(job->status);
  return out;
}

std::shared_ptr<Prober::Job> Prober::pick(SteadyTime now, SteadyTime& earliest) {
  std::shared_ptr<Job> chosen;
  for (const auto& job : jobs_) {
    if (job->due <= now && job->running) {
      skipped_.add();
      job->next(context_.clock.wall(), now);
    }
    if (job->due <= now && (chosen == nullptr || job->due < chosen->due)) chosen = job;
    earliest = std::min(earliest, job->due);
  }
  return chosen;
}

/// Another thread when something else is due and nobody is there for it.
void Prober::spawn_if_short(SteadyTime now) {
  const bool more =
      std::ranges::any_of(jobs_, [&](const auto& job) { return job->due <= now && !job->running; });
  if (more && idle_ == 0 && threads_.size() < kMaxThreads && !stopping_) spawn();
}

/// With the mutex held. A thread that cannot be made costs patience only: the others do its work.
void Prober::spawn() {
  try {
    threads_.emplace_back([this] { work(); });
  } catch (const std::system_error& refused) {
    log::error("monitor", "cannot start a thread for probes, {} run: {}", threads_.size(),
               refused.what());
  }
}

void Prober::work() {
  base::name_this_thread("probe");
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const auto now = context_.clock.steady();
    SteadyTime earliest = base::kForever;
    auto job = pick(now, earliest);
    if (job == nullptr) {
      ++idle_;
      // Woken by any change; whoever is awake first takes what is due.
      bool woken = false;
      context_.clock.wait_until(lock, changed_, earliest, [&] {
        const bool first = !woken;
        woken = true;
        return stopping_ || !first;
      });
      --idle_;
      continue;
    }
    job->running = true;
    const auto wall = context_.clock.wall();
    const bool on_time = wall >= job->planned && wall - job->planned < Millis(100);
    job->stamp = std::max(job->stamp + 1, base::to_unix_millis(on_time ? job->planned : wall));
    job->next(wall, now);
    spawn_if_short(now);
    lock.unlock();
    run(*job);
    lock.lock();
    job->running = false;
    if (job->gone) {
      lock.unlock();
      end(*job);
      lock.lock();
    }
  }
}

void Prober::run(Job& job) {
  const auto& config = job.plan.config;
  const auto begin = context_.clock.steady();
  job.sink.begin();
  ProbeSink sink(context_.registry, job.sink, job.labels);
  // These first, for what is over a limit is dropped from there on.
  sink.add("probe_success", "Displays whether or not the probe was a success", 0);
  sink.add("probe_duration_seconds", "Returns how long the probe took to complete in seconds", 0);
  const bool fits = job.sink.size() == 2;
  const ProbeRun one{context_.clock,         job.plan, job.target,
                     begin + config.timeout, sink,     job.chosen};
  const Status outcome = look(one);
  const double seconds = one.seconds_since(begin);
  if (fits) {
    job.sink.correct(0, outcome ? 1 : 0);
    job.sink.correct(1, seconds);
  }
  job.sink.finish();
  const auto dropped = job.sink.dropped() + sink.left_out();
  outbox_.count_dropped(dropped);
  if (outbox_.push({job.group, job.stamp, job.sink.ids(), job.sink.values()})) job.sink.accepted();
  runs_.add();
  if (!outcome) failures_.add();
  const std::lock_guard guard(mutex_);
  const std::string_view health = outcome ? "up" : "down";
  if (!outcome && job.status.health != health)
    log::warning("monitor", "probe {} of {}: {}", config.name, job.target,
                 outcome.error().message());
  if (outcome && job.status.health == "down")
    log::info("monitor", "probe {} of {}: works again", config.name, job.target);
  job.status.health = health;
  job.status.error = outcome ? "" : outcome.error().message();
  job.status.last = base::from_unix_millis(job.stamp);
  job.status.duration_seconds = seconds;
  job.status.samples = job.sink.live().size();
  job.status.series = job.sink.live().size();
  job.status.dropped += dropped;
}

/// Stale markers for all series of a target that is not probed any more.
void Prober::end(Job& job) {
  job.sink.begin();
  job.sink.finish();
  const auto now = std::max(job.stamp + 1, base::to_unix_millis(context_.clock.wall()));
  outbox_.push({job.group, now, job.sink.ids(), job.sink.values()});
  outbox_.groups().give(job.group);
}

}  // namespace nexus::monitor
