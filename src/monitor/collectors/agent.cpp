// agent: the agent itself: its own metrics (nexus_*), its process (process_*), its build.
//
// The process is looked up in /proc/self and not below the roots: a recorded or mounted tree does
// not contain it.
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/base/version.hpp"
#include "nexus/host/file.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOwnMetrics = {
    MetricDescriptor{"process_cpu_seconds_total", MetricType::kCounter,
                     "Total user and system CPU time spent in seconds."},
    MetricDescriptor{"process_resident_memory_bytes", MetricType::kGauge,
                     "Resident memory size in bytes."},
    MetricDescriptor{"process_virtual_memory_bytes", MetricType::kGauge,
                     "Virtual memory size in bytes."},
    MetricDescriptor{"process_virtual_memory_max_bytes", MetricType::kGauge,
                     "Maximum amount of virtual memory available in bytes."},
    MetricDescriptor{"process_open_fds", MetricType::kGauge, "Number of open file descriptors."},
    MetricDescriptor{"process_max_fds", MetricType::kGauge,
                     "Maximum number of open file descriptors."},
    MetricDescriptor{"process_start_time_seconds", MetricType::kGauge,
                     "Start time of the process since unix epoch in seconds."},
    MetricDescriptor{
        "nexus_build_info", MetricType::kGauge,
        "A metric with a constant '1' value labeled by version and compiler of this agent."},
};
enum Metric { kCpu, kResident, kVirtual, kVirtualMax, kOpenFds, kMaxFds, kStartTime, kBuild };

constexpr auto kMetrics = [] {
  std::array<MetricDescriptor, kOwnMetrics.size() + 1> all;
  std::ranges::copy(kOwnMetrics, all.begin());
  all.back() = {"nexus_*", MetricType::kUntyped,
                "Whatever the agent counts about itself; each with its own type."};
  return all;
}();

#if defined(__clang__)
constexpr std::string_view kCompiler = "clang " __clang_version__;
#else
constexpr std::string_view kCompiler = "gcc " __VERSION__;
#endif

constexpr std::size_t kStartTimeField = 20;  // after the name: starttime, field 22 of proc(5)

/// One division of whole microseconds: a decimal, which a sum of two quotients mostly is not.
double seconds_of(const rusage& usage) {
  const std::int64_t whole = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec;
  const std::int64_t micros = usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
  return static_cast<double>(whole * 1'000'000 + micros) / 1e6;
}

/// Since the epoch; nothing when /proc does not tell.
std::optional<double> start_time() {
  const auto stat = host::read_file("/proc/self/stat");
  const auto kernel = host::read_file("/proc/stat");
  if (!stat || !kernel) return std::nullopt;
  const std::size_t name_end = stat->rfind(')');
  const std::size_t btime_at = kernel->find("\nbtime ");
  if (name_end == std::string::npos || btime_at == std::string::npos) return std::nullopt;
  std::string_view fields = std::string_view(*stat).substr(name_end + 1);
  std::string_view word;
  for (std::size_t i = 0; i < kStartTimeField; ++i) word = next_word(fields);
  const auto ticks = base::parse_uint(word);
  std::string_view rest = std::string_view(*kernel).substr(btime_at + 7);
  const auto boot = base::parse_uint(base::take_until(rest, '\n'));
  if (!ticks || !boot) return std::nullopt;
  return static_cast<double>(*boot) +
         static_cast<double>(*ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

class AgentCollector final : public Collector {
 public:
  explicit AgentCollector(const CollectorContext& context)
      : registry_(context.registry),
        self_(context.self),
        families_(families_of(context.registry, kOwnMetrics)),
        page_(static_cast<double>(::sysconf(_SC_PAGESIZE))),
        start_time_(start_time()) {}

  Status collect(Sink& sink) override {
    add_usage(sink);
    add_limit(sink, kMaxFds, RLIMIT_NOFILE);
    add_limit(sink, kVirtualMax, RLIMIT_AS);
    if (start_time_) sink.add(families_[kStartTime], *start_time_);
    sink.add(families_[kBuild], {{"version", base::version()}, {"compiler", kCompiler}}, 1);
    if (self_ != nullptr) add_self(sink);
    if (Status memory = add_memory(sink); !memory) return memory;
    return add_descriptors(sink);
  }

 private:
  void add_usage(Sink& sink) const {
    rusage usage{};
    if (::getrusage(RUSAGE_SELF, &usage) != 0) return;
    sink.add(families_[kCpu], seconds_of(usage));
  }

  void add_limit(Sink& sink, Metric metric, __rlimit_resource resource) const {
    rlimit limit{};
    if (::getrlimit(resource, &limit) == 0)
      sink.add(families_[metric], static_cast<double>(limit.rlim_cur));
  }

  Status add_memory(Sink& sink) {
    auto text = buffer_.read("/proc/self/statm", host::Record::kWholeFile);
    if (!text) return propagate(std::move(text));
    const auto pages = base::parse_uint(next_word(*text));
    const auto resident = base::parse_uint(next_word(*text));
    if (!pages || !resident) return fail(Errc::kCorrupt, "/proc/self/statm: expected two numbers");
    sink.add(families_[kVirtual], static_cast<double>(*pages) * page_);
    sink.add(families_[kResident], static_cast<double>(*resident) * page_);
    return {};
  }

  /// Since Linux 6.2 the size of the directory is the number of open files; before, it is listed.
  Status add_descriptors(Sink& sink) const {
    struct stat status{};
    if (::stat("/proc/self/fd", &status) == 0 && status.st_size > 0) {
      sink.add(families_[kOpenFds], static_cast<double>(status.st_size));
      return {};
    }
    const auto names = host::list_directory("/proc/self/fd");
    if (!names) return std::unexpected(names.error());
    sink.add(families_[kOpenFds],
             static_cast<double>(names->size() - 1));  // less the one that listed them
    return {};
  }

  void add_self(Sink& sink) {
    std::size_t place = 0;
    self_->visit([&](const knowledge::SelfMetrics::Reading& reading) {
      sink.add(family_of(reading, place++), reading.labels, reading.value);
    });
  }

  /// They come in the same order every time, but for new ones among them.
  FamilyId family_of(const knowledge::SelfMetrics::Reading& reading, std::size_t place) {
    if (place >= known_.size()) known_.resize(place + 1);
    Known& known = known_[place];
    if (known.name != reading.name.data())
      known = {reading.name.data(), registry_.family(reading.name, reading.type, reading.help)};
    return known.family;
  }

  knowledge::SeriesRegistry& registry_;
  const knowledge::SelfMetrics* const self_;
  const std::array<FamilyId, kOwnMetrics.size()> families_;
  const double page_;
  const std::optional<double> start_time_;
  struct Known {
    const char* name = nullptr;  // of a metric, which is never removed
    FamilyId family{};
  };
  std::vector<Known> known_;
  host::KeptFiles buffer_;
};

}  // namespace

const CollectorDescriptor kAgentCollector = {
    .name = "agent",
    .help = "The agent itself: what it counts, and the process it is.",
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<AgentCollector>(context);
    },
};

}  // namespace nexus::monitor
