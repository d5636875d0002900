// containers: what every control group uses, and so every systemd unit, container and pod, with
// cAdvisor's metrics.
//
// Paths tell ids (workload.hpp). What only an engine or the Kubernetes API knows comes from the
// collectors that ask them: `name` and `image`, `namespace`, `pod` and `container`; until they have
// answered, `name` is the container's id. The network of a container, or of a pod as a whole, is
// that of one of its processes (container_network.hpp).
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <optional>
#include <tuple>

#include "monitor/cgroup_reader.hpp"
#include "monitor/collectors.hpp"
#include "monitor/container_network.hpp"
#include "monitor/families.hpp"
#include "monitor/name_filter.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"include", OptionType::kRegex, "''",
                     "Paths of control groups that are taken; all when empty."},
    OptionDescriptor{"exclude", OptionType::kRegex,
                     R"('\.(mount|swap|socket|device)$|/(supervisor|payload|init)$')",
                     "Paths that are left out; those below them are looked at all the same."},
    OptionDescriptor{"max_groups", OptionType::kInteger, "60",
                     "Never more control groups than these; the outer ones go first."},
};

using Stats = CgroupStats;

// Metrics that are one figure of a group. `device` and others follow below.
struct Plain {
  Stats::Figure figure;
  MetricDescriptor metric;
  // Of containers, pods and the host as a whole only: the units of a host would be as many series.
  bool is_detail = false;
};
constexpr std::array kPlain = {
    Plain{Stats::kCpuUser,
          {"container_cpu_user_seconds_total", MetricType::kCounter,
           "Cumulative user cpu time consumed in seconds."}},
    Plain{Stats::kCpuSystem,
          {"container_cpu_system_seconds_total", MetricType::kCounter,
           "Cumulative system cpu time consumed in seconds."}},
    Plain{Stats::kPeriods,
          {"container_cpu_cfs_periods_total", MetricType::kCounter,
           "Number of elapsed enforcement period intervals."}},
    Plain{Stats::kThrottledPeriods,
          {"container_cpu_cfs_throttled_periods_total", MetricType::kCounter,
           "Number of throttled period intervals."}},
    Plain{Stats::kThrottledSeconds,
          {"container_cpu_cfs_throttled_seconds_total", MetricType::kCounter,
           "Total time duration the container has been throttled."}},
    Plain{Stats::kCpuQuota,
          {"container_spec_cpu_quota", MetricType::kGauge, "CPU quota of the container."}},
    Plain{Stats::kCpuPeriod,
          {"container_spec_cpu_period", MetricType::kGauge, "CPU period of the container."}},
    Plain{Stats::kCpuShares,
          {"container_spec_cpu_shares", MetricType::kGauge, "CPU share of the container."}},
    Plain{Stats::kMemoryUsage,
          {"container_memory_usage_bytes", MetricType::kGauge,
           "Current memory usage in bytes, including all memory regardless of when it was "
           "accessed"}},
    Plain{Stats::kMemoryMax,
          {"container_memory_max_usage_bytes", MetricType::kGauge,
           "Maximum memory usage recorded in bytes"}},
    Plain{Stats::kMemoryLimit,
          {"container_spec_memory_limit_bytes", MetricType::kGauge,
           "Memory limit for the container."}},
    Plain{Stats::kMemoryReserved,
          {"container_spec_memory_reservation_limit_bytes", MetricType::kGauge,
           "Memory reservation limit for the container."}},
    Plain{Stats::kSwapLimit,
          {"container_spec_memory_swap_limit_bytes", MetricType::kGauge,
           "Memory swap limit for the container."}},
    Plain{Stats::kMemoryFailures,
          {"container_memory_failcnt", MetricType::kCounter, "Number of memory usage hits limits"}},
    Plain{Stats::kRss, {"container_memory_rss", MetricType::kGauge, "Size of RSS in bytes."}},
    Plain{Stats::kCache,
          {"container_memory_cache", MetricType::kGauge, "Number of bytes of page cache memory."}},
    Plain{Stats::kMapped,
          {"container_memory_mapped_file", MetricType::kGauge,
           "Size of memory mapped files in bytes."}},
    Plain{Stats::kSwap,
          {"container_memory_swap", MetricType::kGauge, "Container swap usage in bytes."}},
    Plain{Stats::kKernel,
          {"container_memory_kernel_usage", MetricType::kGauge,
           "Size of kernel memory allocated in bytes."}},
    Plain{Stats::kInactiveFile,
          {"container_memory_total_inactive_file_bytes", MetricType::kGauge,
           "Current total inactive file in bytes."}},
    Plain{Stats::kActiveFile,
          {"container_memory_total_active_file_bytes", MetricType::kGauge,
           "Current total active file in bytes."},
          true},
    Plain{Stats::kFileDirty,
          {"container_memory_file_dirty_bytes", MetricType::kGauge,
           "Number of bytes of file cache that are not yet written back to disk."},
          true},
    Plain{Stats::kFileWriteback,
          {"container_memory_file_writeback_bytes", MetricType::kGauge,
           "Number of bytes of file cache that are being written back to disk."},
          true},
    Plain{Stats::kPagesScanned,
          {"container_memory_pgscan_total", MetricType::kCounter,
           "Cumulative number of pages that were looked at for reclaim."},
          true},
    Plain{Stats::kPagesReclaimed,
          {"container_memory_pgsteal_total", MetricType::kCounter,
           "Cumulative number of pages that were reclaimed."},
          true},
    Plain{Stats::kRefaultsFile,
          {"container_memory_workingset_refault_file_total", MetricType::kCounter,
           "Cumulative number of refaults of file pages that had been evicted."},
          true},
    Plain{Stats::kRefaultsAnon,
          {"container_memory_workingset_refault_anon_total", MetricType::kCounter,
           "Cumulative number of refaults of anonymous pages that had been evicted."},
          true},
    Plain{Stats::kHighEvents,
          {"container_memory_events_high_total", MetricType::kCounter,
           "Cumulative number of times that the container was throttled at memory.high."},
          true},
    Plain{Stats::kMaxEvents,
          {"container_memory_events_max_total", MetricType::kCounter,
           "Cumulative number of times that the container met its limit memory.max."},
          true},
    Plain{Stats::kOomKills,
          {"container_oom_events_total", MetricType::kCounter,
           "Count of out of memory events observed for the container"}},
    Plain{Stats::kThreads,
          {"container_threads", MetricType::kGauge,
           "Number of threads running inside the container"}},
    Plain{Stats::kThreadsMax,
          {"container_threads_max", MetricType::kGauge,
           "Maximum number of threads allowed inside the container, infinity if value is zero"}},
    Plain{Stats::kCpuWaiting,
          {"container_pressure_cpu_waiting_seconds_total", MetricType::kCounter,
           "Total time duration tasks in the container have waited due to CPU congestion."}},
    Plain{Stats::kCpuStalled,
          {"container_pressure_cpu_stalled_seconds_total", MetricType::kCounter,
           "Total time duration no tasks in the container could make progress due to CPU "
           "congestion."}},
    Plain{Stats::kMemoryWaiting,
          {"container_pressure_memory_waiting_seconds_total", MetricType::kCounter,
           "Total time duration tasks in the container have waited due to memory congestion."}},
    Plain{Stats::kMemoryStalled,
          {"container_pressure_memory_stalled_seconds_total", MetricType::kCounter,
           "Total time duration no tasks in the container could make progress due to memory "
           "congestion."}},
    Plain{Stats::kIoWaiting,
          {"container_pressure_io_waiting_seconds_total", MetricType::kCounter,
           "Total time duration tasks in the container have waited due to IO congestion."}},
    Plain{Stats::kIoStalled,
          {"container_pressure_io_stalled_seconds_total", MetricType::kCounter,
           "Total time duration no tasks in the container could make progress due to IO "
           "congestion."}},
    Plain{Stats::kCreated,
          {"container_start_time_seconds", MetricType::kGauge,
           "Start time of the container since unix epoch in seconds."}},
};

enum Extra : std::size_t {
  kCpuTotal,
  kWorkingSet,
  kFailures,
  kReadBytes,
  kWriteBytes,
  kReads,
  kWrites,
  kDeviceUsage,
  kLastSeen,
  kReceived,
  kSent = kReceived + 4,
  kCores = kSent + 4,
  kMachineMemory,
  kGroups,
  kLeftOut,
};
constexpr std::array kExtras = {
    MetricDescriptor{"container_cpu_usage_seconds_total", MetricType::kCounter,
                     "Cumulative cpu time consumed in seconds."},
    MetricDescriptor{"container_memory_working_set_bytes", MetricType::kGauge,
                     "Current working set in bytes."},
    MetricDescriptor{"container_memory_failures_total", MetricType::kCounter,
                     "Cumulative count of memory allocation failures."},
    MetricDescriptor{"container_fs_reads_bytes_total", MetricType::kCounter,
                     "Cumulative count of bytes read"},
    MetricDescriptor{"container_fs_writes_bytes_total", MetricType::kCounter,
                     "Cumulative count of bytes written"},
    MetricDescriptor{"container_fs_reads_total", MetricType::kCounter,
                     "Cumulative count of reads completed"},
    MetricDescriptor{"container_fs_writes_total", MetricType::kCounter,
                     "Cumulative count of writes completed"},
    MetricDescriptor{"container_blkio_device_usage_total", MetricType::kCounter,
                     "Blkio device bytes usage, by operation: Read or Write."},
    MetricDescriptor{"container_last_seen", MetricType::kGauge,
                     "Last time a container was seen by the exporter"},
    MetricDescriptor{"container_network_receive_bytes_total", MetricType::kCounter,
                     "Cumulative count of bytes received"},
    MetricDescriptor{"container_network_receive_packets_total", MetricType::kCounter,
                     "Cumulative count of packets received"},
    MetricDescriptor{"container_network_receive_errors_total", MetricType::kCounter,
                     "Cumulative count of errors encountered while receiving"},
    MetricDescriptor{"container_network_receive_packets_dropped_total", MetricType::kCounter,
                     "Cumulative count of packets dropped while receiving"},
    MetricDescriptor{"container_network_transmit_bytes_total", MetricType::kCounter,
                     "Cumulative count of bytes transmitted"},
    MetricDescriptor{"container_network_transmit_packets_total", MetricType::kCounter,
                     "Cumulative count of packets transmitted"},
    MetricDescriptor{"container_network_transmit_errors_total", MetricType::kCounter,
                     "Cumulative count of errors encountered while transmitting"},
    MetricDescriptor{"container_network_transmit_packets_dropped_total", MetricType::kCounter,
                     "Cumulative count of packets dropped while transmitting"},
    MetricDescriptor{"machine_cpu_cores", MetricType::kGauge, "Number of logical CPU cores."},
    MetricDescriptor{"machine_memory_bytes", MetricType::kGauge,
                     "Amount of memory installed on the machine."},
    MetricDescriptor{"nexus_control_groups", MetricType::kGauge,
                     "Control groups that are measured."},
    MetricDescriptor{"nexus_control_groups_left_out", MetricType::kGauge,
                     "Control groups beyond max_groups, counted once for each hierarchy."},
};

static_assert(kLeftOut + 1 == kExtras.size());

constexpr auto kMetrics = [] {
  std::array<MetricDescriptor, kExtras.size() + kPlain.size()> all{};
  for (std::size_t i = 0; i < kExtras.size(); ++i) all[i] = kExtras[i];
  for (std::size_t i = 0; i < kPlain.size(); ++i) all[kExtras.size() + i] = kPlain[i].metric;
  return all;
}();

class ContainersCollector final : public Collector {
 public:
  ContainersCollector(const CollectorContext& context, NameFilter filter, std::size_t max_groups)
      : clock_(context.clock),
        observed_(context.observed),
        roots_(context.roots),
        block_(context.roots.sys("dev/block")),
        stat_(context.roots.proc("stat")),
        meminfo_(context.roots.proc("meminfo")),
        families_(families_of(context.registry, kMetrics)),
        filter_(std::move(filter)),
        reader_(context.roots, max_groups),
        network_(context.roots),
        accepts_([this](const std::string& path) { return filter_.accepts(path); }) {}

  Status collect(Sink& sink) override {
    if (Status done = reader_.run(accepts_, complaints_); !done) return done;
    now_ = static_cast<double>(base::to_unix_millis(clock_.wall()) / 1000);
    engine_ = kubernetes_ = nullptr;
    if (observed_ != nullptr) {
      engine_ = observed_->container_names(NameSource::kEngine);
      kubernetes_ = observed_->container_names(NameSource::kKubernetes);
    }
    find_networks();
    std::size_t groups = 0;
    reader_.for_each([&](const Stats& stats) {
      add(sink, stats);
      ++groups;
    });
    add_machine(sink);
    sink.add(families_[kGroups], static_cast<double>(groups));
    sink.add(families_[kLeftOut], static_cast<double>(reader_.left_out()));
    return complaints_.take();
  }

 private:
  // Empty labels are none: a plain group has its id only.
  using Names = std::array<LabelView, 8>;

  [[nodiscard]] static const ContainerName* find_name(
      const std::shared_ptr<const ContainerNames>& names, const std::string& id) {
    if (names == nullptr || id.empty()) return nullptr;
    const auto found = names->find(id);
    return found == names->end() ? nullptr : &found->second;
  }

  /// Views into what lives as long as the run.
  Names names_of(const Stats& stats) {
    static const ContainerName kNone;
    const Workload& workload = stats.workload;
    id_ = base::sanitize_utf8(stats.path);
    const ContainerName* const engine = find_name(engine_, workload.container);
    const ContainerName* orchestrator = find_name(kubernetes_, workload.container);
    if (orchestrator == nullptr) orchestrator = find_name(kubernetes_, workload.pod_uid);
    if (orchestrator == nullptr) orchestrator = engine;
    const ContainerName& pod = orchestrator != nullptr ? *orchestrator : kNone;
    const std::string& image = engine != nullptr ? engine->image : pod.image;
    return {LabelView{"container", pod.container},
            LabelView{"id", id_},
            LabelView{"image", image},
            LabelView{"name", engine != nullptr ? engine->name : workload.container},
            LabelView{"namespace", pod.name_space},
            LabelView{"pod", pod.pod},
            LabelView{"pod_uid", workload.pod_uid},
            LabelView{"unit", workload.unit}};
  }

  /// Whose network there is: pods as a whole, other containers, each once.
  void find_networks() {
    networks_.clear();
    reader_.for_each([this](const Stats& stats) {
      const std::string_view owner = network_owner(stats);
      if (owner.empty()) return;
      auto known = std::ranges::find(networks_, owner, &Network::owner);
      if (known == networks_.end()) {
        networks_.push_back({owner, 0, &stats});
        known = networks_.end() - 1;
      }
      if (known->pid == 0) known->pid = stats.pid;
    });
  }

  [[nodiscard]] static std::string_view network_owner(const Stats& stats) {
    return stats.workload.pod_uid.empty() ? stats.workload.container : stats.workload.pod_uid;
  }

  void add_network(Sink& sink, const Stats& stats, const Names& names) {
    const auto visit = [&](std::string_view interface, const InterfaceCounts& counts) {
      interface_ = base::sanitize_utf8(interface);
      for (std::size_t i = 0; i < InterfaceCounts::kCounts; ++i) {
        add(sink, static_cast<Extra>(kReceived + i), {"interface", interface_}, names,
            counts.received[i]);
        add(sink, static_cast<Extra>(kSent + i), {"interface", interface_}, names, counts.sent[i]);
      }
    };
    if (stats.path == "/") return network_.for_host(visit);
    const auto found = std::ranges::find(networks_, &stats, &Network::shown_at);
    if (found != networks_.end() && found->pid != 0) network_.for_process(found->pid, visit);
  }

  void add_machine(Sink& sink) {
    if (!machine_) {
      const auto line = [](const std::string& path) {
        const auto text = host::read_file(path);
        return text ? base::sanitize_utf8(base::trim(*text)) : std::string();
      };
      machine_.emplace(Machine{line(roots_.proc("sys/kernel/random/boot_id")),
                               line(roots_.root("/etc/machine-id")),
                               line(roots_.sys("class/dmi/id/product_uuid"))});
      if (machine_->uuid.empty()) machine_->uuid = machine_->id;  // as cAdvisor
    }
    const std::array labels = {LabelView{"boot_id", machine_->boot},
                               LabelView{"machine_id", machine_->id},
                               LabelView{"system_uuid", machine_->uuid}};
    if (const auto text = buffer_.read(stat_))
      sink.add(families_[kCores], labels, count_processors(*text));
    const auto memory = buffer_.read(meminfo_);
    if (const auto total = memory ? total_memory(*memory) : std::nullopt)
      sink.add(families_[kMachineMemory], labels, *total);
  }

  static double count_processors(std::string_view text) {
    double count = 0;
    while (!text.empty()) {
      const std::string_view line = base::take_until(text, '\n');
      if (line.starts_with("cpu") && line.size() > 3 && line[3] >= '0' && line[3] <= '9') ++count;
    }
    return count;
  }

  static std::optional<double> total_memory(std::string_view text) {
    std::string_view line = base::take_until(text, '\n');  // MemTotal:  16316412 kB
    if (next_word(line) != "MemTotal:") return std::nullopt;
    const auto kilobytes = base::parse_uint(next_word(line));
    if (!kilobytes) return std::nullopt;
    return static_cast<double>(*kilobytes) * 1024;
  }

  void add(Sink& sink, const Stats& stats) {
    const Names names = names_of(stats);
    sink.add(families_[kLastSeen], names, now_);
    add_network(sink, stats, names);
    if (stats.has(Stats::kCpuUsage))
      add(sink, kCpuTotal, {"cpu", "total"}, names, stats.figures[Stats::kCpuUsage]);
    if (stats.has(Stats::kMemoryUsage) && stats.has(Stats::kInactiveFile)) {
      const double working =
          stats.figures[Stats::kMemoryUsage] - stats.figures[Stats::kInactiveFile];
      sink.add(families_[kWorkingSet], names, std::max(working, 0.0));
    }
    if (stats.has(Stats::kMinorFaults)) {
      add_failures(sink, "pgfault", names, stats.figures[Stats::kMinorFaults]);
      add_failures(sink, "pgmajfault", names, stats.figures[Stats::kMajorFaults]);
    }
    const bool in_detail = stats.path == "/" || !network_owner(stats).empty();
    for (const Stats::Device& device : stats.devices) add_device(sink, device, names, in_detail);
    for (std::size_t i = 0; i < kPlain.size(); ++i) {
      if (stats.has(kPlain[i].figure) && (in_detail || !kPlain[i].is_detail))
        sink.add(families_[kExtras.size() + i], names, stats.figures[kPlain[i].figure]);
    }
  }

  void add(Sink& sink, Extra metric, LabelView first, const Names& names, double value) {
    std::array<LabelView, 1 + std::tuple_size_v<Names>> labels{first};
    std::ranges::copy(names, labels.begin() + 1);
    sink.add(families_[metric], labels, value);
  }

  /// The same in both scopes, as cAdvisor has it: the kernel counts for the group and all below.
  void add_failures(Sink& sink, std::string_view type, const Names& names, double value) {
    if (std::isnan(value)) return;
    for (const std::string_view scope : {"container", "hierarchy"}) {
      std::array<LabelView, 2 + std::tuple_size_v<Names>> labels{LabelView{"failure_type", type},
                                                                 LabelView{"scope", scope}};
      std::ranges::copy(names, labels.begin() + 2);
      sink.add(families_[kFailures], labels, value);
    }
  }

  void add_device_usage(Sink& sink, const Stats::Device& device, const Names& names) {
    const std::string& name = device_name(device.major, device.minor);
    const std::string major = std::to_string(device.major);
    const std::string minor = std::to_string(device.minor);
    for (const bool is_read : {true, false}) {
      std::array<LabelView, 4 + std::tuple_size_v<Names>> labels{
          LabelView{"device", name}, LabelView{"major", major}, LabelView{"minor", minor},
          LabelView{"operation", is_read ? "Read" : "Write"}};
      std::ranges::copy(names, labels.begin() + 4);
      sink.add(families_[kDeviceUsage], labels, is_read ? device.read_bytes : device.write_bytes);
    }
  }

  void add_device(Sink& sink, const Stats::Device& device, const Names& names, bool in_detail) {
    if (in_detail) add_device_usage(sink, device, names);
    const LabelView name{"device", device_name(device.major, device.minor)};
    add(sink, kReadBytes, name, names, device.read_bytes);
    add(sink, kWriteBytes, name, names, device.write_bytes);
    add(sink, kReads, name, names, device.reads);
    add(sink, kWrites, name, names, device.writes);
  }

  /// "/dev/sda", or its numbers where sysfs does not know it.
  const std::string& device_name(std::uint32_t major, std::uint32_t minor) {
    const std::uint64_t key = (static_cast<std::uint64_t>(major) << 32) | minor;
    const auto found = device_names_.find(key);
    if (found != device_names_.end()) return found->second;
    if (device_names_.size() > 4096) device_names_.clear();
    const std::string numbers = fmt::format("{}:{}", major, minor);
    std::array<char, 512> target{};
    const ssize_t size = ::readlink((block_ + "/" + numbers).c_str(), target.data(), target.size());
    std::string name = numbers;
    if (size > 0) {
      const std::string_view path(target.data(), static_cast<std::size_t>(size));
      name = "/dev/" + base::sanitize_utf8(path.substr(path.rfind('/') + 1));
    }
    return device_names_.emplace(key, std::move(name)).first->second;
  }

  struct Network {
    std::string_view owner;  // a pod's uid or a container's id
    std::int32_t pid = 0;
    const Stats* shown_at = nullptr;  // its outermost group
  };
  struct Machine {
    std::string boot;
    std::string id;
    std::string uuid;
  };

  Clock& clock_;
  Observed* const observed_;
  const host::Roots roots_;
  const std::string block_;
  const std::string stat_;
  const std::string meminfo_;
  const std::array<FamilyId, kMetrics.size()> families_;
  const NameFilter filter_;
  CgroupReader reader_;
  ContainerNetwork network_;
  const std::function<bool(const std::string&)> accepts_;
  std::unordered_map<std::uint64_t, std::string> device_names_;
  std::optional<Machine> machine_;
  host::FileBuffer buffer_;
  // Of one run:
  double now_ = 0;
  std::shared_ptr<const ContainerNames> engine_;
  std::shared_ptr<const ContainerNames> kubernetes_;
  std::vector<Network> networks_;
  std::string id_;
  std::string interface_;
  Complaints complaints_;
};

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  auto filter = NameFilter::make(option_string(context, kContainersCollector, "include"),
                                 option_string(context, kContainersCollector, "exclude"));
  if (!filter) return propagate(std::move(filter));
  const std::int64_t max_groups = option_integer(context, kContainersCollector, "max_groups");
  if (max_groups < 1 || max_groups > 10'000)
    return fail(Errc::kInvalidArgument, "max_groups: expected 1 to 10000, not {}", max_groups);
  return std::make_unique<ContainersCollector>(context, std::move(*filter),
                                               static_cast<std::size_t>(max_groups));
}

}  // namespace

const CollectorDescriptor kContainersCollector = {
    .name = "containers",
    .help = "Control groups: units, containers and pods, as cAdvisor has them.",
    .default_interval = Millis(10'000),  // some ten files a group
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
