// softirqs: software interrupts by type and CPU, from /proc/softirqs.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/named_lines.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_softirqs_functions_total", MetricType::kCounter,
                     "Softirq counts per CPU."},
};

constexpr std::size_t kMaxTypes = 32;
constexpr std::size_t kMaxCpus = 8192;

class SoftirqsCollector final : public Collector {
 public:
  explicit SoftirqsCollector(const CollectorContext& context)
      : path_(context.roots.proc("softirqs")), families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    return read_named_lines(
        buffer_, path_, host::Record::kUnknown, "softirq counts", types_, complaints_,
        [&](std::size_t number, std::string_view line) { add(sink, number, line); });
  }

 private:
  void add(Sink& sink, std::size_t number, std::string_view line) {
    std::string_view rest = line;
    std::string_view name = next_word(rest);
    if (number == 1) return read_cpus(line);
    if (!name.ends_with(':')) return complaints_.add(path_, number, "TYPE: NUMBERS", line);
    name.remove_suffix(1);
    const std::string* const type =
        types_.next(name, [](std::string_view given) { return base::sanitize_utf8(given); });
    if (type == nullptr) return complaints_.add(path_, number, "each type once, at most 32", name);
    for (const std::string& cpu : cpus_) {
      const std::string_view word = next_word(rest);
      const auto count = base::parse_uint(word);
      if (!count) return complaints_.add(path_, number, "a number for every CPU", word);
      sink.add(families_[0], {{"cpu", cpu}, {"type", *type}}, static_cast<double>(*count));
    }
  }

  /// CPU0 CPU1 ...: those that are there, which need not be consecutive.
  void read_cpus(std::string_view line) {
    if (line == header_) return;
    header_ = line;
    cpus_.clear();
    std::string_view rest = line;
    for (std::string_view word = next_word(rest); !word.empty(); word = next_word(rest)) {
      if (!word.starts_with("CPU") || !base::parse_uint(word.substr(3)) ||
          cpus_.size() >= kMaxCpus) {
        complaints_.add(path_, 1, "CPU numbers, at most 8192", word);
        header_.clear();
        return;
      }
      cpus_.emplace_back(word.substr(3));
    }
  }

  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  std::string header_;
  std::vector<std::string> cpus_;
  NameTable<std::string> types_{kMaxTypes};
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kSoftirqsCollector = {
    .name = "softirqs",
    .help = "Software interrupts by type and CPU.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<SoftirqsCollector>(context);
    },
};

}  // namespace nexus::monitor
