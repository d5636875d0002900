#include "monitor/pool.hpp"

#include <algorithm>
#include <system_error>

#include "nexus/base/cpu_time.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

// What is due at one moment mostly takes less than this, altogether: one thread runs it, and a run
// that takes longer holds up the others by this much. Waking a thread for each costs more than many
// a collector.
constexpr Millis kPatience{5};

/// A collector that throws is broken, but costs only its own run.
Status collect_guarded(Collector& collector, Sink& sink) {
  try {
    return collector.collect(sink);
  } catch (const std::exception& thrown) {
    return fail(Errc::kInternal, "unexpected exception: {}", thrown.what());
  }
}

double to_seconds(Nanos duration) {
  return std::chrono::duration<double>(duration).count();
}

void log_change(const Job& job, const std::string& before, const Verdict& verdict) {
  if (before == verdict.outcome) return;
  if (verdict.outcome == "failed") {
    log::warning("monitor", "collector {}: {}", job.name, verdict.error);
  } else if (verdict.outcome == "no_data") {
    log::info("monitor", "collector {}: nothing to collect here: {}", job.name, verdict.error);
  } else if (before != "pending") {
    log::info("monitor", "collector {}: works again", job.name);
  }
}

}  // namespace

Pool::Pool(Parts parts)
    : clock_(parts.clock),
      jobs_(std::move(parts.jobs)),
      new_sink_(std::move(parts.new_sink)),
      threads_stuck_(parts.threads_stuck),
      threads_(std::max<std::size_t>(parts.threads, 1)),
      ring_(std::move(parts.ring)) {}

void Pool::work(const std::shared_ptr<Pool>& pool, const std::shared_ptr<Worker>& me) {
  for (Run run = pool->next(me); run.job != nullptr; run = pool->next(me)) {
    const Nanos before = base::thread_cpu_time();
    run.sink->begin();
    const Status status = collect_guarded(*run.job->collector, *run.sink);
    if (!pool->claim(*run.job, *me)) break;
    pool->publish(*run.job, status, base::thread_cpu_time() - before);
  }
  const std::lock_guard guard(pool->mutex_);
  if (pool->serving_ == me.get()) pool->serving_ = nullptr;
  me->exited = true;
  pool->exited_.notify_all();
}

Pool::Run Pool::next(const std::shared_ptr<Worker>& me) {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (alive_threads() > wanted_threads()) return {};  // a remote run has ended
    const SteadyTime now = clock_.steady();
    const bool is_served = serving_ != nullptr && serving_ != me.get() && now < served_until_;
    if (Job* job = is_served ? nullptr : pick(now)) {
      begin(*job, me, now);
      serving_ = job->remote ? nullptr : me.get();  // which waits for others, and not for so short
      served_until_ = now + kPatience;
      if (job->remote) spawn_missing();
      if (!has_leader_) follow_.notify_one();
      return {job, job->sink};
    }
    if (serving_ == me.get()) serving_ = nullptr;
    const SteadyTime earliest = is_served ? std::max(served_until_, next_due()) : next_due();
    if (has_leader_) {
      clock_.wait_until(lock, follow_, base::kForever,
                        [this] { return stopping_ || !has_leader_; });
      continue;
    }
    has_leader_ = true;
    clock_.wait_until(lock, due_, earliest, [this] { return stopping_ || replanned_; });
    has_leader_ = false;
    replanned_ = false;
  }
  return {};
}

SteadyTime Pool::next_due() const {
  SteadyTime earliest = base::kForever;
  for (const auto& job : jobs_) earliest = std::min(earliest, job->due);
  return earliest;
}

/// The idle job that has been due longest. What is due but still running is skipped.
Job* Pool::pick(SteadyTime now) {
  Job* chosen = nullptr;
  for (const auto& job : jobs_) {
    if (job->due <= now && job->phase != Phase::kIdle) {
      ++job->status.skipped;
      job->plan(clock_.wall(), now);
    }
    if (job->due <= now && (chosen == nullptr || job->due < chosen->due)) chosen = job.get();
  }
  return chosen;
}

void Pool::begin(Job& job, const std::shared_ptr<Worker>& me, SteadyTime now) {
  job.phase = Phase::kRunning;
  job.worker = me;
  job.started = now;
  job.began = clock_.wall();
  job.stamp = base::to_unix_millis(job.batch_time(job.began));
  job.plan(job.began, now);
}

/// Takes a returned run away from the watch. False when the watch was faster: the run is discarded,
/// the thread ends.
bool Pool::claim(Job& job, const Worker& me) {
  {
    const std::lock_guard guard(mutex_);
    if (!me.written_off) {
      job.phase = Phase::kFinishing;
      return true;
    }
    job.phase = Phase::kIdle;
    job.worker.reset();
  }
  log::info("monitor", "collector {}: the run that was left behind has returned", job.name);
  return false;
}

void Pool::publish(Job& job, const Status& status, Nanos cpu) {
  RunSink& sink = *job.sink;
  const double seconds = to_seconds(clock_.steady() - job.started);
  const Verdict verdict = judge(status);
  const bool differs = sink.finish();
  const std::size_t samples = sink.live().size();
  sink.append(job.duration, job.name, seconds);
  sink.append(job.success, job.name, verdict.outcome == "ok" ? 1 : 0);
  std::uint64_t dropped = sink.dropped();
  if (push(job.group, job.stamp, sink.ids(), sink.values())) {
    sink.accepted();
  } else {
    dropped += samples;
  }
  job.counters.runs.add();
  if (verdict.outcome == "failed") job.counters.failures.add();
  if (dropped > 0) job.counters.dropped.add(static_cast<double>(dropped));
  const Cost cost{.seconds = seconds, .cpu_seconds = to_seconds(cpu)};
  job.counters.cpu.add(cost.cpu_seconds);
  if (verdict.outcome == "ok") job.counters.last_success.set(static_cast<double>(job.stamp) / 1000);
  settle(job, verdict, cost, dropped, differs);
}

void Pool::settle(Job& job, const Verdict& verdict, const Cost& cost, std::uint64_t dropped,
                  bool differs) {
  std::string before;
  {
    const std::lock_guard guard(mutex_);
    before = job.status.outcome;
    const Millis interval = job.effective_interval();
    job.note_finished(verdict, cost.seconds, cost.cpu_seconds);
    const auto live = job.sink->live();
    job.status.samples = live.size();
    job.status.dropped += dropped;
    if (differs) job.live.assign(live.begin(), live.end());
    if (job.effective_interval() != interval) {
      job.plan(clock_.wall(), clock_.steady());
      replanned_ = true;
      due_.notify_one();
    }
    job.worker.reset();
    job.phase = Phase::kIdle;
  }
  log_change(job, before, verdict);
}

bool Pool::push(std::uint32_t group, std::int64_t stamp, std::span<const knowledge::SeriesId> ids,
                std::span<const double> values) {
  const std::lock_guard guard(push_mutex_);
  return ring_->push({.group = group, .time = stamp, .ids = ids, .values = values});
}

std::vector<CollectorStatus> Pool::status() const {
  const SteadyTime now = clock_.steady();
  std::vector<CollectorStatus> all;
  all.reserve(jobs_.size());
  const std::lock_guard guard(mutex_);
  for (const auto& job : jobs_) {
    all.push_back(job->status);
    if (job->phase != Phase::kStuck) continue;
    const auto stuck_for = std::chrono::floor<std::chrono::seconds>(now - job->started);
    all.back().note = fmt::format("stuck for {}: not started again until that run returns",
                                  base::format_duration(stuck_for));
  }
  return all;
}

void Pool::hurry(std::span<const Scheduler::Hurry> collectors) {
  const std::lock_guard guard(mutex_);
  bool is_earlier = false;
  for (const auto& job : jobs_) {
    const auto found = std::ranges::find(collectors, job->name, &Scheduler::Hurry::collector);
    const Millis wanted = found == collectors.end() ? Millis(0) : found->interval;
    if (std::exchange(job->hurried, wanted) == wanted) continue;
    job->note_interval();
    job->plan(clock_.wall(), clock_.steady());
    is_earlier = true;
  }
  if (!is_earlier) return;
  replanned_ = true;
  due_.notify_one();
}

bool Pool::warmed_up() const {
  const std::lock_guard guard(mutex_);
  return std::ranges::all_of(
      jobs_, [](const auto& job) { return job->status.runs + job->status.stuck > 0; });
}

std::size_t Pool::abandoned() const {
  const std::lock_guard guard(mutex_);
  return stuck_threads();
}

}  // namespace nexus::monitor
