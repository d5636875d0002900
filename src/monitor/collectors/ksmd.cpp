// ksmd: kernel samepage merging (Documentation/admin-guide/mm/ksm.rst), a number a file.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

struct File {
  std::string_view name;
  double scale = 1;
};
constexpr std::array kFiles = {
    File{"full_scans"},
    File{"merge_across_nodes"},
    File{"pages_shared"},
    File{"pages_sharing"},
    File{"pages_to_scan"},
    File{"pages_unshared"},
    File{"pages_volatile"},
    File{"run"},
    File{"sleep_millisecs", 1e-3},
};
constexpr std::array kMetrics = {
    MetricDescriptor{"node_ksmd_full_scans_total", MetricType::kCounter, "ksmd 'full_scans' file."},
    MetricDescriptor{"node_ksmd_merge_across_nodes", MetricType::kGauge,
                     "ksmd 'merge_across_nodes' file."},
    MetricDescriptor{"node_ksmd_pages_shared", MetricType::kGauge, "ksmd 'pages_shared' file."},
    MetricDescriptor{"node_ksmd_pages_sharing", MetricType::kGauge, "ksmd 'pages_sharing' file."},
    MetricDescriptor{"node_ksmd_pages_to_scan", MetricType::kGauge, "ksmd 'pages_to_scan' file."},
    MetricDescriptor{"node_ksmd_pages_unshared", MetricType::kGauge, "ksmd 'pages_unshared' file."},
    MetricDescriptor{"node_ksmd_pages_volatile", MetricType::kGauge, "ksmd 'pages_volatile' file."},
    MetricDescriptor{"node_ksmd_run", MetricType::kGauge, "ksmd 'run' file."},
    MetricDescriptor{"node_ksmd_sleep_seconds", MetricType::kGauge, "ksmd 'sleep_millisecs' file."},
};
static_assert(kFiles.size() == kMetrics.size());

class KsmdCollector final : public Collector {
 public:
  explicit KsmdCollector(const CollectorContext& context)
      : families_(families_of(context.registry, kMetrics)) {
    for (std::size_t i = 0; i < kFiles.size(); ++i)
      paths_[i] = context.roots.sys(std::string("kernel/mm/ksm/").append(kFiles[i].name));
  }

  Status collect(Sink& sink) override {
    std::size_t absent = 0;
    for (std::size_t i = 0; i < kFiles.size(); ++i) {
      const auto text = buffer_.read(paths_[i]);
      if (!text && text.error().code() == Errc::kNotFound) {
        ++absent;
        continue;
      }
      if (!text) {
        complaints_.add(text.error());
        continue;
      }
      const auto value = base::parse_uint(base::trim(*text));
      if (value) {
        sink.add(families_[i], static_cast<double>(*value) * kFiles[i].scale);
      } else {
        complaints_.add(paths_[i], 1, "a number", base::trim(*text));
      }
    }
    if (absent == kFiles.size())
      return fail(Errc::kNotFound, "{}: this kernel does not merge pages", paths_[0]);
    return complaints_.take();
  }

 private:
  const std::array<FamilyId, kMetrics.size()> families_;
  std::array<std::string, kFiles.size()> paths_;
  host::KeptFiles buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kKsmdCollector = {
    .name = "ksmd",
    .help = "Kernel samepage merging.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<KsmdCollector>(context);
    },
};

}  // namespace nexus::monitor
