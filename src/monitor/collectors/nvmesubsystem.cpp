// nvmesubsystem: paths of NVMe subsystems (NVMe over fabrics, multipath), from
// /sys/class/nvme-subsystem.
#include <algorithm>
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

enum Metric : std::size_t { kInfo, kNamespace, kPaths, kPathsLive, kPathState };
constexpr std::array kMetrics = {
    MetricDescriptor{"node_nvmesubsystem_info", MetricType::kGauge,
                     "Non-numeric information about an NVMe subsystem."},
    MetricDescriptor{"node_nvmesubsystem_namespace_info", MetricType::kGauge,
                     "Maps an NVMe namespace block device to its subsystem."},
    MetricDescriptor{"node_nvmesubsystem_paths", MetricType::kGauge,
                     "Number of controller paths for an NVMe subsystem."},
    MetricDescriptor{"node_nvmesubsystem_paths_live", MetricType::kGauge,
                     "Number of controller paths in live state for an NVMe subsystem."},
    MetricDescriptor{
        "node_nvmesubsystem_path_state", MetricType::kGauge,
        "Current NVMe controller path state (1 for the current state, 0 for all others)."},
};

constexpr std::array<std::string_view, 5> kStates = {"live", "connecting", "resetting", "dead",
                                                     "unknown"};

/// "nvme0", and not "nvme0n1" or "nvme0c0n1".
bool is_controller(std::string_view name) {
  return name.starts_with("nvme") && name.size() > 4 && base::parse_uint(name.substr(4));
}
bool is_namespace(std::string_view name) {
  return name.starts_with("nvme") && name.find('n', 4) != std::string_view::npos &&
         name.find('c', 4) == std::string_view::npos;
}

class NvmesubsystemCollector final : public Collector {
 public:
  explicit NvmesubsystemCollector(const CollectorContext& context)
      : directory_(context.roots.sys("class/nvme-subsystem")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto names = host::list_directory(directory_);
    if (!names) {
      const bool denied = names.error().code() == Errc::kPermissionDenied;
      return fail(denied ? Errc::kNotFound : names.error().code(), "{}", names.error().message());
    }
    for (const std::string& name : *names) add(sink, name);
    return complaints_.take();
  }

 private:
  void add(Sink& sink, const std::string& name) {
    const std::string path = directory_ + "/" + name;
    const auto entries = host::list_directory(path);
    if (!entries) return complaints_.add(entries.error());
    const std::string subsystem = base::sanitize_utf8(name);
    const std::string nqn = text(path + "/subsysnqn");
    const std::string model = text(path + "/model");
    const std::string serial = text(path + "/serial");
    const std::string policy = text(path + "/iopolicy");
    sink.add(families_[kInfo],
             {{"iopolicy", policy},
              {"model", model},
              {"nqn", nqn},
              {"serial", serial},
              {"subsystem", subsystem}},
             1);
    std::size_t paths = 0;
    std::size_t live = 0;
    for (const std::string& entry : *entries) {
      if (is_namespace(entry)) {
        sink.add(families_[kNamespace], {{"device", entry}, {"subsystem", subsystem}}, 1);
      } else if (is_controller(entry)) {
        ++paths;
        if (add_controller(sink, subsystem, entry, path + "/" + entry)) ++live;
      }
    }
    sink.add(families_[kPaths], {{"subsystem", subsystem}}, static_cast<double>(paths));
    sink.add(families_[kPathsLive], {{"subsystem", subsystem}}, static_cast<double>(live));
  }

  /// Whether the path is live.
  bool add_controller(Sink& sink, const std::string& subsystem, const std::string& controller,
                      const std::string& path) {
    std::string state = text(path + "/state");
    const std::string transport = text(path + "/transport");
    const bool passing = state == "new" || state.starts_with("deleting");  // none of the five
    if (!passing && std::ranges::find(kStates, state) == kStates.end()) state = "unknown";
    for (const std::string_view known : kStates) {
      sink.add(families_[kPathState],
               {{"controller", controller},
                {"state", known},
                {"subsystem", subsystem},
                {"transport", transport}},
               state == known ? 1 : 0);
    }
    return state == "live";
  }

  std::string text(const std::string& path) {
    const auto content = buffer_.read(path);
    if (!content) {
      if (content.error().code() != Errc::kNotFound) complaints_.add(content.error());
      return {};
    }
    return base::sanitize_utf8(base::trim(content->substr(0, 256)));
  }

  const std::string directory_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::FileBuffer buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kNvmesubsystemCollector = {
    .name = "nvmesubsystem",
    .help = "Paths of NVMe subsystems.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<NvmesubsystemCollector>(context);
    },
};

}  // namespace nexus::monitor
