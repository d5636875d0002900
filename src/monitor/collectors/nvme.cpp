// nvme: identity of every NVMe controller, size and use of its namespaces, from /sys/class/nvme.
#include <array>
#include <cctype>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/small_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_nvme_info", MetricType::kGauge,
                     "Non-numeric data from /sys/class/nvme/<device>, value is always 1."},
    MetricDescriptor{"node_nvme_namespace_info", MetricType::kGauge,
                     "Information about NVMe namespaces. Value is always 1."},
    MetricDescriptor{"node_nvme_namespace_capacity_bytes", MetricType::kGauge,
                     "Capacity of the NVMe namespace in bytes, its size in blocks times the size "
                     "of a block."},
    MetricDescriptor{"node_nvme_namespace_size_bytes", MetricType::kGauge,
                     "Size of the NVMe namespace in bytes."},
    MetricDescriptor{"node_nvme_namespace_used_bytes", MetricType::kGauge,
                     "Used space of the NVMe namespace in bytes."},
    MetricDescriptor{"node_nvme_namespace_logical_block_size_bytes", MetricType::kGauge,
                     "Logical block size of the NVMe namespace in bytes."},
};
enum Metric { kInfo, kNamespace, kCapacity, kSize, kUsed, kBlock };

constexpr std::array kFields = {"firmware_rev", "model", "serial", "state", "cntlid"};

/// The number of a namespace: "1" of "nvme0n1", and of "nvme0c0n1", a path to it; empty for
/// partitions and all else.
std::string_view namespace_id(std::string_view name) {
  if (!name.starts_with("nvme")) return {};
  const std::size_t n = name.rfind('n');
  if (n < 5) return {};
  const std::string_view id = name.substr(n + 1);
  return base::parse_uint(id) ? id : std::string_view();
}

class NvmeCollector final : public Collector {
 public:
  explicit NvmeCollector(const CollectorContext& context)
      : path_(context.roots.sys("class/nvme")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return fail(Errc::kNotFound, "{}: not there", path_);
    if (names_.names().empty()) return fail(Errc::kNotFound, "{}: no controller", path_);
    for (const char* name : names_.names()) {
      if (const auto device = root->child(name)) add(sink, *device, name);
    }
    return complaints_.take();
  }

 private:
  void add(Sink& sink, const SmallDir& device, std::string_view name) {
    for (std::size_t i = 0; i < kFields.size(); ++i) {
      texts_[i] = files_.text(device, kFields[i]).value_or(std::string_view());
    }
    sink.add(families_[kInfo],
             {{"device", name},
              {"firmware_revision", texts_[0]},
              {"model", texts_[1]},
              {"serial", texts_[2]},
              {"state", texts_[3]},
              {"cntlid", texts_[4]}},
             1);
    if (!entries_.read(device)) return;
    for (const char* entry : entries_.names()) {
      const std::string_view id = namespace_id(entry);
      const auto directory = id.empty() ? std::nullopt : device.child(entry);
      if (directory) add_namespace(sink, *directory, name, id);
    }
  }

  void add_namespace(Sink& sink, const SmallDir& directory, std::string_view device,
                     std::string_view id) {
    const std::array<LabelView, 2> labels = {{{"device", device}, {"nsid", id}}};
    const auto state = files_.text(directory, "ana_state");
    sink.add(families_[kNamespace],
             {{"device", device}, {"nsid", id}, {"ana_state", state.value_or("unknown")}}, 1);
    const auto sectors = files_.number(directory, "size");
    const auto block = files_.number(directory, "queue/logical_block_size");
    const auto used = files_.number(directory, "nuse");
    constexpr double kSector = 512;  // of the block layer, whatever the namespace's blocks are
    if (sectors) {
      sink.add(families_[kCapacity], labels, *sectors * kSector);
      sink.add(families_[kSize], labels, *sectors * kSector);
    }
    if (used && block) sink.add(families_[kUsed], labels, *used * *block);
    if (block) sink.add(families_[kBlock], labels, *block);
  }

  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  NameList names_;
  NameList entries_;
  std::array<std::string, kFields.size()> texts_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

}  // namespace

const CollectorDescriptor kNvmeCollector = {
    .name = "nvme",
    .help = "Identity of NVMe controllers, size and use of their namespaces.",
    // The use of a namespace is asked of the controller.
    .default_interval = Millis(30'000),
    .metrics = kMetrics,
    .make = make_plain<NvmeCollector>,
};

}  // namespace nexus::monitor
