// selinux: whether SELinux is on, and its mode now and as configured, from /sys/fs/selinux and
// /etc/selinux/config.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/small_files.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_selinux_enabled", MetricType::kGauge,
                     "SELinux is enabled, 1 is true, 0 is false."},
    MetricDescriptor{"node_selinux_config_mode", MetricType::kGauge,
                     "Configured SELinux enforcement mode."},
    MetricDescriptor{"node_selinux_current_mode", MetricType::kGauge,
                     "Current SELinux enforcement mode."},
};

class SelinuxCollector final : public Collector {
 public:
  explicit SelinuxCollector(const CollectorContext& context)
      : path_(context.roots.sys("fs/selinux")),
        config_path_(context.roots.root("/etc/selinux/config")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto directory = SmallDir::open(path_);
    const auto enforce = directory ? files_.number(*directory, "enforce") : std::nullopt;
    const bool is_enabled = directory && directory->has("enforce");
    sink.add(families_[0], is_enabled ? 1 : 0);
    if (!is_enabled) return {};
    if (const auto mode = configured()) sink.add(families_[1], *mode);
    if (enforce) sink.add(families_[2], *enforce);
    return complaints_.take();
  }

 private:
  /// SELINUX=enforcing is 1, permissive 0, disabled -1.
  std::optional<double> configured() {
    const auto text = buffer_.read(config_path_);
    if (!text) return std::nullopt;
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      std::string_view value = base::trim(line);
      if (base::trim(base::take_until(value, '=')) != "SELINUX") continue;
      value = base::trim(value);
      if (value == "enforcing") return 1;
      if (value == "permissive") return 0;
      if (value == "disabled") return -1;
      complaints_.add(config_path_, lines.number(), "enforcing, permissive or disabled", value);
    }
    return std::nullopt;
  }

  const std::string path_;
  const std::string config_path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::FileBuffer buffer_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

}  // namespace

const CollectorDescriptor kSelinuxCollector = {
    .name = "selinux",
    .help = "Whether SELinux is on, and its mode.",
    .default_interval = Millis(15'000),
    .metrics = kMetrics,
    .make = make_plain<SelinuxCollector>,
};

}  // namespace nexus::monitor
