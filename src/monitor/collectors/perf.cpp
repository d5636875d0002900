// perf: hardware, software and cache events of every CPU, by perf_event_open(2).
//
// no_data where it is not permitted (perf_event_paranoid, no CAP_PERFMON); an event that this
// processor does not have, as in most virtual machines, is left out. Counts are scaled up when the
// kernel had to share a hardware counter.
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "monitor/tcp_sockets.hpp"
#include "nexus/host/fd.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

constexpr std::uint64_t cache(std::uint64_t unit, std::uint64_t operation, std::uint64_t result) {
  return unit | (operation << 8) | (result << 16);
}

struct Event {
  std::uint32_t type;
  std::uint64_t config;
  MetricDescriptor metric;
};
constexpr auto kRead = PERF_COUNT_HW_CACHE_OP_READ;
constexpr auto kWrite = PERF_COUNT_HW_CACHE_OP_WRITE;
constexpr auto kHit = PERF_COUNT_HW_CACHE_RESULT_ACCESS;
constexpr auto kMiss = PERF_COUNT_HW_CACHE_RESULT_MISS;

constexpr Event event(std::uint32_t type, std::uint64_t config, std::string_view name,
                      std::string_view help) {
  return {type, config, {name, MetricType::kCounter, help}};
}
constexpr std::array kEvents = {
    event(PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES, "node_perf_cpucycles_total",
          "Number of CPU cycles (frequency scaled)"),
    event(PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS, "node_perf_instructions_total",
          "Number of CPU instructions"),
    event(PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_INSTRUCTIONS,
          "node_perf_branch_instructions_total", "Number of CPU branch instructions"),
    event(PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_MISSES, "node_perf_branch_misses_total",
          "Number of CPU branch misses"),
    event(PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_REFERENCES, "node_perf_cache_refs_total",
          "Number of cache references (non frequency scaled)"),
    event(PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES, "node_perf_cache_misses_total",
          "Number of cache misses"),
    event(PERF_TYPE_HARDWARE, PERF_COUNT_HW_REF_CPU_CYCLES, "node_perf_ref_cpucycles_total",
          "Number of CPU cycles"),
    event(PERF_TYPE_HARDWARE, PERF_COUNT_HW_STALLED_CYCLES_BACKEND,
          "node_perf_stalled_cycles_backend_total", "Number of stalled backend CPU cycles"),
    event(PERF_TYPE_HARDWARE, PERF_COUNT_HW_STALLED_CYCLES_FRONTEND,
          "node_perf_stalled_cycles_frontend_total", "Number of stalled frontend CPU cycles"),
    event(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS, "node_perf_page_faults_total",
          "Number of page faults"),
    event(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CONTEXT_SWITCHES, "node_perf_context_switches_total",
          "Number of context switches"),
    event(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_MIGRATIONS, "node_perf_cpu_migrations_total",
          "Number of CPU process migrations"),
    event(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MIN, "node_perf_minor_faults_total",
          "Number of minor page faults"),
    event(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MAJ, "node_perf_major_faults_total",
          "Number of major page faults"),
    event(PERF_TYPE_HW_CACHE, cache(PERF_COUNT_HW_CACHE_L1D, kRead, kHit),
          "node_perf_cache_l1d_read_hits_total", "Number L1 data cache read hits"),
    event(PERF_TYPE_HW_CACHE, cache(PERF_COUNT_HW_CACHE_L1D, kRead, kMiss),
          "node_perf_cache_l1d_read_misses_total", "Number L1 data cache read misses"),
    event(PERF_TYPE_HW_CACHE, cache(PERF_COUNT_HW_CACHE_L1D, kWrite, kHit),
          "node_perf_cache_l1d_write_hits_total", "Number L1 data cache write hits"),
    event(PERF_TYPE_HW_CACHE, cache(PERF_COUNT_HW_CACHE_L1I, kRead, kMiss),
          "node_perf_cache_l1_instr_read_misses_total",
          "Number instruction L1 instruction read misses"),
    event(PERF_TYPE_HW_CACHE, cache(PERF_COUNT_HW_CACHE_ITLB, kRead, kHit),
          "node_perf_cache_tlb_instr_read_hits_total", "Number instruction TLB read hits"),
    event(PERF_TYPE_HW_CACHE, cache(PERF_COUNT_HW_CACHE_ITLB, kRead, kMiss),
          "node_perf_cache_tlb_instr_read_misses_total", "Number instruction TLB read misses"),
    event(PERF_TYPE_HW_CACHE, cache(PERF_COUNT_HW_CACHE_LL, kRead, kHit),
          "node_perf_cache_ll_read_hits_total", "Number last level read hits"),
    event(PERF_TYPE_HW_CACHE, cache(PERF_COUNT_HW_CACHE_LL, kRead, kMiss),
          "node_perf_cache_ll_read_misses_total", "Number last level read misses"),
    event(PERF_TYPE_HW_CACHE, cache(PERF_COUNT_HW_CACHE_LL, kWrite, kHit),
          "node_perf_cache_ll_write_hits_total", "Number last level write hits"),
    event(PERF_TYPE_HW_CACHE, cache(PERF_COUNT_HW_CACHE_LL, kWrite, kMiss),
          "node_perf_cache_ll_write_misses_total", "Number last level write misses"),
    event(PERF_TYPE_HW_CACHE, cache(PERF_COUNT_HW_CACHE_BPU, kRead, kHit),
          "node_perf_cache_bpu_read_hits_total", "Number BPU read hits"),
    event(PERF_TYPE_HW_CACHE, cache(PERF_COUNT_HW_CACHE_BPU, kRead, kMiss),
          "node_perf_cache_bpu_read_misses_total", "Number BPU read misses"),
};

constexpr auto kMetrics = [] {
  std::array<MetricDescriptor, kEvents.size()> all{};
  for (std::size_t i = 0; i < kEvents.size(); ++i) all[i] = kEvents[i].metric;
  return all;
}();

constexpr int kMaxCpus = 1024;

struct Open {
  std::size_t event = 0;
  std::string cpu;
  host::Fd fd;
};

class PerfCollector final : public Collector {
 public:
  explicit PerfCollector(const CollectorContext& context)
      : is_live_(is_live(context.roots)),
        online_(context.roots.sys("devices/system/cpu/online")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    if (!is_live_) return fail(Errc::kNotFound, "this is not the processor of this host");
    if (open_.empty()) {
      if (Status opened = open_all(); !opened) return opened;
    }
    for (const Open& counter : open_) {
      std::array<std::uint64_t, 3> values{};  // count, time enabled, time running
      if (::read(counter.fd.get(), values.data(), sizeof values) !=
          static_cast<ssize_t>(sizeof values))
        continue;  // its CPU went offline
      double count = static_cast<double>(values[0]);
      if (values[2] > 0 && values[2] < values[1])
        count *= static_cast<double>(values[1]) / static_cast<double>(values[2]);
      sink.add(families_[counter.event], {{"cpu", counter.cpu}}, count);
    }
    return {};
  }

 private:
  Status open_all() {
    auto cpus = online_cpus();
    if (!cpus) return propagate(std::move(cpus));
    int denied = 0;
    for (const int cpu : *cpus) {
      for (std::size_t i = 0; i < kEvents.size(); ++i) {
        perf_event_attr attributes{};
        attributes.size = sizeof attributes;
        attributes.type = kEvents[i].type;
        attributes.config = kEvents[i].config;
        attributes.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
        host::Fd fd(static_cast<int>(
            ::syscall(SYS_perf_event_open, &attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC)));
        if (fd) {
          open_.push_back({i, std::to_string(cpu), std::move(fd)});
        } else if (errno == EACCES || errno == EPERM) {
          denied = errno;
        }
      }
    }
    if (!open_.empty()) return {};
    if (denied != 0)
      return fail(Errc::kNotFound, "perf_event_open: not permitted; CAP_PERFMON is needed");
    return fail(Errc::kNotFound, "perf_event_open: no event is supported here");
  }

  /// "0-3,6"
  Result<std::vector<int>> online_cpus() {
    auto text = buffer_.read(online_);
    if (!text) return propagate(std::move(text));
    std::vector<int> cpus;
    std::string_view rest = base::trim(*text);
    while (!rest.empty()) {
      std::string_view range = base::take_until(rest, ',');
      const auto first = base::parse_uint(base::take_until(range, '-'));
      const auto last = range.empty() ? first : base::parse_uint(range);
      if (!first || !last || *last < *first || *last >= kMaxCpus)
        return fail(Errc::kCorrupt, "{}: expected ranges of CPUs below {}", online_, kMaxCpus);
      for (std::uint64_t cpu = *first; cpu <= *last; ++cpu) cpus.push_back(static_cast<int>(cpu));
    }
    return cpus;
  }

  const bool is_live_;
  const std::string online_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::FileBuffer buffer_;
  std::vector<Open> open_;
};

}  // namespace

const CollectorDescriptor kPerfCollector = {
    .name = "perf",
    .help = "Hardware, software and cache events of every CPU.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<PerfCollector>(context);
    },
};

}  // namespace nexus::monitor
