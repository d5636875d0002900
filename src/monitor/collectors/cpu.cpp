// cpu: the time that every CPU spent in each mode, from /proc/stat; with `info`, what /proc/cpuinfo
// says about it; throttling, online and isolated CPUs from sysfs.
//
// The kernel's idle and iowait counters can go backwards by a little. As in node_exporter a counter
// is then held where it was, unless idle fell by 3 s or more: the CPU was taken out and put back,
// and all its counters begin anew.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/cpu_facts.hpp"
#include "monitor/families.hpp"
#include "monitor/name_filter.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"guest", OptionType::kBool, "true",
                     "Also node_cpu_guest_seconds_total, the time spent running virtual machines."},
    OptionDescriptor{"info", OptionType::kBool, "false",
                     "Also node_cpu_info, vendor, model and place of every CPU."},
    OptionDescriptor{
        "info_flags_include", OptionType::kRegex, "''",
        "Also node_cpu_flag_info for what matches of the first CPU's flags; it implies "
        "info."},
    OptionDescriptor{"info_bugs_include", OptionType::kRegex, "''",
                     "Also node_cpu_bug_info for what matches of the first CPU's bugs; it implies "
                     "info."},
    OptionDescriptor{"frequency", OptionType::kBool, "false",
                     "Also node_cpu_frequency_hertz from /proc/cpuinfo, with info; for hosts "
                     "without the collector cpufreq."},
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_cpu_seconds_total", MetricType::kCounter,
                     "Seconds the CPUs spent in each mode."},
    MetricDescriptor{"node_cpu_guest_seconds_total", MetricType::kCounter,
                     "Seconds the CPUs spent in guests (VMs) for each mode."},
    MetricDescriptor{"node_cpu_info", MetricType::kGauge, "CPU information from /proc/cpuinfo."},
    MetricDescriptor{"node_cpu_flag_info", MetricType::kGauge,
                     "The `flags` field of CPU information from /proc/cpuinfo taken from the first "
                     "core."},
    MetricDescriptor{"node_cpu_bug_info", MetricType::kGauge,
                     "The `bugs` field of CPU information from /proc/cpuinfo taken from the first "
                     "core."},
    MetricDescriptor{"node_cpu_frequency_hertz", MetricType::kGauge,
                     "CPU frequency in hertz from /proc/cpuinfo."},
    MetricDescriptor{"node_cpu_core_throttles_total", MetricType::kCounter,
                     "Number of times this CPU core has been throttled."},
    MetricDescriptor{"node_cpu_package_throttles_total", MetricType::kCounter,
                     "Number of times this CPU package has been throttled."},
    MetricDescriptor{"node_cpu_isolated", MetricType::kGauge,
                     "Whether each core is isolated, information from "
                     "/sys/devices/system/cpu/isolated."},
    MetricDescriptor{"node_cpu_online", MetricType::kGauge,
                     "CPUs that are online and being "
                     "scheduled."},
};
enum Metric {
  kSeconds,
  kGuest,
  kInfo,
  kFlag,
  kBug,
  kFrequency,
  kCoreThrottles,
  kPackageThrottles,
  kIsolated,
  kOnline
};

// The columns of /proc/stat, proc(5). Kernels before 2.6.33 lack the last ones.
constexpr std::array<std::string_view, 8> kModes = {"user",   "nice", "system",  "idle",
                                                    "iowait", "irq",  "softirq", "steal"};
constexpr std::array<std::string_view, 2> kGuestModes = {"user", "nice"};
constexpr std::size_t kColumns = kModes.size() + kGuestModes.size();
constexpr std::size_t kIdle = 3;
constexpr std::size_t kLeastColumns = 4;

constexpr double kTicksPerSecond = 100;  // USER_HZ, the same on every Linux that Debian supports
constexpr std::uint64_t kRestart = 3 * 100;   // ticks of idle time
constexpr std::uint64_t kMaxCpus = 1U << 16;  // NR_CPUS is at most 8192 in Linux 6.12

struct Ticks {
  std::array<std::uint64_t, kColumns> at{};
  std::uint64_t run = 0;  // the last run that had this CPU
};

// Label of node_cpu_info, and the line of /proc/cpuinfo that it comes from.
struct InfoLine {
  std::string_view label;
  std::string_view key;
};
constexpr std::array kInfoLines = {
    InfoLine{"package", "physical id"},   InfoLine{"core", "core id"},
    InfoLine{"cpu", "processor"},         InfoLine{"vendor", "vendor_id"},
    InfoLine{"family", "cpu family"},     InfoLine{"model", "model"},
    InfoLine{"model_name", "model name"}, InfoLine{"microcode", "microcode"},
    InfoLine{"stepping", "stepping"},     InfoLine{"cachesize", "cache size"},
};
constexpr std::size_t kInfoPackage = 0;
constexpr std::size_t kInfoCore = 1;
constexpr std::size_t kInfoCpu = 2;

class CpuCollector final : public Collector {
 public:
  CpuCollector(const CollectorContext& context, std::optional<NameFilter> flags,
               std::optional<NameFilter> bugs)
      : stat_path_(context.roots.proc("stat")),
        cpuinfo_path_(context.roots.proc("cpuinfo")),
        wants_guest_(option_bool(context, kCpuCollector, "guest")),
        wants_info_(option_bool(context, kCpuCollector, "info") || flags || bugs),
        wants_frequency_(option_bool(context, kCpuCollector, "frequency")),
        flags_(std::move(flags)),
        bugs_(std::move(bugs)),
        families_(families_of(context.registry, kMetrics)),
        facts_(context.roots, context.clock,
               {.core_throttles = families_[kCoreThrottles],
                .package_throttles = families_[kPackageThrottles],
                .isolated = families_[kIsolated],
                .online = families_[kOnline]}) {}

  Status collect(Sink& sink) override {
    auto text = buffer_.read(stat_path_, host::Record::kWholeFile);
    if (!text) return propagate(std::move(text));
    ++run_;
    bool any = false;
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      // The lines of the CPUs come first; "cpu" without a number is their sum.
      if (!line.starts_with("cpu")) break;
      if (line.starts_with("cpu ")) continue;
      any = true;
      add(sink, lines.number(), line.substr(3));
    }
    if (!any) complaints_.add(stat_path_, "expected a line for every CPU");
    if (wants_info_) add_info(sink);
    facts_.add(sink, complaints_);
    return complaints_.take();
  }

 private:
  void add(Sink& sink, std::size_t number, std::string_view rest) {
    const std::string_view cpu = next_word(rest);
    const auto index = base::parse_uint(cpu);
    if (!index || *index >= kMaxCpus)
      return complaints_.add(stat_path_, number, "a CPU's number", cpu);
    if (*index >= cpus_.size()) cpus_.resize(*index + 1);
    Ticks& held = cpus_[*index];
    if (held.run == run_) return complaints_.add(stat_path_, number, "each CPU once", cpu);
    // One that was not there last time is not the one of before.
    if (held.run + 1 != run_) held.at = {};
    held.run = run_;

    std::array<std::optional<std::uint64_t>, kColumns> read;
    for (std::size_t i = 0; i < kColumns; ++i) {
      const std::string_view word = next_word(rest);
      if (word.empty() && i >= kLeastColumns) break;
      read[i] = base::parse_uint(word);
      if (!read[i]) complaints_.add(stat_path_, number, "a number of clock ticks", word);
    }
    if (read[kIdle] && held.at[kIdle] >= *read[kIdle] + kRestart) held.at = {};
    for (std::size_t i = 0; i < kColumns; ++i) {
      if (!read[i]) continue;
      held.at[i] = std::max(held.at[i], *read[i]);
      add_mode(sink, cpu, i, static_cast<double>(held.at[i]) / kTicksPerSecond);
    }
  }

  void add_mode(Sink& sink, std::string_view cpu, std::size_t column, double seconds) {
    if (column < kModes.size()) {
      sink.add(families_[0], {{"cpu", cpu}, {"mode", kModes[column]}}, seconds);
    } else if (wants_guest_) {
      sink.add(families_[1], {{"cpu", cpu}, {"mode", kGuestModes[column - kModes.size()]}},
               seconds);
    }
  }

  /// A block of lines "key : value" for every CPU, ended by an empty line.
  void add_info(Sink& sink) {
    auto text = buffer_.read(cpuinfo_path_);
    if (!text) return complaints_.add(text.error());
    std::array<LabelView, kInfoLines.size()> labels;
    const auto clear = [&] {
      for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = {kInfoLines[i].label, {}};
    };
    clear();
    bool is_first = true;
    std::string_view megahertz;
    std::string_view rest = *text;
    while (!rest.empty()) {
      std::string_view value = base::take_until(rest, '\n');
      const std::string_view key = base::trim(base::take_until(value, ':'));
      for (std::size_t i = 0; i < kInfoLines.size(); ++i) {
        if (key == kInfoLines[i].key) labels[i].value = base::trim(value);
      }
      if (key == "cpu MHz") megahertz = base::trim(value);
      if (is_first && key == "flags" && flags_) add_words(sink, kFlag, "flag", *flags_, value);
      if (is_first && key == "bugs" && bugs_) add_words(sink, kBug, "bug", *bugs_, value);
      if (!key.empty() && !rest.empty()) continue;
      if (!labels[kInfoCpu].value.empty()) {
        sink.add(families_[kInfo], labels, 1);
        add_frequency(sink, labels, megahertz);
        is_first = false;
      }
      clear();
    }
  }

  void add_words(Sink& sink, Metric metric, std::string_view label, const NameFilter& filter,
                 std::string_view words) const {
    for (auto word = base::take_word(words); !word.empty(); word = base::take_word(words)) {
      if (filter.accepts(word)) sink.add(families_[metric], {{label, word}}, 1);
    }
  }

  void add_frequency(Sink& sink, std::span<const LabelView> labels, std::string_view megahertz) {
    if (!wants_frequency_ || megahertz.empty()) return;
    if (const auto value = base::parse_double(megahertz)) {
      sink.add(families_[kFrequency], {labels[kInfoPackage], labels[kInfoCore], labels[kInfoCpu]},
               *value * 1e6);
    } else {
      complaints_.add(cpuinfo_path_, "expected a number of MHz");
    }
  }

  const std::string stat_path_;
  const std::string cpuinfo_path_;
  const bool wants_guest_;
  const bool wants_info_;
  const bool wants_frequency_;
  const std::optional<NameFilter> flags_;
  const std::optional<NameFilter> bugs_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  std::uint64_t run_ = 1;
  std::vector<Ticks> cpus_;  // by number
  CpuFacts facts_;
  Complaints complaints_;
};

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  std::array<std::optional<NameFilter>, 2> filters;
  constexpr std::array<std::string_view, 2> kNames = {"info_flags_include", "info_bugs_include"};
  for (std::size_t i = 0; i < filters.size(); ++i) {
    const std::string pattern = option_string(context, kCpuCollector, kNames[i]);
    if (pattern.empty()) continue;
    auto filter = NameFilter::make(pattern, {});
    if (!filter) return propagate(std::move(filter), "{}", kNames[i]);
    filters[i].emplace(std::move(*filter));
  }
  return std::make_unique<CpuCollector>(context, std::move(filters[0]), std::move(filters[1]));
}

}  // namespace

const CollectorDescriptor kCpuCollector = {
    .name = "cpu",
    .help = "Time that every CPU spent in each mode.",
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
