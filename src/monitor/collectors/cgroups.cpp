// cgroups: how many groups every controller has, from /proc/cgroups.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_cgroups_cgroups", MetricType::kGauge,
                     "Current cgroup number of the subsystem."},
    MetricDescriptor{"node_cgroups_enabled", MetricType::kGauge,
                     "Current cgroup number of the subsystem, whether it is enabled."},
};

class CgroupsCollector final : public Collector {
 public:
  explicit CgroupsCollector(const CollectorContext& context)
      : path_(context.roots.proc("cgroups")), families_(families_of(context.registry, kMetrics)) {}

  /// "cpuset  3  12  1": name, hierarchy, groups, enabled.
  Status collect(Sink& sink) override {
    auto text = buffer_.read(path_);
    if (!text) return propagate(std::move(text));
    if (text->empty()) complaints_.add(path_, "empty, expected a heading");
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      if (line.starts_with('#')) continue;
      std::string_view rest = line;
      const std::string_view name = next_word(rest);
      (void)next_word(rest);
      const auto groups = base::parse_uint(next_word(rest));
      const auto enabled = base::parse_uint(next_word(rest));
      if (name.empty() || !groups || !enabled) {
        complaints_.add(path_, lines.number(), "NAME and three numbers", line);
        continue;
      }
      sink.add(families_[0], {{"subsys_name", name}}, static_cast<double>(*groups));
      sink.add(families_[1], {{"subsys_name", name}}, *enabled != 0 ? 1 : 0);
    }
    return complaints_.take();
  }

 private:
  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kCgroupsCollector = {
    .name = "cgroups",
    .help = "How many groups every cgroup controller has.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<CgroupsCollector>(context);
    },
};

}  // namespace nexus::monitor
