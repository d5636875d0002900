// perf: hardware, software and cache events of every CPU, by perf_event_open(2).
//
// no_data where it is not permitted (perf_event_paranoid, no CAP_PERFMON); an event that this
// processor does not have, as in most virtual machines, is left out. Counts are scaled up when the
// kernel had to share a hardware counter. A counter is a descriptor for every CPU, so their number
// is bounded.
#include <linux/perf_event.h>
#include <sys/resource.h>
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
  std::array<MetricDescriptor, kEvents.size() + 1> all{};
  for (std::size_t i = 0; i < kEvents.size(); ++i) all[i] = kEvents[i].metric;
  all.back() = {"node_perf_*", MetricType::kCounter, "Perf tracepoint SUBSYSTEM:EVENT"};
  return all;
}();

constexpr std::array kOptions = {
    OptionDescriptor{
        "cpus", OptionType::kString, "''",
        "CPUs that are counted, as \"0-3,8-62:2\"; every one that is online when empty."},
    OptionDescriptor{"tracepoint", OptionType::kStrings, "[]",
                     "Tracepoints of the kernel that are counted too, each SUBSYSTEM:EVENT."},
    OptionDescriptor{"disable_hardware_profilers", OptionType::kBool, "false",
                     "Leave out cycles, instructions, branches and the like."},
    OptionDescriptor{"disable_software_profilers", OptionType::kBool, "false",
                     "Leave out page faults, context switches and migrations."},
    OptionDescriptor{"disable_cache_profilers", OptionType::kBool, "false",
                     "Leave out the events of caches."},
};

constexpr std::uint64_t kMaxCpus = 1024;
constexpr std::size_t kMaxTracepoints = 64;
// A counter is a descriptor; the rest of the agent needs some, too.
constexpr std::size_t kMaxCounters = 4096;
constexpr rlim_t kShare = 4;  // of the limit of open files

struct Counter {
  std::uint32_t type = 0;
  std::uint64_t config = 0;
  FamilyId family;
};

struct Reading {
  std::uint64_t count = 0;
  std::uint64_t enabled = 0;  // nanoseconds
  std::uint64_t running = 0;
};

struct Open {
  FamilyId family;
  std::string cpu;
  host::Fd fd;
  Reading last;
  double total = 0;
};

struct Tracepoint {
  std::string subsystem;
  std::string event;
};

struct PerfOptions {
  std::vector<int> cpus;
  std::vector<Tracepoint> tracepoints;
};

/// "0-3,6,8-62:2"
Result<std::vector<int>> parse_cpus(std::string_view text) {
  std::vector<int> cpus;
  const std::string_view all = text;
  while (!text.empty()) {
    std::string_view stride = base::trim(base::take_until(text, ','));
    std::string_view range = base::take_until(stride, ':');
    const auto step = stride.empty() ? std::optional<std::uint64_t>(1) : base::parse_uint(stride);
    const auto first = base::parse_uint(base::take_until(range, '-'));
    const auto last = range.empty() ? first : base::parse_uint(range);
    if (!first || !last || !step || *step == 0 || *last < *first || *last >= kMaxCpus)
      return fail(Errc::kInvalidArgument, "\"{}\": expected ranges of CPUs below {}", all,
                  kMaxCpus);
    for (std::uint64_t cpu = *first; cpu <= *last; cpu += *step)
      cpus.push_back(static_cast<int>(cpu));
  }
  return cpus;
}

class PerfCollector final : public Collector {
 public:
  PerfCollector(const CollectorContext& context, PerfOptions options)
      : is_live_(is_live(context.roots)),
        online_(context.roots.sys("devices/system/cpu/online")),
        events_{context.roots.sys("kernel/tracing/events/"),
                context.roots.sys("kernel/debug/tracing/events/")},
        options_(std::move(options)) {
    const auto is_left_out = [&](std::uint32_t type) {
      const std::string_view name = type == PERF_TYPE_HARDWARE   ? "disable_hardware_profilers"
                                    : type == PERF_TYPE_SOFTWARE ? "disable_software_profilers"
                                                                 : "disable_cache_profilers";
      return option_bool(context, kPerfCollector, name);
    };
    for (const Event& event : kEvents) {
      if (is_left_out(event.type)) continue;
      counters_.push_back(
          {event.type, event.config,
           context.registry.family(event.metric.name, event.metric.type, event.metric.help)});
    }
    for (const auto& [subsystem, event] : options_.tracepoints) {
      tracepoints_.push_back(context.registry.family(
          fmt::format("node_perf_{}_{}", subsystem, event), MetricType::kCounter,
          fmt::format("Perf tracepoint {}:{}", subsystem, event)));
    }
  }

  Status collect(Sink& sink) override {
    if (!is_live_) return fail(Errc::kNotFound, "this is not the processor of this host");
    if (open_.empty()) {
      if (Status opened = open_all(); !opened) return opened;
    }
    for (Open& counter : open_) {
      if (read(counter)) sink.add(counter.family, {{"cpu", counter.cpu}}, counter.total);
    }
    return complaint_;
  }

 private:
  /// False when its CPU went offline.
  static bool read(Open& counter) {
    Reading now;
    if (::read(counter.fd.get(), &now, sizeof now) != static_cast<ssize_t>(sizeof now))
      return false;
    // Scaled up by the part of this interval in which the counter ran: a total that is scaled as a
    // whole would go back when the part changes.
    const std::uint64_t enabled = now.enabled - counter.last.enabled;
    const std::uint64_t running = now.running - counter.last.running;
    const double scale = running > 0 && running < enabled
                             ? static_cast<double>(enabled) / static_cast<double>(running)
                             : 1;
    if (now.count > counter.last.count)
      counter.total += static_cast<double>(now.count - counter.last.count) * scale;
    counter.last = now;
    return true;
  }

  Status open_all() {
    complaint_ = {};
    auto cpus = options_.cpus.empty() ? online_cpus() : Result<std::vector<int>>(options_.cpus);
    if (!cpus) return propagate(std::move(cpus));
    std::vector<Counter> counters = counters_;
    for (std::size_t i = 0; i < tracepoints_.size(); ++i) {
      const auto number = number_of(options_.tracepoints[i]);
      if (number) {
        counters.push_back({PERF_TYPE_TRACEPOINT, *number, tracepoints_[i]});
      } else {
        complaint_ = std::unexpected(number.error());
      }
    }
    rlimit files{};
    const bool is_known = ::getrlimit(RLIMIT_NOFILE, &files) == 0;
    const std::size_t most =
        is_known ? std::min<std::size_t>(kMaxCounters, files.rlim_cur / kShare) : kMaxCounters;
    int denied = 0;
    std::size_t left_out = 0;
    for (const int cpu : *cpus) {
      for (const Counter& counter : counters) {
        if (open_.size() >= most) {
          ++left_out;
        } else if (const int error = open_one(counter, cpu); error == EACCES || error == EPERM) {
          denied = error;
        }
      }
    }
    if (left_out > 0)
      complaint_ = fail(Errc::kExhausted,
                        "{} counters are left out, {} are open: choose `cpus`, or disable some",
                        left_out, most);
    if (!open_.empty()) return {};
    if (!complaint_) return complaint_;
    if (denied != 0)
      return fail(Errc::kNotFound, "perf_event_open: not permitted; CAP_PERFMON is needed");
    return fail(Errc::kNotFound, "perf_event_open: no event is supported here");
  }

  /// 0, or an errno.
  int open_one(const Counter& counter, int cpu) {
    perf_event_attr attributes{};
    attributes.size = sizeof attributes;
    attributes.type = counter.type;
    attributes.config = counter.config;
    attributes.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
    host::Fd fd(static_cast<int>(
        ::syscall(SYS_perf_event_open, &attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC)));
    if (!fd) return errno;
    open_.push_back({counter.family, std::to_string(cpu), std::move(fd), {}, 0});
    return 0;
  }

  /// Of a tracepoint, in tracefs.
  Result<std::uint64_t> number_of(const Tracepoint& tracepoint) {
    for (const std::string& events : events_) {
      const auto text =
          buffer_.read(fmt::format("{}{}/{}/id", events, tracepoint.subsystem, tracepoint.event));
      const auto number = text ? base::parse_uint(base::trim(*text)) : std::nullopt;
      if (number) return *number;
    }
    return fail(Errc::kUnsupported, "tracepoint {}:{}: not in {} (is tracefs mounted there?)",
                tracepoint.subsystem, tracepoint.event, events_.front());
  }

  Result<std::vector<int>> online_cpus() {
    auto text = buffer_.read(online_);
    if (!text) return propagate(std::move(text));
    auto cpus = parse_cpus(base::trim(*text));
    if (!cpus) return propagate(std::move(cpus), "{}", online_);
    return cpus;
  }

  const bool is_live_;
  const std::string online_;
  const std::array<std::string, 2> events_;
  const PerfOptions options_;
  std::vector<Counter> counters_;
  std::vector<FamilyId> tracepoints_;
  host::FileBuffer buffer_;
  std::vector<Open> open_;
  Status complaint_;
};

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  PerfOptions options;
  auto cpus = parse_cpus(option_string(context, kPerfCollector, "cpus"));
  if (!cpus) return propagate(std::move(cpus), "cpus");
  options.cpus = std::move(*cpus);
  for (const std::string& text : option_strings(context, kPerfCollector, "tracepoint")) {
    std::string_view event = text;
    const std::string_view subsystem = base::take_until(event, ':');
    // Both become parts of a path and of a name.
    if (!is_name_part(subsystem) || !is_name_part(event))
      return fail(Errc::kInvalidArgument, "tracepoint: expected SUBSYSTEM:EVENT, not \"{}\"", text);
    if (options.tracepoints.size() >= kMaxTracepoints)
      return fail(Errc::kInvalidArgument, "tracepoint: expected at most {}", kMaxTracepoints);
    options.tracepoints.push_back({std::string(subsystem), std::string(event)});
  }
  return std::make_unique<PerfCollector>(context, std::move(options));
}

}  // namespace

const CollectorDescriptor kPerfCollector = {
    .name = "perf",
    .help = "Hardware, software and cache events and tracepoints of every CPU.",
    .enabled_by_default = false,
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
