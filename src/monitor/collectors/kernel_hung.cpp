// kernel_hung: tasks that the kernel found hanging, from
// /proc/sys/kernel/hung_task_detect_count (Linux 6.13).
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{
        "node_kernel_hung_tasks_total", MetricType::kCounter,
        "Total number of tasks that have been detected as hung since the system booted."},
};

class KernelHungCollector final : public Collector {
 public:
  explicit KernelHungCollector(const CollectorContext& context)
      : path_(context.roots.proc("sys/kernel/hung_task_detect_count")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    auto text = buffer_.read(path_, host::Record::kWholeFile);
    if (!text) return propagate(std::move(text));
    const auto count = base::parse_uint(base::trim(*text));
    if (!count) {
      complaints_.add(path_, 1, "a number", base::trim(*text));
      return complaints_.take();
    }
    sink.add(families_[0], static_cast<double>(*count));
    return {};
  }

 private:
  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kKernelHungCollector = {
    .name = "kernel_hung",
    .help = "Tasks that the kernel found hanging.",
    .default_interval = Millis(5'000),  // the kernel itself looks every two minutes
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<KernelHungCollector>(context);
    },
};

}  // namespace nexus::monitor
