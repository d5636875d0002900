// process_groups: processes by name (or unit, container, user, pattern), with process-exporter's
// metrics, and the table of all processes for the other rooms.
//
// One pass over /proc (process_scan.hpp), counters that only grow (process_groups.hpp). The
// collectors `processes` and `connections` use the table instead of reading the same files again.
#include "monitor/process_groups.hpp"

#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/process_threads.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"by", OptionType::kString, "'executable'",
                     "What a group is named by: executable, unit, container, pod or user; several, "
                     "separated by commas, are joined by a slash."},
    OptionDescriptor{"patterns", OptionType::kStrings, "[]",
                     "NAME=REGEX over the command line, tried in order before `by`; NAME may hold "
                     "\\1. Such groups are always shown."},
    OptionDescriptor{"top", OptionType::kInteger, "10",
                     "Groups that are shown: the first ones by processor, by memory and by I/O, "
                     "each. All others are the group \"(other)\"."},
    OptionDescriptor{"max_groups", OptionType::kInteger, "50",
                     "Never more groups than these are shown."},
    OptionDescriptor{"processes", OptionType::kInteger, "0",
                     "Also the first processes by processor, by memory and by I/O, each by its "
                     "pid. Every pid is a new series."},
    OptionDescriptor{"threads", OptionType::kBool, "false",
                     "Also the threads of the groups that are shown, by their names: four files a "
                     "thread."},
    OptionDescriptor{"kernel_threads", OptionType::kBool, "false",
                     "Also the threads of the kernel."},
    OptionDescriptor{"smaps", OptionType::kBool, "false",
                     "Also proportional memory (PSS), read in turn: each process once in 64 runs, "
                     "as it walks the page tables."},
};

enum Metric : std::size_t {
  kProcs,
  kCpu,
  kReadBytes,
  kWriteBytes,
  kMajorFaults,
  kMinorFaults,
  kSwitches,
  kMemory,
  kOpenFiles,
  kWorstFiles,
  kOldest,
  kThreads,
  kStates,
  kPartialErrors,
  kVanished,
  kGroupCount,
  kRefused,
  kProcessCpu,
  kProcessMemory,
  kProcessIo,
  kScrapeErrors,
  kReadErrors,
  kThreadCount,
  kThreadCpu,
  kThreadIo,
  kThreadMajorFaults,
  kThreadMinorFaults,
  kThreadSwitches,
  kThreadWaits,
  kThreadsLeftOut,
};

constexpr std::array kMetrics = {
    MetricDescriptor{"namedprocess_namegroup_num_procs", MetricType::kGauge,
                     "number of processes in this group"},
    MetricDescriptor{"namedprocess_namegroup_cpu_seconds_total", MetricType::kCounter,
                     "Cpu user usage in seconds"},
    MetricDescriptor{"namedprocess_namegroup_read_bytes_total", MetricType::kCounter,
                     "number of bytes read by this group"},
    MetricDescriptor{"namedprocess_namegroup_write_bytes_total", MetricType::kCounter,
                     "number of bytes written by this group"},
    MetricDescriptor{"namedprocess_namegroup_major_page_faults_total", MetricType::kCounter,
                     "Major page faults"},
    MetricDescriptor{"namedprocess_namegroup_minor_page_faults_total", MetricType::kCounter,
                     "Minor page faults"},
    MetricDescriptor{"namedprocess_namegroup_context_switches_total", MetricType::kCounter,
                     "Context switches"},
    MetricDescriptor{"namedprocess_namegroup_memory_bytes", MetricType::kGauge,
                     "number of bytes of memory in use"},
    MetricDescriptor{"namedprocess_namegroup_open_filedesc", MetricType::kGauge,
                     "number of open file descriptors for this group"},
    MetricDescriptor{"namedprocess_namegroup_worst_fd_ratio", MetricType::kGauge,
                     "the worst (closest to 1) ratio between open fds and max fds among all procs "
                     "in this group"},
    MetricDescriptor{"namedprocess_namegroup_oldest_start_time_seconds", MetricType::kGauge,
                     "start time in seconds since 1970/01/01 of oldest process in group"},
    MetricDescriptor{"namedprocess_namegroup_num_threads", MetricType::kGauge, "Number of threads"},
    MetricDescriptor{"namedprocess_namegroup_states", MetricType::kGauge,
                     "Number of processes in states Running, Sleeping, Waiting, Zombie, or Other"},
    MetricDescriptor{"namedprocess_scrape_partial_errors", MetricType::kCounter,
                     "incremented each time a tracked proc's metrics collection fails partially, "
                     "e.g. unreadable I/O stats"},
    MetricDescriptor{"nexus_process_groups_vanished_total", MetricType::kCounter,
                     "Processes that ended while they were being read."},
    MetricDescriptor{"nexus_process_groups", MetricType::kGauge,
                     "Groups of processes that are told apart; those that are not shown are in "
                     "\"(other)\"."},
    MetricDescriptor{"nexus_process_groups_refused_total", MetricType::kCounter,
                     "Processes that got no group of their own, for there were too many groups or "
                     "processes."},
    MetricDescriptor{"nexus_process_cpu_ratio", MetricType::kGauge,
                     "Processors that one of the first processes uses."},
    MetricDescriptor{"nexus_process_resident_bytes", MetricType::kGauge,
                     "Resident memory of one of the first processes."},
    MetricDescriptor{"nexus_process_io_bytes_per_second", MetricType::kGauge,
                     "Bytes that one of the first processes reads and writes a second."},
    MetricDescriptor{"namedprocess_scrape_errors", MetricType::kCounter,
                     "general scrape errors: no proc metrics collected during a cycle"},
    MetricDescriptor{"namedprocess_scrape_procread_errors", MetricType::kCounter,
                     "incremented each time a proc's metrics collection fails"},
    MetricDescriptor{"namedprocess_namegroup_thread_count", MetricType::kGauge,
                     "Number of threads in this group with same threadname"},
    MetricDescriptor{"namedprocess_namegroup_thread_cpu_seconds_total", MetricType::kCounter,
                     "Cpu user/system usage in seconds"},
    MetricDescriptor{"namedprocess_namegroup_thread_io_bytes_total", MetricType::kCounter,
                     "number of bytes read/written by these threads"},
    MetricDescriptor{"namedprocess_namegroup_thread_major_page_faults_total", MetricType::kCounter,
                     "Major page faults for these threads"},
    MetricDescriptor{"namedprocess_namegroup_thread_minor_page_faults_total", MetricType::kCounter,
                     "Minor page faults for these threads"},
    MetricDescriptor{"namedprocess_namegroup_thread_context_switches_total", MetricType::kCounter,
                     "Context switches for these threads"},
    MetricDescriptor{"namedprocess_namegroup_threads_wchan", MetricType::kGauge,
                     "Number of threads in this group waiting on each wchan"},
    MetricDescriptor{"nexus_process_threads_left_out", MetricType::kGauge,
                     "Threads beyond the limit, in the last run."},
};

constexpr std::array<std::string_view, ProcessGroup::kStates> kStateNames = {
    "Running", "Sleeping", "Waiting", "Zombie", "Other"};

double number(std::uint64_t value) {
  return static_cast<double>(value);
}

class ProcessGroupsCollector final : public Collector {
 public:
  ProcessGroupsCollector(const CollectorContext& context, ProcessGroups::Options options)
      : clock_(context.clock),
        observed_(context.observed),
        shows_proportional_(option_bool(context, kProcessGroupsCollector, "smaps")),
        shown_processes_(static_cast<std::size_t>(
            option_integer(context, kProcessGroupsCollector, "processes"))),
        families_(families_of(context.registry, kMetrics)),
        scan_(context, {.proportional = shows_proportional_}),
        groups_(context.roots, scan_, std::move(options)) {
    if (option_bool(context, kProcessGroupsCollector, "threads"))
      threads_.emplace(context.roots.procfs);
  }

  Status collect(Sink& sink) override {
    groups_.start_pass();
    if (Status done = scan_.run(groups_, complaints_); !done) {
      sink.add(families_[kScrapeErrors], number(++failures_));
      return done;
    }
    groups_.finish_pass(clock_.steady());
    refused_ += scan_.left_out();
    groups_.for_each_shown([&](const ProcessGroup& group) { add_group(sink, group); });
    sink.add(families_[kPartialErrors], number(scan_.unreadable()));
    sink.add(families_[kScrapeErrors], number(failures_));
    sink.add(families_[kReadErrors], number(scan_.vanished()));
    sink.add(families_[kVanished], number(scan_.vanished()));
    sink.add(families_[kGroupCount], number(groups_.size()));
    sink.add(families_[kRefused], number(groups_.refused() + refused_));
    if (shown_processes_ > 0) add_processes(sink);
    if (threads_) add_threads(sink);
    if (observed_ != nullptr) publish();
    return complaints_.take();
  }

 private:
  void add_group(Sink& sink, const ProcessGroup& group) {
    const LabelView name{"groupname", group.name};
    const auto add = [&](Metric metric, double value) {
      sink.add(families_[metric], {name}, value);
    };
    const auto add_by = [&](Metric metric, std::string_view label, std::string_view kind,
                            double value) {
      sink.add(families_[metric], {{label, kind}, name}, value);
    };
    const Usage& total = group.total;
    add(kProcs, group.processes);
    add_by(kCpu, "mode", "user", number(total.user) / ticks_);
    add_by(kCpu, "mode", "system", number(total.system) / ticks_);
    add(kReadBytes, number(total.read_bytes));
    add(kWriteBytes, number(total.write_bytes));
    add(kMajorFaults, number(total.major_faults));
    add(kMinorFaults, number(total.minor_faults));
    add_by(kSwitches, "ctxswitchtype", "voluntary", number(total.voluntary));
    add_by(kSwitches, "ctxswitchtype", "nonvoluntary", number(total.nonvoluntary));
    add_by(kMemory, "memtype", "resident", number(group.resident));
    add_by(kMemory, "memtype", "virtual", number(group.virtual_bytes));
    add_by(kMemory, "memtype", "swapped", number(group.swapped));
    if (shows_proportional_) {
      add_by(kMemory, "memtype", "proportionalResident", number(group.proportional));
      add_by(kMemory, "memtype", "proportionalSwapped", number(group.proportional_swap));
    }
    add(kOpenFiles, number(group.open_files));
    add(kWorstFiles, group.worst_files);
    if (group.processes > 0) add(kOldest, group.oldest_start);
    add(kThreads, number(group.threads));
    for (std::size_t i = 0; i < kStateNames.size(); ++i)
      add_by(kStates, "state", kStateNames[i], group.states[i]);
  }

  void add_threads(Sink& sink) {
    threads_->start_pass();
    for (const ProcessRecord& process : scan_.processes()) {
      if (const ProcessGroup* group = groups_.shown_group(process))
        threads_->add(group->name, process.pid);
    }
    threads_->finish_pass();
    for (const auto& [key, named] : threads_->named()) {
      const LabelView group{"groupname", key.first};
      const LabelView name{"threadname", key.second};
      const auto add = [&](Metric metric, std::uint64_t value) {
        sink.add(families_[metric], {group, name}, number(value));
      };
      const auto add_by = [&](Metric metric, LabelView kind, double value) {
        sink.add(families_[metric], {kind, group, name}, value);
      };
      const Usage& total = named.total;
      add(kThreadCount, named.threads);
      add_by(kThreadCpu, {"mode", "user"}, number(total.user) / ticks_);
      add_by(kThreadCpu, {"mode", "system"}, number(total.system) / ticks_);
      add_by(kThreadIo, {"iomode", "read"}, number(total.read_bytes));
      add_by(kThreadIo, {"iomode", "write"}, number(total.write_bytes));
      add(kThreadMajorFaults, total.major_faults);
      add(kThreadMinorFaults, total.minor_faults);
      add_by(kThreadSwitches, {"ctxswitchtype", "voluntary"}, number(total.voluntary));
      add_by(kThreadSwitches, {"ctxswitchtype", "nonvoluntary"}, number(total.nonvoluntary));
    }
    for (const auto& [key, count] : threads_->waiting())
      sink.add(families_[kThreadWaits], {{"groupname", key.first}, {"wchan", key.second}}, count);
    sink.add(families_[kThreadsLeftOut], number(threads_->left_out()));
  }

  template <typename Score>
  void add_first(Sink& sink, Metric metric, Score&& score) {
    const auto processes = scan_.processes();
    order_.clear();
    for (std::uint32_t i = 0; i < processes.size(); ++i) {
      const double value = static_cast<double>(score(processes[i]));
      if (value > 0) order_.emplace_back(value, i);
    }
    const auto first = static_cast<std::ptrdiff_t>(std::min(shown_processes_, order_.size()));
    std::partial_sort(order_.begin(), order_.begin() + first, order_.end(), std::greater<>());
    for (std::ptrdiff_t i = 0; i < first; ++i) {
      const auto& [value, place] = order_[static_cast<std::size_t>(i)];
      const ProcessRecord& process = processes[place];
      pid_ = std::to_string(process.pid);
      const std::string name = base::sanitize_utf8(process.name());
      sink.add(families_[metric],
               {{"executable", name},
                {"pid", pid_},
                {"unit", process.workload ? process.workload->unit : ""}},
               value);
    }
  }

  void add_processes(Sink& sink) {
    add_first(sink, kProcessCpu, [](const ProcessRecord& p) { return p.cpu; });
    add_first(sink, kProcessMemory, [](const ProcessRecord& p) { return p.resident; });
    add_first(sink, kProcessIo, [](const ProcessRecord& p) { return p.io; });
  }

  void publish() {
    const auto made = std::make_shared<ProcessTable>();
    ProcessTable& table = *made;
    table.time = clock_.wall();
    table.left_out = scan_.left_out();
    table.processes.reserve(scan_.processes().size());
    for (const ProcessRecord& process : scan_.processes()) {
      table.processes.push_back({.pid = process.pid,
                                 .parent = process.parent,
                                 .state = process.state,
                                 .kernel = process.kernel,
                                 .uid = process.uid,
                                 .threads = process.threads,
                                 .open_files = process.open_files,
                                 .comm = process.comm,
                                 .started = scan_.started(process),
                                 .cpu = process.cpu,
                                 .resident = process.resident,
                                 .swapped = process.swapped,
                                 .io = process.io,
                                 .workload = process.workload});
    }
    observed_->publish(std::shared_ptr<const ProcessTable>(made));
  }

  Clock& clock_;
  Observed* const observed_;
  const bool shows_proportional_;
  const std::size_t shown_processes_;
  const double ticks_ = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const std::array<FamilyId, kMetrics.size()> families_;
  ProcessScan scan_;
  ProcessGroups groups_;
  std::optional<ProcessThreads> threads_;  // when it is wanted
  Complaints complaints_;
  std::uint64_t failures_ = 0;
  std::uint64_t refused_ = 0;
  std::vector<std::pair<double, std::uint32_t>> order_;
  std::string pid_;
};

Result<std::size_t> count_option(const CollectorContext& context, std::string_view name,
                                 std::int64_t most) {
  const std::int64_t value = option_integer(context, kProcessGroupsCollector, name);
  if (value < 0 || value > most)
    return fail(Errc::kInvalidArgument, "{}: expected 0 to {}, not {}", name, most, value);
  return static_cast<std::size_t>(value);
}

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  ProcessGroups::Options options;
  auto by = parse_group_by(option_string(context, kProcessGroupsCollector, "by"));
  if (!by) return propagate(std::move(by));
  options.by = std::move(*by);
  for (const std::string& text : option_strings(context, kProcessGroupsCollector, "patterns")) {
    auto pattern = parse_group_pattern(text);
    if (!pattern) return propagate(std::move(pattern));
    options.patterns.push_back(std::move(*pattern));
  }
  const auto top = count_option(context, "top", 1000);
  const auto max_groups = count_option(context, "max_groups", 1000);
  const auto processes = count_option(context, "processes", 100);
  for (const auto* count : {&top, &max_groups, &processes}) {
    if (!*count) return std::unexpected(count->error());
  }
  options.top = *top;
  options.max_groups = *max_groups;
  options.kernel_threads = option_bool(context, kProcessGroupsCollector, "kernel_threads");
  return std::make_unique<ProcessGroupsCollector>(context, std::move(options));
}

}  // namespace

const CollectorDescriptor kProcessGroupsCollector = {
    .name = "process_groups",
    .help = "Processes by name, unit, container, user or pattern, as process-exporter has them.",
    .default_interval = Millis(10'000),  // a file or more for every process that ran
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
