// The vitals that ship inside the binary: recording rules over node_exporter's names, with unit and
// thresholds.
//
// A percentage of nothing is absent, never NaN. Counts that can only be whole have their thresholds
// between the whole numbers, so that extrapolation by `increase` does not matter. Throughputs and
// counts whose normal size depends on the host have thresholds above what a large one does for
// minutes on end: who knows the host sets nearer ones in a [[vital]] of that name. Windows of
// one minute become four collection intervals where that is longer (widen_windows). The same table,
// as comments, is in etc/agent.toml; a test keeps the two together.
#include <array>
#include <cmath>
#include <limits>

#include "nexus/base/text.hpp"
#include "nexus/config/load.hpp"

namespace nexus::config {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr std::string_view kShippedPlace = "shipped vitals";
constexpr double kMiB = 1 << 20;
constexpr double kGiB = 1 << 30;

struct ShippedVital {
  std::string_view name;
  std::string_view expr;
  std::string_view unit;
  std::string_view help;
  double warning = kNone;
  double critical = kNone;
  Direction direction = Direction::kAbove;
  double minimum = 0;
  double maximum = kNone;
  Millis pending = 0s;
  bool forecast = true;
  bool anomaly = true;
};

constexpr auto kShipped = std::to_array<ShippedVital>({
    // CPU
    {.name = "cpu_usage_percent",
     .expr =
         R"(100 * (1 - avg(sum by (cpu) (rate(node_cpu_seconds_total{mode=~"idle|iowait"}[1m])))))",
     .unit = "percent",
     .help = "Share of all processors that is not idle",
     .warning = 70,
     .critical = 90,
     .maximum = 100,
     .pending = 1min},
    {.name = "cpu_system_percent",
     .expr =
         R"(100 * avg(sum by (cpu) (rate(node_cpu_seconds_total{mode=~"system|irq|softirq"}[1m]))))",
     .unit = "percent",
     .help = "Share of all processors that the kernel uses",
     .warning = 40,
     .critical = 70,
     .maximum = 100,
     .pending = 2min},
    {.name = "cpu_softirq_percent",
     .expr = R"(100 * avg(rate(node_cpu_seconds_total{mode="softirq"}[1m])))",
     .unit = "percent",
     .help = "Share of all processors that serves software interrupts",
     .warning = 15,
     .critical = 30,
     .maximum = 100,
     .pending = 2min},
    {.name = "cpu_iowait_percent",
     .expr = R"(100 * avg(rate(node_cpu_seconds_total{mode="iowait"}[1m])))",
     .unit = "percent",
     .help = "Share of all processors that is idle because input or output is outstanding",
     .warning = 20,
     .critical = 40,
     .maximum = 100,
     .pending = 2min},
    {.name = "cpu_steal_percent",
     .expr = R"(100 * avg(rate(node_cpu_seconds_total{mode="steal"}[1m])))",
     .unit = "percent",
     .help = "Share of all processors that the hypervisor gave to others",
     .warning = 5,
     .critical = 20,
     .maximum = 100,
     .pending = 2min},
    {.name = "cpu_busiest_percent",
     .expr =
         R"(100 * (1 - min(sum by (cpu) (rate(node_cpu_seconds_total{mode=~"idle|iowait"}[1m])))))",
     .unit = "percent",
     .help = "Use of the busiest processor",
     .maximum = 100},
    {.name = "cpu_load_average",
     .expr = R"(node_load1)",
     .unit = "count",
     .help = "Load average over one minute; cpu_load_per_core relates it to the host",
     .warning = 512,
     .critical = 1024,
     .pending = 5min},
    {.name = "cpu_load_per_core",
     .expr = R"(sum(node_load1) / count(node_cpu_seconds_total{mode="idle"}))",
     .unit = "ratio",
     .help = "Load average over one minute for each processor",
     .warning = 2,
     .critical = 4,
     .pending = 2min},
    {.name = "context_switches_per_second",
     .expr = R"(rate(node_context_switches_total[1m]))",
     .unit = "per_second",
     .help = "Context switches"},
    {.name = "interrupts_per_second",
     .expr = R"(rate(node_intr_total[1m]))",
     .unit = "per_second",
     .help = "Interrupts served"},
    {.name = "forks_per_second",
     .expr = R"(rate(node_forks_total[1m]))",
     .unit = "per_second",
     .help = "Processes and threads begun"},
    // Memory
    {.name = "memory_usage_percent",
     .expr = R"(100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes))",
     .unit = "percent",
     .help = "Memory that cannot be had without swapping",
     .warning = 80,
     .critical = 95,
     .maximum = 100},
    {.name = "memory_available_bytes",
     .expr = R"(node_memory_MemAvailable_bytes)",
     .unit = "bytes",
     .help = "Memory that programs can have without swapping",
     .warning = 128 * kMiB,
     .critical = 64 * kMiB,
     .direction = Direction::kBelow},
    {.name = "memory_unreclaimable_percent",
     .expr = R"(100 * node_memory_SUnreclaim_bytes / node_memory_MemTotal_bytes)",
     .unit = "percent",
     .help = "Kernel memory that cannot be given back",
     .warning = 15,
     .critical = 30,
     .maximum = 100,
     .pending = 5min},
    {.name = "memory_dirty_bytes",
     .expr = R"(node_memory_Dirty_bytes + node_memory_Writeback_bytes)",
     .unit = "bytes",
     .help = "Memory that waits to be written to disk"},
    {.name = "swap_usage_percent",
     .expr = R"(100 * (1 - node_memory_SwapFree_bytes / (node_memory_SwapTotal_bytes > 0)))",
     .unit = "percent",
     .help = "Swap in use; absent on a host without swap",
     .warning = 50,
     .critical = 80,
     .maximum = 100},
    {.name = "swap_in_pages_per_second",
     .expr = R"(rate(node_vmstat_pswpin[1m]))",
     .unit = "pages_per_second",
     .help = "Pages read back from swap",
     .warning = 500,
     .critical = 5000,
     .pending = 2min},
    {.name = "swap_out_pages_per_second",
     .expr = R"(rate(node_vmstat_pswpout[1m]))",
     .unit = "pages_per_second",
     .help = "Pages written to swap",
     .warning = 500,
     .critical = 5000,
     .pending = 2min},
    {.name = "major_page_faults_per_second",
     .expr = R"(rate(node_vmstat_pgmajfault[1m]))",
     .unit = "per_second",
     .help = "Page faults that had to read from disk",
     .warning = 500,
     .critical = 2000,
     .pending = 2min},
    {.name = "oom_kills",
     .expr = R"(increase(node_vmstat_oom_kill[5m]))",
     .unit = "count",
     .help = "Processes killed for want of memory in the last 5 minutes",
     .warning = 0.5,
     .critical = 2.5,
     .forecast = false,
     .anomaly = false},
    // Pressure: the share of time in which something had to wait
    {.name = "pressure_cpu_some_percent",
     .expr = R"(100 * rate(node_pressure_cpu_waiting_seconds_total[1m]))",
     .unit = "percent",
     .help = "Share of time in which some tasks waited for a processor",
     .warning = 40,
     .critical = 80,
     .maximum = 100,
     .pending = 1min},
    {.name = "pressure_memory_some_percent",
     .expr = R"(100 * rate(node_pressure_memory_waiting_seconds_total[1m]))",
     .unit = "percent",
     .help = "Share of time in which some tasks waited for memory",
     .warning = 10,
     .critical = 30,
     .maximum = 100,
     .pending = 1min},
    {.name = "pressure_memory_full_percent",
     .expr = R"(100 * rate(node_pressure_memory_stalled_seconds_total[1m]))",
     .unit = "percent",
     .help = "Share of time in which all tasks waited for memory",
     .warning = 5,
     .critical = 20,
     .maximum = 100,
     .pending = 1min},
    {.name = "pressure_io_some_percent",
     .expr = R"(100 * rate(node_pressure_io_waiting_seconds_total[1m]))",
     .unit = "percent",
     .help = "Share of time in which some tasks waited for input or output",
     .warning = 40,
     .critical = 70,
     .maximum = 100,
     .pending = 1min},
    {.name = "pressure_io_full_percent",
     .expr = R"(100 * rate(node_pressure_io_stalled_seconds_total[1m]))",
     .unit = "percent",
     .help = "Share of time in which all tasks waited for input or output",
     .warning = 20,
     .critical = 50,
     .maximum = 100,
     .pending = 1min},
    // Filesystems: what is writable; images are always full
    {.name = "disk_usage_percent",
     .expr =
         R"(100 * (1 - node_filesystem_avail_bytes{fstype!~"iso9660|squashfs|erofs|udf|cramfs"} / (node_filesystem_size_bytes - node_filesystem_free_bytes + node_filesystem_avail_bytes > 0)) unless node_filesystem_readonly == 1)",
     .unit = "percent",
     .help = "Space in use, as df counts it",
     .warning = 80,
     .critical = 95,
     .maximum = 100},
    {.name = "disk_free_bytes",
     .expr =
         R"(node_filesystem_avail_bytes{fstype!~"iso9660|squashfs|erofs|udf|cramfs"} and node_filesystem_size_bytes > 0 unless node_filesystem_readonly == 1)",
     .unit = "bytes",
     .help = "Space that ordinary users can still have",
     // /run/lock has 5 MiB in all
     .warning = 4 * kMiB,
     .critical = kMiB,
     .direction = Direction::kBelow},
    {.name = "disk_inode_usage_percent",
     .expr =
         R"(100 * (1 - node_filesystem_files_free{fstype!~"iso9660|squashfs|erofs|udf|cramfs"} / (node_filesystem_files > 0)) unless node_filesystem_readonly == 1)",
     .unit = "percent",
     .help = "Inodes in use; absent where inodes are not limited",
     .warning = 80,
     .critical = 95,
     .maximum = 100},
    {.name = "filesystem_errors",
     .expr = R"(sum(node_filesystem_device_error))",
     .unit = "count",
     .help = "Filesystems that do not answer",
     .warning = 0.5,
     .critical = 1.5,
     .pending = 1min,
     .forecast = false,
     .anomaly = false},
    // Disks
    {.name = "disk_read_bytes_per_second",
     .expr = R"(rate(node_disk_read_bytes_total[1m]))",
     .unit = "bytes_per_second",
     .help = "Bytes read",
     .warning = 16 * kGiB,
     .critical = 64 * kGiB,
     .pending = 5min},
    {.name = "disk_write_bytes_per_second",
     .expr = R"(rate(node_disk_written_bytes_total[1m]))",
     .unit = "bytes_per_second",
     .help = "Bytes written",
     .warning = 16 * kGiB,
     .critical = 64 * kGiB,
     .pending = 5min},
    {.name = "disk_reads_per_second",
     .expr = R"(rate(node_disk_reads_completed_total[1m]))",
     .unit = "per_second",
     .help = "Reads completed"},
    {.name = "disk_writes_per_second",
     .expr = R"(rate(node_disk_writes_completed_total[1m]))",
     .unit = "per_second",
     .help = "Writes completed"},
    {.name = "disk_io_utilization_percent",
     .expr = R"(clamp_max(100 * rate(node_disk_io_time_seconds_total[1m]), 100))",
     .unit = "percent",
     .help = "Share of time in which the disk was busy",
     .warning = 80,
     .critical = 95,
     .maximum = 100,
     .pending = 5min},
    {.name = "disk_queue_length",
     .expr = R"(rate(node_disk_io_time_weighted_seconds_total[1m]))",
     .unit = "count",
     .help = "Requests that are outstanding on average",
     .warning = 20,
     .critical = 100,
     .pending = 5min},
    {.name = "disk_read_latency_seconds",
     .expr =
         R"(rate(node_disk_read_time_seconds_total[1m]) / clamp_min(rate(node_disk_reads_completed_total[1m]), 0.001))",
     .unit = "seconds",
     .help = "Mean time of a read; 0 without reads",
     .warning = 0.1,
     .critical = 0.5,
     .pending = 2min},
    {.name = "disk_write_latency_seconds",
     .expr =
         R"(rate(node_disk_write_time_seconds_total[1m]) / clamp_min(rate(node_disk_writes_completed_total[1m]), 0.001))",
     .unit = "seconds",
     .help = "Mean time of a write; 0 without writes",
     .warning = 0.2,
     .critical = 1,
     .pending = 2min},
    // Network: without loopback and the host's ends of containers
    {.name = "network_receive_bytes_per_second",
     .expr = R"(rate(node_network_receive_bytes_total{device!~"lo|veth.*"}[1m]))",
     .unit = "bytes_per_second",
     .help = "Bytes received",
     .warning = 16 * kGiB,
     .critical = 64 * kGiB,
     .pending = 5min},
    {.name = "network_transmit_bytes_per_second",
     .expr = R"(rate(node_network_transmit_bytes_total{device!~"lo|veth.*"}[1m]))",
     .unit = "bytes_per_second",
     .help = "Bytes sent",
     .warning = 16 * kGiB,
     .critical = 64 * kGiB,
     .pending = 5min},
    {.name = "network_receive_errors_per_second",
     .expr = R"(rate(node_network_receive_errs_total{device!~"lo|veth.*"}[1m]))",
     .unit = "per_second",
     .help = "Packets damaged while receiving",
     .warning = 1,
     .critical = 10,
     .pending = 2min},
    {.name = "network_transmit_errors_per_second",
     .expr = R"(rate(node_network_transmit_errs_total{device!~"lo|veth.*"}[1m]))",
     .unit = "per_second",
     .help = "Packets damaged while sending",
     .warning = 1,
     .critical = 10,
     .pending = 2min},
    {.name = "network_receive_drops_per_second",
     .expr = R"(rate(node_network_receive_drop_total{device!~"lo|veth.*"}[1m]))",
     .unit = "per_second",
     .help = "Packets dropped while receiving",
     .warning = 20,
     .critical = 200,
     .pending = 2min},
    {.name = "network_transmit_drops_per_second",
     .expr = R"(rate(node_network_transmit_drop_total{device!~"lo|veth.*"}[1m]))",
     .unit = "per_second",
     .help = "Packets dropped while sending",
     .warning = 20,
     .critical = 200,
     .pending = 2min},
    {.name = "tcp_sockets",
     .expr = R"(node_sockstat_TCP_inuse)",
     .unit = "count",
     .help = "TCP sockets in use"},
    {.name = "tcp_time_wait_sockets",
     .expr = R"(node_sockstat_TCP_tw)",
     .unit = "count",
     .help = "TCP sockets that wait for stray packets; they use up local ports",
     .warning = 20000,
     .critical = 28000,
     .pending = 1min},
    {.name = "tcp_orphan_sockets",
     .expr = R"(node_sockstat_TCP_orphan)",
     .unit = "count",
     .help = "TCP sockets that no process holds",
     .warning = 2000,
     .critical = 8000,
     .pending = 1min},
    {.name = "udp_sockets",
     .expr = R"(node_sockstat_UDP_inuse)",
     .unit = "count",
     .help = "UDP sockets in use"},
    // Files, processes, units
    {.name = "open_files_percent",
     .expr = R"(100 * node_filefd_allocated / node_filefd_maximum)",
     .unit = "percent",
     .help = "File handles in use, of what the kernel allows",
     .warning = 80,
     .critical = 95,
     .maximum = 100},
    {.name = "processes",
     .expr = R"(node_processes_pids)",
     .unit = "count",
     .help = "Processes",
     .warning = 20000,
     .critical = 30000,
     .pending = 5min},
    {.name = "threads",
     .expr = R"(node_processes_threads)",
     .unit = "count",
     .help = "Threads of all processes",
     .warning = 100000,
     .critical = 200000,
     .pending = 5min},
    {.name = "process_id_usage_percent",
     .expr = R"(100 * node_processes_threads / node_processes_max_processes)",
     .unit = "percent",
     .help = "Process ids in use",
     .warning = 80,
     .critical = 95,
     .maximum = 100},
    {.name = "processes_running",
     .expr = R"(node_procs_running)",
     .unit = "count",
     .help = "Threads that run or could run",
     .warning = 512,
     .critical = 1024,
     .pending = 5min},
    {.name = "processes_blocked",
     .expr = R"(node_procs_blocked)",
     .unit = "count",
     .help = "Threads that wait for input or output without being interruptible",
     .warning = 10,
     .critical = 50,
     .pending = 2min},
    {.name = "processes_zombie",
     .expr = R"(sum(node_processes_state{state="Z"}) or 0 * node_processes_pids)",
     .unit = "count",
     .help = "Processes that ended and whose parents have not taken notice",
     .warning = 20,
     .critical = 200,
     .pending = 5min},
    {.name = "systemd_failed_units",
     .expr = R"(sum(node_systemd_unit_state{state="failed"}))",
     .unit = "count",
     .help = "Units of systemd that failed",
     .warning = 0.5,
     .critical = 4.5,
     .forecast = false,
     .anomaly = false},
    {.name = "uptime_seconds",
     .expr = R"(node_time_seconds - node_boot_time_seconds)",
     .unit = "seconds",
     .help = "Time since the host was started",
     .forecast = false,
     .anomaly = false},
    // The agent itself
    {.name = "agent_cpu_percent",
     .expr = R"(100 * rate(process_cpu_seconds_total[1m]))",
     .unit = "percent",
     .help = "Processor time of the agent, of one core",
     .warning = 10,
     .critical = 50,
     .pending = 5min},
    {.name = "agent_resident_memory_bytes",
     .expr = R"(process_resident_memory_bytes)",
     .unit = "bytes",
     .help = "Memory that the agent holds",
     .warning = 256 * kMiB,
     .critical = 512 * kMiB,
     .pending = 1min},
    // From 80 on series that ended are forgotten early: more than that is in use.
    {.name = "agent_series_percent",
     .expr = R"(100 * nexus_series / nexus_series_limit)",
     .unit = "percent",
     .help = "Series that the agent knows, of collect.max_series; new ones are refused at 100",
     .warning = 85,
     .critical = 95,
     .maximum = 100,
     .pending = 5min},
    // What is seen of services from outside; there is none of these without [[scrape]] or
    // [[probe]].
    {.name = "scrape_availability_percent",
     .expr = R"(100 * avg_over_time(up[5m]))",
     .unit = "percent",
     .help = "Scrapes of a target that succeeded, of the last five minutes",
     .warning = 90,
     .critical = 50,
     .direction = Direction::kBelow,
     .maximum = 100,
     .pending = 1min},
    {.name = "probe_availability_percent",
     .expr = R"(100 * avg_over_time(probe_success[5m]))",
     .unit = "percent",
     .help = "Probes of a target that succeeded, of the last five minutes",
     .warning = 90,
     .critical = 50,
     .direction = Direction::kBelow,
     .maximum = 100,
     .pending = 1min},
    {.name = "probe_latency_seconds",
     .expr = R"(probe_duration_seconds)",
     .unit = "seconds",
     .help = "How long a probe of a target took",
     .warning = 2,
     .critical = 4.5,
     .pending = 2min},
    {.name = "tls_certificate_days_left",
     .expr = R"((probe_ssl_earliest_cert_expiry - time()) / 86400)",
     .unit = "days",
     .help = "Days until a certificate that a target shows expires",
     .warning = 14,
     .critical = 3,
     .direction = Direction::kBelow,
     .minimum = kNone,
     .pending = 1min,
     .anomaly = false},
});

std::optional<double> given(double value) {
  return std::isnan(value) ? std::nullopt : std::optional(value);
}

VitalConfig to_config(const ShippedVital& shipped) {
  const Where where{std::string(kShippedPlace), 0, 0};
  VitalConfig vital;
  vital.name = shipped.name;
  vital.expr = {std::string(shipped.expr), where};
  vital.unit = shipped.unit;
  vital.help = shipped.help;
  vital.warning = given(shipped.warning);
  vital.critical = given(shipped.critical);
  vital.direction = shipped.direction;
  vital.minimum = given(shipped.minimum);
  vital.maximum = given(shipped.maximum);
  vital.pending = shipped.pending;
  vital.forecast = shipped.forecast;
  vital.anomaly = shipped.anomaly;
  vital.where = where;
  return vital;
}

}  // namespace

const std::vector<VitalConfig>& default_vitals() {
  static const std::vector<VitalConfig> vitals = [] {
    std::vector<VitalConfig> all;
    all.reserve(kShipped.size());
    for (const auto& shipped : kShipped) all.push_back(to_config(shipped));
    return all;
  }();
  return vitals;
}

void widen_windows(std::vector<VitalConfig>& vitals, Millis interval) {
  constexpr std::string_view kWindow = "[1m]";
  if (4 * interval <= 1min) return;
  const std::string wider = "[" + base::format_duration(4 * interval) + "]";
  for (auto& vital : vitals) {
    if (vital.expr.where.file != kShippedPlace) continue;
    for (auto at = vital.expr.text.find(kWindow); at != std::string::npos;
         at = vital.expr.text.find(kWindow, at + wider.size())) {
      vital.expr.text.replace(at, kWindow.size(), wider);
    }
  }
}

}  // namespace nexus::config
