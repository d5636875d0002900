// netclass: link, speed, MTU and addresses of every network device.
//
// On a running machine one request of rtnetlink tells nearly everything of all devices; it is made
// when the kernel says that one has changed, and once a minute. What it does not tell (speed,
// duplex, the device's number, how name and address were assigned) is read from /sys/class/net when
// a device appears, when its link or address changes, and once a minute: asking for the speed asks
// the driver. On a recorded tree, and where /sys shows another network name space than the agent's
// own (a container with the host's /sys), all of it is read from /sys/class/net.
#include <linux/magic.h>
#include <net/if.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <optional>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/link_table.hpp"
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
    MetricDescriptor{"node_network_altnames_info", MetricType::kGauge,
                     "Non-numeric data of <iface> altname, value is always 1."},
};
#undef NEXUS_NETCLASS
#undef NEXUS_NETCLASS_COUNTER
enum Metric {
  kUp,
  kInfo,
  kFlags,
  kSpeed,
  kAddressAssignType,
  kCarrier,
  kCarrierChanges,
  kCarrierUps,
  kCarrierDowns,
  kDeviceId,
  kDormant,
  kIndex,
  kPeer,
  kLinkMode,
  kMtu,
  kNameAssignType,
  kGroup,
  kQueueLength,
  kProtocolType,
  kAltnames,
};

constexpr std::array kFiles = {
    NumberFile{"addr_assign_type", kAddressAssignType},
    NumberFile{"carrier", kCarrier},
    NumberFile{"carrier_changes", kCarrierChanges},
    NumberFile{"carrier_up_count", kCarrierUps},
    NumberFile{"carrier_down_count", kCarrierDowns},
    NumberFile{"dev_id", kDeviceId},
    NumberFile{"dormant", kDormant},
    NumberFile{"ifindex", kIndex},
    NumberFile{"iflink", kPeer},
    NumberFile{"link_mode", kLinkMode},
    NumberFile{"mtu", kMtu},
    NumberFile{"name_assign_type", kNameAssignType},
    NumberFile{"netdev_group", kGroup},
    NumberFile{"tx_queue_len", kQueueLength},
    NumberFile{"type", kProtocolType},
};

constexpr double kMegabit = 1000.0 * 1000 / 8;  // bytes
constexpr Millis kRenewal{60'000};              // of what is read from sysfs beside rtnetlink
constexpr std::size_t kMaxDevices = 65'536;

/// What rtnetlink does not tell, as it was when it was read, and what it goes with.
struct Settings {
  std::optional<SteadyTime> read;
  std::uint32_t flags = 0;
  std::uint8_t state = 0;
  std::optional<std::uint32_t> changes;
  std::string address;
  std::optional<double> speed;
  std::optional<double> address_assign_type;
  std::optional<double> name_assign_type;
  std::optional<double> device_id;
  std::string duplex;
};

bool is_sysfs(const std::string& path) {
  struct statfs kind{};
  return ::statfs(path.c_str(), &kind) == 0 && kind.f_type == SYSFS_MAGIC;
}

class NetclassCollector final : public Collector {
 public:
  NetclassCollector(const CollectorContext& context, NameFilter ignored)
      : clock_(context.clock),
        path_(context.roots.sys("class/net")),
        is_live_(is_sysfs(path_)),
        ignores_invalid_speed_(option_bool(context, kNetclassCollector, "ignore_invalid_speed")),
        ignored_(std::move(ignored)),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    if (is_live_ && read_links()) {
      add_links(sink);
      return complaints_.take();
    }
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
  /// Whether links_ holds the devices that /sys/class/net shows.
  bool read_links() {
    const SteadyTime now = clock_.steady();
    // A renewal may find what no notice was for.
    if (watch_ && !watch_->changed() && now - compared_at_ < kRenewal && compared_ != 0)
      return true;
    if (!watch_) watch_ = LinkWatch::open();  // before they are read: no change is between
    if (!netlink_) {
      auto opened = Netlink::open(NETLINK_ROUTE);
      if (!opened) return false;
      netlink_.emplace(std::move(*opened));
    }
    if (!links_.read(*netlink_)) {
      netlink_.reset();  // late answers must not meet the next question
      compared_ = 0;
      return false;
    }
    if (links_.fingerprint() == compared_ && now - compared_at_ < kRenewal) return true;
    compared_ = 0;
    if (!is_own_sysfs()) return false;
    compared_ = links_.fingerprint();
    compared_at_ = now;
    return true;
  }

  bool is_own_sysfs() {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return false;
    const auto shown = names_.names();
    const auto others = static_cast<std::size_t>(std::ranges::count_if(
        shown, [](const char* name) { return std::string_view(name) == "bonding_masters"; }));
    if (links_.links().size() != shown.size() - others) return false;
    return std::ranges::all_of(links_.links(), [&](const Link& link) {
      const auto device = root->child(link.name.c_str());
      return device && files_.number(*device, "ifindex") == static_cast<double>(link.index);
    });
  }

  void add_links(Sink& sink) {
    settings_.start_run();
    for (const Link& link : links_.links()) {
      if (!ignored_.accepts(link.name)) continue;
      Settings* settings = settings_.next(link.name, [](std::string_view) { return Settings{}; });
      if (settings == nullptr) continue;
      if (is_stale(*settings, link)) read_settings(*settings, link);
      add_link(sink, link, *settings);
    }
    settings_.forget_absent();
  }

  [[nodiscard]] bool is_stale(const Settings& settings, const Link& link) const {
    return !settings.read || clock_.steady() - *settings.read >= kRenewal ||
           settings.flags != link.flags || settings.state != link.state ||
           settings.changes != link.carrier_changes || settings.address != link.address;
  }

  void read_settings(Settings& settings, const Link& link) {
    directory_.assign(path_).append(1, '/').append(link.name);
    const auto device = SmallDir::open(directory_);
    if (!device) return;  // it has just gone
    settings.read = clock_.steady();
    settings.flags = link.flags;
    settings.state = link.state;
    settings.changes = link.carrier_changes;
    settings.address = link.address;
    settings.speed = files_.number(*device, "speed");
    settings.address_assign_type = files_.number(*device, "addr_assign_type");
    settings.name_assign_type = files_.number(*device, "name_assign_type");
    settings.device_id = files_.number(*device, "dev_id");
    settings.duplex = files_.text(*device, "duplex").value_or(std::string_view());
  }

  void add_link(Sink& sink, const Link& link, const Settings& settings) const {
    const auto add = [&](Metric metric, double value) {
      sink.add(families_[metric], {{"device", link.name}}, value);
    };
    const auto add_known = [&](Metric metric, const auto& value) {
      if (value) add(metric, static_cast<double>(*value));
    };
    add(kUp, link.state_name() == "up" ? 1 : 0);
    sink.add(families_[kInfo],
             {{"device", link.name},
              {"address", link.address},
              {"broadcast", link.broadcast},
              {"duplex", settings.duplex},
              {"operstate", link.state_name()},
              {"adminstate", link.is_up ? "up" : "down"},
              {"ifalias", link.alias}},
             1);
    for (const std::string& other : link.other_names)
      sink.add(families_[kAltnames], {{"altname", other}, {"device", link.name}}, 1);
    add(kFlags, link.flags);
    add_known(kAddressAssignType, settings.address_assign_type);
    if (link.is_up) add_known(kCarrier, link.carrier);
    add_known(kCarrierChanges, link.carrier_changes);
    add_known(kCarrierUps, link.carrier_ups);
    add_known(kCarrierDowns, link.carrier_downs);
    add_known(kDeviceId, settings.device_id);
    if (link.is_up) add(kDormant, link.is_dormant ? 1 : 0);
    add(kIndex, link.index);
    add(kPeer, link.peer);
    add(kLinkMode, link.mode);
    add(kMtu, link.mtu);
    add_known(kNameAssignType, settings.name_assign_type);
    add(kGroup, link.group);
    add(kQueueLength, link.queue_length);
    add(kProtocolType, link.type);
    if (settings.speed && (*settings.speed >= 0 || !ignores_invalid_speed_))
      add(kSpeed, *settings.speed * kMegabit);
  }

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

  Clock& clock_;
  const std::string path_;
  const bool is_live_;
  const bool ignores_invalid_speed_;
  const NameFilter ignored_;
  const std::array<FamilyId, kMetrics.size()> families_;
  std::optional<Netlink> netlink_;
  LinkTable links_;
  std::optional<LinkWatch> watch_;
  std::uint64_t compared_ = 0;  // the fingerprint of links that /sys/class/net had, too; 0: none
  SteadyTime compared_at_{};
  NameTable<Settings> settings_{kMaxDevices};
  std::string directory_;
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
    // Twenty files a device where rtnetlink cannot be asked, a few of which ask its driver.
    .default_interval = Millis(5'000),
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
