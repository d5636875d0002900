#include "nexus/monitor/scheduler.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "monitor/pool.hpp"
#include "nexus/base/cpu_time.hpp"

namespace nexus::monitor {
namespace {

const config::CollectorConfig& config_of(const config::CollectSection& collect,
                                         std::string_view name) {
  static const config::CollectorConfig defaults;
  const auto found = collect.collectors.find(name);
  return found == collect.collectors.end() ? defaults : found->second;
}

bool is_enabled(const CollectorDescriptor& descriptor, const config::CollectorConfig& config) {
  return config.enabled.value_or(descriptor.enabled_by_default);
}

Millis interval_of(const CollectorDescriptor& descriptor, const config::CollectorConfig& config,
                   const config::CollectSection& collect) {
  if (config.interval) return *config.interval;
  return std::max(collect.interval, descriptor.default_interval.value_or(collect.interval));
}

Result<std::unique_ptr<Collector>> make_collector(const SchedulerContext& context,
                                                  const CollectorDescriptor& descriptor,
                                                  const config::CollectorConfig& config) {
  const CollectorContext own{.roots = context.roots,
                             .clock = context.clock,
                             .registry = context.registry,
                             .options = config.options,
                             .self = &context.self,
                             .systemd = context.systemd,
                             .observed = context.observed,
                             .connections = context.connections};
  auto collector = descriptor.make(own);
  if (!collector) return propagate(std::move(collector), "collector {}", descriptor.name);
  return collector;
}

Status intern_meta(Job& job, knowledge::SeriesRegistry& registry, const MetaFamilies& meta) {
  const LabelView label{"collector", job.name};
  const auto duration = registry.intern(meta.duration, std::span(&label, 1));
  const auto success = registry.intern(meta.success, std::span(&label, 1));
  if (!duration || !success)
    return fail(Errc::kExhausted, "[collect] max_series is too small for the collectors");
  job.duration = {meta.duration, *duration};
  job.success = {meta.success, *success};
  return {};
}

/// Collectors, and those that tell the same and more: of two that run, each would give every moment
/// of a series a sample.
constexpr std::array<std::pair<std::string_view, std::string_view>, 1> kContained = {
    {{"boottime", "stat"}}};

std::string_view container_of(std::string_view name) {
  const auto* const found =
      std::ranges::find(kContained, name, &decltype(kContained)::value_type::first);
  return found == kContained.end() ? std::string_view{} : found->second;
}

bool is_wanted(const CollectorDescriptor& descriptor, const config::CollectSection& collect) {
  if (!is_enabled(descriptor, config_of(collect, descriptor.name))) return false;
  const auto* const whole = find_collector(container_of(descriptor.name));
  return whole == nullptr || !is_enabled(*whole, config_of(collect, whole->name));
}

Result<std::unique_ptr<Job>> make_job(const SchedulerContext& context,
                                      const config::CollectSection& collect,
                                      const CollectorDescriptor& descriptor,
                                      const MetaFamilies& meta) {
  const config::CollectorConfig& config = config_of(collect, descriptor.name);
  auto collector = make_collector(context, descriptor, config);
  if (!collector) return propagate(std::move(collector));
  auto job = std::make_unique<Job>(Job{
      .name = std::string(descriptor.name),
      .collector = std::move(*collector),
      .sink = std::make_shared<RunSink>(context.registry, collect.max_series_per_collector),
      .counters = make_counters(context.self, descriptor.name),
      .interval = interval_of(descriptor, config, collect),
      .deadline = config.deadline.value_or(collect.deadline),
      .remote = descriptor.remote,
  });
  if (Status interned = intern_meta(*job, context.registry, meta); !interned)
    return propagate(std::move(interned));
  job->status.name = job->name;
  job->status.outcome = "pending";
  job->status.interval = job->interval;
  job->status.deadline = job->deadline;
  job->status.series_budget = collect.max_series_per_collector;
  job->note_interval();
  job->counters.deadline.set(std::chrono::duration<double>(job->deadline).count());
  return job;
}

}  // namespace

struct Scheduler::Impl {
  std::shared_ptr<Pool> pool;
};

Scheduler::Scheduler(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Scheduler::~Scheduler() {
  stop();
}

Result<std::unique_ptr<Scheduler>> Scheduler::make(
    const SchedulerContext& context, const config::CollectSection& collect,
    std::span<const CollectorDescriptor* const> table) {
  const MetaFamilies meta = make_meta_families(context.registry);
  std::vector<std::unique_ptr<Job>> jobs;
  std::uint32_t place = 0;
  for (const CollectorDescriptor* descriptor : table) {
    ++place;
    if (!is_wanted(*descriptor, collect)) continue;
    auto job = make_job(context, collect, *descriptor, meta);
    if (!job) return propagate(std::move(job));
    (*job)->group = place;  // in the table, so that it is the same whatever a reload switches off
    jobs.push_back(std::move(*job));
  }
  context.self.gauge("nexus_collector_series_budget", "Samples that a run of a collector may have.")
      .set(static_cast<double>(collect.max_series_per_collector));
  auto impl = std::make_unique<Impl>();
  impl->pool = std::make_shared<Pool>(Pool::Parts{
      .clock = context.clock,
      .ring = context.rings.add(),
      .jobs = std::move(jobs),
      .new_sink =
          [&registry = context.registry, budget = collect.max_series_per_collector] {
            return std::make_shared<RunSink>(registry, budget);
          },
      .threads_stuck = context.self.gauge("nexus_collector_threads_stuck",
                                          "Threads that are inside a collector past its deadline."),
      .threads = collect.threads,
  });
  return std::unique_ptr<Scheduler>(new Scheduler(std::move(impl)));
}

void Scheduler::inherit(Scheduler& old) {
  impl_->pool->inherit(*old.impl_->pool);
}
void Scheduler::start() {
  impl_->pool->start();
}
void Scheduler::stop() {
  impl_->pool->stop();
}
std::vector<CollectorStatus> Scheduler::status() const {
  return impl_->pool->status();
}
void Scheduler::hurry(std::span<const Hurry> collectors) {
  impl_->pool->hurry(collectors);
}
bool Scheduler::warmed_up() const {
  return impl_->pool->warmed_up();
}
std::size_t Scheduler::abandoned() const {
  return impl_->pool->abandoned();
}

namespace {

CollectorStatus run_once(const SchedulerContext& context, const CollectorDescriptor& descriptor,
                         Collector& collector, Sink& sink, const MetaFamilies& meta) {
  const SteadyTime started = context.clock.steady();
  const Nanos cpu_before = base::thread_cpu_time();
  CollectorStatus status;
  status.name = descriptor.name;
  status.last_run = context.clock.wall();
  const Verdict verdict = judge(collector.collect(sink));
  status.duration_seconds = std::chrono::duration<double>(context.clock.steady() - started).count();
  status.cpu_seconds = std::chrono::duration<double>(base::thread_cpu_time() - cpu_before).count();
  status.cpu_seconds_sum = status.cpu_seconds;
  status.outcome = verdict.outcome;
  status.error = verdict.error;
  status.runs = 1;
  status.failures = verdict.outcome == "failed" ? 1 : 0;
  const bool succeeded = verdict.outcome == "ok";
  if (succeeded) status.last_success = status.last_run;
  sink.add(meta.duration, {{"collector", descriptor.name}}, status.duration_seconds);
  sink.add(meta.success, {{"collector", descriptor.name}}, succeeded ? 1 : 0);
  return status;
}

Result<std::vector<const CollectorDescriptor*>> chosen(const config::CollectSection& collect,
                                                       std::span<const std::string> names) {
  std::vector<const CollectorDescriptor*> descriptors;
  for (const std::string& name : names) {
    const CollectorDescriptor* descriptor = find_collector(name);
    if (descriptor == nullptr)
      return fail(Errc::kNotFound, "collector {}: there is none of that name", name);
    if (std::ranges::find(names, container_of(name)) == names.end())
      descriptors.push_back(descriptor);
  }
  if (!names.empty()) return descriptors;
  for (const CollectorDescriptor* descriptor : collectors()) {
    if (is_wanted(*descriptor, collect)) descriptors.push_back(descriptor);
  }
  return descriptors;
}

}  // namespace

Result<OnceResult> collect_once(const SchedulerContext& context,
                                const config::CollectSection& collect,
                                std::span<const std::string> names, Sink& sink) {
  auto descriptors = chosen(collect, names);
  if (!descriptors) return propagate(std::move(descriptors));
  const MetaFamilies meta = make_meta_families(context.registry);
  OnceResult result;
  for (const CollectorDescriptor* descriptor : *descriptors) {
    auto collector = make_collector(context, *descriptor, config_of(collect, descriptor->name));
    if (!collector) return propagate(std::move(collector));
    result.collectors.push_back(run_once(context, *descriptor, **collector, sink, meta));
    result.collectors.back().interval =
        interval_of(*descriptor, config_of(collect, descriptor->name), collect);
  }
  return result;
}

}  // namespace nexus::monitor
