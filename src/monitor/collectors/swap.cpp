// swap: every swap device, from /proc/swaps; sizes there are in KiB.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/named_lines.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_swap_size_bytes", MetricType::kGauge, "Swap device size in bytes."},
    MetricDescriptor{"node_swap_used_bytes", MetricType::kGauge, "Swap device used in bytes."},
    MetricDescriptor{"node_swap_priority", MetricType::kGauge, "Swap device priority."},
};

constexpr std::size_t kMaxDevices = 256;

class SwapCollector final : public Collector {
 public:
  explicit SwapCollector(const CollectorContext& context)
      : path_(context.roots.proc("swaps")), families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    return read_named_lines(
        buffer_, path_, host::Record::kUnknown, "a line of headings", devices_, complaints_,
        [&](std::size_t number, std::string_view line) { add(sink, number, line); });
  }

 private:
  /// /dev/sda2  partition  4194300  1024  -2
  void add(Sink& sink, std::size_t number, std::string_view line) {
    if (number == 1) return;
    std::string_view rest = line;
    const std::string_view name = next_word(rest);
    const std::string_view type = next_word(rest);
    const auto size = base::parse_uint(next_word(rest));
    const auto used = base::parse_uint(next_word(rest));
    const auto priority = base::parse_int(next_word(rest));
    if (!size || !used || !priority || (type != "partition" && type != "file"))
      return complaints_.add(path_, number, "DEVICE TYPE SIZE USED PRIORITY", line);
    const std::string* const device =
        devices_.next(name, [](std::string_view given) { return base::sanitize_utf8(given); });
    if (device == nullptr)
      return complaints_.add(path_, number, "each device once, at most 256", name);
    const std::array<LabelView, 2> labels = {LabelView{"device", *device}, LabelView{"type", type}};
    sink.add(families_[0], labels, static_cast<double>(*size) * 1024);
    sink.add(families_[1], labels, static_cast<double>(*used) * 1024);
    sink.add(families_[2], labels, static_cast<double>(*priority));
  }

  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  NameTable<std::string> devices_{kMaxDevices};
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kSwapCollector = {
    .name = "swap",
    .help = "Every swap device.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<SwapCollector>(context);
    },
};

}  // namespace nexus::monitor
