// netclass: link, speed, MTU and addresses of every network device, from /sys/class/net.
#include <net/if.h>

#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/name_filter.hpp"
#include "monitor/small_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"ignored_devices", OptionType::kRegex, "'^$'", "Devices that are left out."},
    OptionDescriptor{"ignore_invalid_speed", OptionType::kBool, "false",
                     "Leave out node_network_speed_bytes where the driver says -1."},
};

#define NEXUS_NETCLASS(name) \
  MetricDescriptor{"node_network_" name, MetricType::kGauge, "Network device property: " name "."}
#define NEXUS_NETCLASS_COUNTER(name) \
  MetricDescriptor{"node_network_" name, MetricType::kCounter, "Network device property: " name "."}
constexpr std::array kMetrics = {
    MetricDescriptor{"node_network_up", MetricType::kGauge,
                     "Value is 1 if operstate is 'up', 0 otherwise."},
    MetricDescriptor{"node_network_info", MetricType::kGauge,
                     "Non-numeric data from /sys/class/net/<iface>, value is always 1."},
    NEXUS_NETCLASS("flags"),
    NEXUS_NETCLASS("speed_bytes"),
    NEXUS_NETCLASS("address_assign_type"),
    NEXUS_NETCLASS("carrier"),
    NEXUS_NETCLASS_COUNTER("carrier_changes_total"),
    NEXUS_NETCLASS_COUNTER("carrier_up_changes_total"),
    NEXUS_NETCLASS_COUNTER("carrier_down_changes_total"),
    NEXUS_NETCLASS("device_id"),
    NEXUS_NETCLASS("dormant"),
    NEXUS_NETCLASS("iface_id"),
    NEXUS_NETCLASS("iface_link"),
    NEXUS_NETCLASS("iface_link_mode"),
    NEXUS_NETCLASS("mtu_bytes"),
    NEXUS_NETCLASS("name_assign_type"),
    NEXUS_NETCLASS("net_dev_group"),
    NEXUS_NETCLASS("transmit_queue_length"),
    NEXUS_NETCLASS("protocol_type"),
};
#undef NEXUS_NETCLASS
#undef NEXUS_NETCLASS_COUNTER
enum Metric { kUp, kInfo, kFlags, kSpeed };

constexpr std::array kFiles = {
    NumberFile{"addr_assign_type", 4},
    NumberFile{"carrier", 5},
    NumberFile{"carrier_changes", 6},
    NumberFile{"carrier_up_count", 7},
    NumberFile{"carrier_down_count", 8},
    NumberFile{"dev_id", 9},
    NumberFile{"dormant", 10},
    NumberFile{"ifindex", 11},
    NumberFile{"iflink", 12},
    NumberFile{"link_mode", 13},
    NumberFile{"mtu", 14},
    NumberFile{"name_assign_type", 15},
    NumberFile{"netdev_group", 16},
    NumberFile{"tx_queue_len", 17},
    NumberFile{"type", 18},
};

constexpr double kMegabit = 1000.0 * 1000 / 8;  // bytes

class NetclassCollector final : public Collector {
 public:
  NetclassCollector(const CollectorContext& context, NameFilter ignored)
      : path_(context.roots.sys("class/net")),
        ignores_invalid_speed_(option_bool(context, kNetclassCollector, "ignore_invalid_speed")),
        ignored_(std::move(ignored)),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return fail(Errc::kNotFound, "{}: not there", path_);
    for (const char* name : names_.names()) {
      if (!ignored_.accepts(name)) continue;
      // What is no directory is the list of the bonding driver.
      if (const auto device = root->child(name)) add(sink, *device, name);
    }
    return complaints_.take();
  }

 private:
  void add(Sink& sink, const SmallDir& device, std::string_view name) {
    const LabelView label{"device", name};
    const auto labels = std::span(&label, 1);
    const auto flags = files_.number(device, "flags");
    add_texts(sink, device, name, flags);
    if (flags) sink.add(families_[kFlags], labels, *flags);
    files_.add_numbers(sink, device, kFiles, families_, labels);
    if (const auto speed = files_.number(device, "speed")) {
      if (*speed >= 0 || !ignores_invalid_speed_)
        sink.add(families_[kSpeed], labels, *speed * kMegabit);
    }
  }

  void add_texts(Sink& sink, const SmallDir& device, std::string_view name,
                 std::optional<double> flags) {
    constexpr std::array kTexts = {"address", "broadcast", "duplex", "operstate", "ifalias"};
    for (std::size_t i = 0; i < kTexts.size(); ++i) {
      texts_[i] = files_.text(device, kTexts[i]).value_or(std::string_view());
    }
    std::string_view admin = "unknown";
    if (flags) admin = (static_cast<std::uint64_t>(*flags) & IFF_UP) != 0 ? "up" : "down";
    sink.add(families_[kUp], {{"device", name}}, texts_[3] == "up" ? 1 : 0);
    sink.add(families_[kInfo],
             {{"device", name},
              {"address", texts_[0]},
              {"broadcast", texts_[1]},
              {"duplex", texts_[2]},
              {"operstate", texts_[3]},
              {"adminstate", admin},
              {"ifalias", texts_[4]}},
             1);
  }

  const std::string path_;
  const bool ignores_invalid_speed_;
  const NameFilter ignored_;
  const std::array<FamilyId, kMetrics.size()> families_;
  NameList names_;
  std::array<std::string, 5> texts_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  auto ignored =
      NameFilter::make({}, option_string(context, kNetclassCollector, "ignored_devices"));
  if (!ignored) return propagate(std::move(ignored), "ignored_devices");
  return std::make_unique<NetclassCollector>(context, std::move(*ignored));
}

}  // namespace

const CollectorDescriptor kNetclassCollector = {
    .name = "netclass",
    .help = "Link, speed, MTU and addresses of every network device.",
    // Twenty files a device, a few of which ask its driver.
    .default_interval = Millis(5'000),
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
