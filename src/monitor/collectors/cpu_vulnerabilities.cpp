// cpu_vulnerabilities: which flaws of the processor the kernel knows and what it does about them,
// from /sys/devices/system/cpu/vulnerabilities.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/small_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_cpu_vulnerabilities_info", MetricType::kGauge,
                     "Details of each CPU vulnerability reported by sysfs, its state in a label."},
};

struct State {
  std::string_view begins;
  std::string_view label;
};
constexpr std::array kStates = {
    State{"Not affected", "not affected"},
    State{"Vulnerable", "vulnerable"},
    State{"Mitigation", "mitigation"},
};

class CpuVulnerabilitiesCollector final : public Collector {
 public:
  explicit CpuVulnerabilitiesCollector(const CollectorContext& context)
      : path_(context.roots.sys("devices/system/cpu/vulnerabilities")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return fail(Errc::kNotFound, "{}: not there", path_);
    for (const char* name : names_.names()) {
      const auto text = files_.text(*root, name);
      if (!text) continue;
      std::string_view rest = *text;
      // "KVM: Mitigation: VMX disabled"
      if (rest.starts_with("KVM: ")) rest.remove_prefix(5);
      std::string_view label = "unknown";
      for (const State& state : kStates) {
        if (!rest.starts_with(state.begins)) continue;
        label = state.label;
        rest.remove_prefix(state.begins.size());
        break;
      }
      if (rest.empty() && label == "unknown") {
        complaints_.add(path_ + "/" + name, "empty, expected a state");
        continue;
      }
      if (rest.starts_with(": ")) rest.remove_prefix(2);
      sink.add(families_[0], {{"codename", name}, {"state", label}, {"mitigation", rest}}, 1);
    }
    return complaints_.take();
  }

 private:
  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  NameList names_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

}  // namespace

const CollectorDescriptor kCpuVulnerabilitiesCollector = {
    .name = "cpu_vulnerabilities",
    .help = "Flaws of the processor that the kernel knows, and what it does about them.",
    .enabled_by_default = false,
    .default_interval = Millis(60'000),
    .metrics = kMetrics,
    .make = make_plain<CpuVulnerabilitiesCollector>,
};

}  // namespace nexus::monitor
