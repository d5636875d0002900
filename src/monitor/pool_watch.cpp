// The part of the pool that starts and ends threads: the watch over deadlines, replacement, stop.
#include <algorithm>
#include <system_error>

#include "monitor/pool.hpp"
#include "nexus/base/abandon.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "nexus/knowledge/queryable.hpp"

namespace nexus::monitor {
namespace {

// How long stop() waits for runs in progress. Runs take milliseconds; what takes longer is about to
// be stuck.
constexpr Millis kStopGrace{2000};
// Counters that are kept under the lock are copied to the metrics at least this often.
constexpr Millis kLongestWatch{5000};
// How soon stale markers are tried again that the full ring refused.
constexpr Millis kMarkAgain{1000};

}  // namespace

void Pool::start() {
  {
    const std::lock_guard guard(mutex_);
    if (stopping_ || watch_) return;
    for (const auto& job : jobs_) job->due = clock_.steady();
    spawn_missing();
  }
  watch_.emplace(clock_, "collect-watch", [this] { return watch(); });
}

std::size_t Pool::alive_threads() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      workers_, [](const auto& worker) { return !worker->written_off && !worker->exited; }));
}

std::size_t Pool::wanted_threads() const {
  return threads_ + static_cast<std::size_t>(std::ranges::count_if(jobs_, [](const auto& job) {
           return job->remote && (job->phase == Phase::kRunning || job->phase == Phase::kFinishing);
         }));
}

void Pool::spawn_missing() {
  std::size_t alive = alive_threads();
  const std::size_t wanted = wanted_threads();
  while (alive < wanted && (threads_made_ < threads_ || stuck_threads() < kMaxAbandoned)) {
    auto worker = std::make_shared<Worker>();
    try {
      worker->thread = std::thread([pool = shared_from_this(), worker, number = threads_made_] {
        base::name_this_thread(fmt::format("collect-{}", number));
        work(pool, worker);
      });
    } catch (const std::system_error& refused) {
      log::error("monitor", "cannot start a collector thread: {}", refused.what());
      return;  // the watch tries again
    }
    workers_.push_back(std::move(worker));
    ++threads_made_;
    ++alive;
  }
}

std::size_t Pool::stuck_threads() const {
  auto stuck = static_cast<std::size_t>(std::ranges::count_if(
      workers_, [](const auto& worker) { return worker->written_off && !worker->exited; }));
  for (const auto& pool : predecessors_) stuck += pool->abandoned();
  return stuck;
}

void Pool::inherit(Pool& old) {
  const std::scoped_lock guard(mutex_, old.mutex_);
  predecessors_ = std::exchange(old.predecessors_, {});
  std::erase_if(predecessors_, [](const auto& pool) { return pool->abandoned() == 0; });
  if (old.stuck_threads() > 0) predecessors_.push_back(old.shared_from_this());
  for (Unmarked& one : old.unmarked_) {
    if (one.job == nullptr) hand_on(std::move(one));
  }
  for (const auto& ended : old.jobs_) {
    const auto owed = ended->sink->owed();
    std::vector<knowledge::SeriesId> ids(owed.begin(), owed.end());
    ids.insert(ids.end(), ended->live.begin(), ended->live.end());
    const auto same =
        std::ranges::find_if(jobs_, [&](const auto& job) { return job->name == ended->name; });
    if (same != jobs_.end()) {
      (*same)->sink->owe(ids);
      (*same)->live = std::move(ids);
      continue;
    }
    ids.push_back(ended->duration.id);
    ids.push_back(ended->success.id);
    unmarked_.push_back({nullptr, ended->group, ended->stamp, std::move(ids)});
  }
}

/// Series of a collector that a reload had removed. Where it is back, its own runs end them or go
/// on with them: markers pushed beside those into the same group would end what is measured again.
void Pool::hand_on(Unmarked&& gone) {
  const auto back =
      std::ranges::find_if(jobs_, [&](const auto& job) { return job->group == gone.group; });
  if (back == jobs_.end()) {
    unmarked_.push_back(std::move(gone));
    return;
  }
  // The two about the collector are in every batch of it, behind those that the sink knows.
  std::erase_if(gone.ids, [&](knowledge::SeriesId id) {
    return id == (*back)->duration.id || id == (*back)->success.id;
  });
  (*back)->sink->owe(gone.ids);
  (*back)->live.insert((*back)->live.end(), gone.ids.begin(), gone.ids.end());
}

SteadyTime Pool::watch() {
  std::vector<LeftBehind> left;
  std::vector<std::shared_ptr<Worker>> ended;
  std::size_t stuck = 0;
  const SteadyTime now = clock_.steady();
  SteadyTime next = now + kLongestWatch;
  {
    const std::lock_guard guard(mutex_);
    for (const auto& job : jobs_) {
      // A job that starts while the watch sleeps has its deadline after `next`.
      next = std::min(next, now + job->deadline);
      if (job->phase != Phase::kRunning) continue;
      if (now >= job->started + job->deadline) {
        left.push_back(write_off(*job, now));
      } else {
        next = std::min(next, job->started + job->deadline);
      }
    }
    ended = take_exited();
    std::erase_if(predecessors_, [](const auto& pool) { return pool->abandoned() == 0; });
    std::erase_if(unmarked_, [](const Unmarked& one) {
      return one.job != nullptr && one.job->phase != Phase::kStuck;
    });
    spawn_missing();
    stuck = stuck_threads();
  }
  for (const auto& worker : ended) worker->thread.join();
  mark_unmarked();
  for (LeftBehind& one : left) report(one);
  if (!unmarked_.empty()) next = std::min(next, now + kMarkAgain);
  threads_stuck_.set(static_cast<double>(stuck));
  report_skipped();
  return next;
}

Pool::LeftBehind Pool::write_off(Job& job, SteadyTime now) {
  job.phase = Phase::kStuck;
  job.worker->written_off = true;
  ++job.status.stuck;
  job.status.outcome = "stuck";
  job.status.error = fmt::format("no answer within {}", base::format_duration(job.deadline));
  job.status.last_run = job.began;
  job.status.duration_seconds = std::chrono::duration<double>(now - job.started).count();
  job.status.samples = 0;
  job.streak = 0;
  std::shared_ptr<RunSink> sink = new_sink_();
  sink->owe(job.sink->owed());
  sink->owe(job.live);
  LeftBehind left{&job, std::exchange(job.sink, std::move(sink)), std::exchange(job.live, {}),
                  base::to_unix_millis(clock_.wall())};
  return left;
}

/// Ends the series of the collector, says that it failed, and keeps the late run from the registry.
void Pool::report(LeftBehind& left) {
  left.sink->cut_off();
  const Job& job = *left.job;
  log::error(
      "monitor",
      "collector {}: no answer within {}, left behind; it runs again once that run has returned",
      job.name, base::format_duration(job.deadline));
  job.counters.stuck.add();
  std::vector<double> values(left.live.size(), knowledge::stale_marker());
  left.live.push_back(job.success.id);
  values.push_back(0);
  if (push(job.group, left.stamp, left.live, values)) return;
  job.counters.dropped.add(1);
  left.live.pop_back();
  unmarked_.push_back({left.job, job.group, left.stamp, std::move(left.live)});
}

/// Ends series that no run will end, unless the ring is full still.
void Pool::mark_unmarked() {
  const std::int64_t now = base::to_unix_millis(clock_.wall());
  std::erase_if(unmarked_, [&](const Unmarked& one) {
    const std::vector<double> values(one.ids.size(), knowledge::stale_marker());
    return push(one.group, std::max(now, one.after + 1), one.ids, values);
  });
}

void Pool::report_skipped() {
  std::vector<std::pair<const Job*, std::uint64_t>> news;
  {
    const std::lock_guard guard(mutex_);
    for (const auto& job : jobs_) {
      const std::uint64_t skipped =
          job->status.skipped - std::exchange(job->skipped_reported, job->status.skipped);
      if (skipped > 0) news.emplace_back(job.get(), skipped);
    }
  }
  for (const auto& [job, skipped] : news) job->counters.skipped.add(static_cast<double>(skipped));
}

std::vector<std::shared_ptr<Worker>> Pool::take_exited() {
  std::vector<std::shared_ptr<Worker>> ended;
  std::erase_if(workers_, [&](const auto& worker) {
    if (worker->exited) ended.push_back(worker);
    return worker->exited;
  });
  return ended;
}

void Pool::stop() {
  {
    const std::lock_guard guard(mutex_);
    if (std::exchange(stopping_, true)) return;
    due_.notify_all();
    follow_.notify_all();
  }
  watch_.reset();
  std::vector<std::shared_ptr<Worker>> workers;
  std::vector<std::shared_ptr<RunSink>> sinks;
  {
    std::unique_lock lock(mutex_);
    clock_.wait_until(lock, exited_, clock_.steady() + kStopGrace, [this] {
      return std::ranges::all_of(workers_,
                                 [](const auto& w) { return w->exited || w->written_off; });
    });
    for (const auto& job : jobs_) {
      if (job->phase != Phase::kRunning) continue;
      sinks.push_back(write_off(*job, clock_.steady()).sink);
    }
    workers.swap(workers_);
  }
  for (const auto& sink : sinks) sink->cut_off();
  for (const auto& worker : workers) {
    const bool stuck = [&] {
      const std::lock_guard guard(mutex_);
      return worker->written_off && !worker->exited;
    }();
    if (stuck) {
      base::abandon(std::move(worker->thread));
    } else {
      worker->thread.join();  // it has ended or is about to: what follows a run never blocks
    }
  }
  const std::lock_guard guard(mutex_);
  workers_ = std::move(workers);  // abandoned() still counts those that are stuck
}

}  // namespace nexus::monitor
