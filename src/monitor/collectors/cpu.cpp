// cpu: the time that every CPU spent in each mode, from /proc/stat; with `info`, what /proc/cpuinfo
// says about it.
//
// The kernel's idle and iowait counters can go backwards by a little. As in node_exporter a counter
// is then held where it was, unless idle fell by 3 s or more: the CPU was taken out and put back,
// and all its counters begin anew.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"guest", OptionType::kBool, "true",
                     "Also node_cpu_guest_seconds_total, the time spent running virtual machines."},
    OptionDescriptor{"info", OptionType::kBool, "false",
                     "Also node_cpu_info, vendor, model and place of every CPU."},
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_cpu_seconds_total", MetricType::kCounter,
                     "Seconds the CPUs spent in each mode."},
    MetricDescriptor{"node_cpu_guest_seconds_total", MetricType::kCounter,
                     "Seconds the CPUs spent in guests (VMs) for each mode."},
    MetricDescriptor{"node_cpu_info", MetricType::kGauge, "CPU information from /proc/cpuinfo."},
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
constexpr std::size_t kInfoCpu = 2;

class CpuCollector final : public Collector {
 public:
  explicit CpuCollector(const CollectorContext& context)
      : stat_path_(context.roots.proc("stat")),
        cpuinfo_path_(context.roots.proc("cpuinfo")),
        wants_guest_(option_bool(context, kCpuCollector, "guest")),
        wants_info_(option_bool(context, kCpuCollector, "info")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    auto text = buffer_.read(stat_path_);
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
    std::string_view rest = *text;
    while (!rest.empty()) {
      std::string_view value = base::take_until(rest, '\n');
      const std::string_view key = base::trim(base::take_until(value, ':'));
      for (std::size_t i = 0; i < kInfoLines.size(); ++i) {
        if (key == kInfoLines[i].key) labels[i].value = base::trim(value);
      }
      if (!key.empty() && !rest.empty()) continue;
      if (!labels[kInfoCpu].value.empty()) sink.add(families_[2], labels, 1);
      clear();
    }
  }

  const std::string stat_path_;
  const std::string cpuinfo_path_;
  const bool wants_guest_;
  const bool wants_info_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::FileBuffer buffer_;
  std::uint64_t run_ = 1;
  std::vector<Ticks> cpus_;  // by number
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kCpuCollector = {
    .name = "cpu",
    .help = "Time that every CPU spent in each mode.",
    .options = kOptions,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<CpuCollector>(context);
    },
};

}  // namespace nexus::monitor
