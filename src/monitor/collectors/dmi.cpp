// dmi: maker, model and firmware of the machine, from /sys/class/dmi/id.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/small_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_dmi_info", MetricType::kGauge,
                     "A metric with a constant '1' value labeled by what the DMI tables say, where "
                     "it is readable."},
};

struct Field {
  std::string_view label;
  const char* file;
};
constexpr std::array kFields = {
    Field{"bios_date", "bios_date"},
    Field{"bios_release", "bios_release"},
    Field{"bios_vendor", "bios_vendor"},
    Field{"bios_version", "bios_version"},
    Field{"board_asset_tag", "board_asset_tag"},
    Field{"board_name", "board_name"},
    Field{"board_serial", "board_serial"},
    Field{"board_vendor", "board_vendor"},
    Field{"board_version", "board_version"},
    Field{"chassis_asset_tag", "chassis_asset_tag"},
    Field{"chassis_serial", "chassis_serial"},
    Field{"chassis_vendor", "chassis_vendor"},
    Field{"chassis_version", "chassis_version"},
    Field{"product_family", "product_family"},
    Field{"product_name", "product_name"},
    Field{"product_serial", "product_serial"},
    Field{"product_sku", "product_sku"},
    Field{"product_uuid", "product_uuid"},
    Field{"product_version", "product_version"},
    Field{"system_vendor", "sys_vendor"},
};

class DmiCollector final : public Collector {
 public:
  explicit DmiCollector(const CollectorContext& context)
      : path_(context.roots.sys("class/dmi/id")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto id = SmallDir::open(path_);
    if (!id) return fail(Errc::kNotFound, "{}: no such directory", path_);
    std::array<LabelView, kFields.size()> labels;
    for (std::size_t i = 0; i < kFields.size(); ++i) {
      values_[i] = files_.text(*id, kFields[i].file).value_or(std::string_view());
      labels[i] = {kFields[i].label, values_[i]};
    }
    sink.add(families_[0], labels, 1);
    return complaints_.take();
  }

 private:
  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  std::array<std::string, kFields.size()> values_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

}  // namespace

const CollectorDescriptor kDmiCollector = {
    .name = "dmi",
    .help = "Maker, model and firmware of the machine.",
    .default_interval = Millis(60'000),
    .metrics = kMetrics,
    .make = make_plain<DmiCollector>,
};

}  // namespace nexus::monitor
