// cpufreq: clock frequencies and governor of every CPU, from sysfs.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/small_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_cpu_frequency_hertz", MetricType::kGauge,
                     "Current CPU thread frequency in hertz."},
    MetricDescriptor{"node_cpu_frequency_min_hertz", MetricType::kGauge,
                     "Minimum CPU thread frequency in hertz."},
    MetricDescriptor{"node_cpu_frequency_max_hertz", MetricType::kGauge,
                     "Maximum CPU thread frequency in hertz."},
    MetricDescriptor{"node_cpu_scaling_frequency_hertz", MetricType::kGauge,
                     "Current scaled CPU thread frequency in hertz."},
    MetricDescriptor{"node_cpu_scaling_frequency_min_hertz", MetricType::kGauge,
                     "Minimum scaled CPU thread frequency in hertz."},
    MetricDescriptor{"node_cpu_scaling_frequency_max_hertz", MetricType::kGauge,
                     "Maximum scaled CPU thread frequency in hertz."},
    MetricDescriptor{"node_cpu_scaling_governor", MetricType::kGauge,
                     "Current enabled CPU frequency governor."},
};
constexpr std::size_t kGovernor = kMetrics.size() - 1;

constexpr double kKilohertz = 1000;
constexpr std::array kFiles = {
    NumberFile{"cpuinfo_cur_freq", 0, kKilohertz}, NumberFile{"cpuinfo_min_freq", 1, kKilohertz},
    NumberFile{"cpuinfo_max_freq", 2, kKilohertz}, NumberFile{"scaling_cur_freq", 3, kKilohertz},
    NumberFile{"scaling_min_freq", 4, kKilohertz}, NumberFile{"scaling_max_freq", 5, kKilohertz},
};
// Of drivers that cannot tell.
constexpr std::string_view kUnknown = "<unknown>";

class CpufreqCollector final : public Collector {
 public:
  explicit CpufreqCollector(const CollectorContext& context)
      : path_(context.roots.sys("devices/system/cpu")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return fail(Errc::kNotFound, "{}: not there", path_);
    bool any = false;
    for (const char* name : names_.names()) {
      const std::string_view number = std::string_view(name).substr(0, 3) == "cpu"
                                          ? std::string_view(name).substr(3)
                                          : std::string_view();
      if (!base::parse_uint(number)) continue;
      directory_.assign(name).append("/cpufreq");
      const auto frequency = root->child(directory_.c_str());
      if (!frequency) continue;
      any = true;
      add(sink, *frequency, number);
    }
    if (!any) return fail(Errc::kNotFound, "{}: no CPU has a cpufreq driver", path_);
    return complaints_.take();
  }

 private:
  void add(Sink& sink, const SmallDir& frequency, std::string_view cpu) {
    const LabelView label{"cpu", cpu};
    for (const NumberFile& one : kFiles) {
      if (const auto value = files_.number(frequency, one.file, kUnknown))
        sink.add(families_[one.metric], std::span(&label, 1), *value * one.factor);
    }
    const auto governor = files_.text(frequency, "scaling_governor");
    if (!governor || governor->empty()) return;
    governor_ = *governor;
    const auto all = files_.text(frequency, "scaling_available_governors");
    std::string_view rest = all.value_or(governor_);
    for (auto one = base::take_word(rest); !one.empty(); one = base::take_word(rest)) {
      sink.add(families_[kGovernor], {{"cpu", cpu}, {"governor", one}}, one == governor_ ? 1 : 0);
    }
  }

  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  NameList names_;
  std::string directory_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
  std::string governor_;
};

}  // namespace

const CollectorDescriptor kCpufreqCollector = {
    .name = "cpufreq",
    .help = "Clock frequencies and governor of every CPU.",
    // Asking for a frequency interrupts that CPU.
    .default_interval = Millis(10'000),
    .metrics = kMetrics,
    .make = make_plain<CpufreqCollector>,
};

}  // namespace nexus::monitor
