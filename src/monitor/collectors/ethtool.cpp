// ethtool: driver, link abilities and the counters of the driver itself of every network device, by
// ioctl(2) SIOCETHTOOL; of the running machine.
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "monitor/collectors.hpp"
#include "monitor/device_filter.hpp"
#include "monitor/families.hpp"
#include "monitor/small_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"device_include", OptionType::kRegex, "''",
                     "Devices that are taken; all when empty. Not together with device_exclude."},
    OptionDescriptor{"device_exclude", OptionType::kRegex, "''", "Devices that are left out."},
    OptionDescriptor{"metrics_include", OptionType::kRegex, "'.*'",
                     "Counters of drivers that are taken, by the driver's name for them."},
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_ethtool_info", MetricType::kGauge,
                     "A metric with a constant '1' value labeled by bus_info, device, driver, "
                     "expansion_rom_version, firmware_version, version."},
    MetricDescriptor{"node_network_supported_port_info", MetricType::kGauge,
                     "Type of ports or PHYs supported by network device."},
    MetricDescriptor{"node_network_supported_speed_bytes", MetricType::kGauge,
                     "Combination of speeds and features supported by network device."},
    MetricDescriptor{"node_network_advertised_speed_bytes", MetricType::kGauge,
                     "Combination of speeds and features offered by network device."},
    MetricDescriptor{"node_network_autonegotiate", MetricType::kGauge,
                     "If this port is using autonegotiate."},
    MetricDescriptor{"node_network_autonegotiate_supported", MetricType::kGauge,
                     "If this port device supports autonegotiate."},
    MetricDescriptor{"node_network_autonegotiate_advertised", MetricType::kGauge,
                     "If this port device offers autonegotiate."},
    MetricDescriptor{"node_network_pause_supported", MetricType::kGauge,
                     "If this port device supports pause frames."},
    MetricDescriptor{"node_network_pause_advertised", MetricType::kGauge,
                     "If this port device offers pause capability."},
    MetricDescriptor{"node_network_asymmetricpause_supported", MetricType::kGauge,
                     "If this port device supports asymmetric pause frames."},
    MetricDescriptor{"node_network_asymmetricpause_advertised", MetricType::kGauge,
                     "If this port device offers asymmetric pause capability."},
    MetricDescriptor{"node_ethtool_*", MetricType::kUntyped, "Network interface *."},
};
enum Metric {
  kInfo,
  kPort,
  kSupportedSpeed,
  kAdvertisedSpeed,
  kAutonegotiate,
  kAutonegotiateSupported,
  kAutonegotiateAdvertised,
  kPauseSupported,
  kPauseAdvertised,
  kAsymmetricSupported,
  kAsymmetricAdvertised
};

struct Port {
  unsigned bit;
  std::string_view name;
};
constexpr std::array kPorts = {
    Port{ETHTOOL_LINK_MODE_TP_BIT, "TP"},   Port{ETHTOOL_LINK_MODE_AUI_BIT, "AUI"},
    Port{ETHTOOL_LINK_MODE_MII_BIT, "MII"}, Port{ETHTOOL_LINK_MODE_FIBRE_BIT, "FIBRE"},
    Port{ETHTOOL_LINK_MODE_BNC_BIT, "BNC"}, Port{ETHTOOL_LINK_MODE_Backplane_BIT, "Backplane"},
};

struct Mode {
  unsigned bit;
  double megabits;
  std::string_view duplex;
  std::string_view mode;
};
constexpr std::array kModes = {
    Mode{ETHTOOL_LINK_MODE_10baseT_Half_BIT, 10, "half", "10baseT"},
    Mode{ETHTOOL_LINK_MODE_10baseT_Full_BIT, 10, "full", "10baseT"},
    Mode{ETHTOOL_LINK_MODE_100baseT_Half_BIT, 100, "half", "100baseT"},
    Mode{ETHTOOL_LINK_MODE_100baseT_Full_BIT, 100, "full", "100baseT"},
    Mode{ETHTOOL_LINK_MODE_1000baseT_Half_BIT, 1000, "half", "1000baseT"},
    Mode{ETHTOOL_LINK_MODE_1000baseT_Full_BIT, 1000, "full", "1000baseT"},
    Mode{ETHTOOL_LINK_MODE_10000baseT_Full_BIT, 10000, "full", "10000baseT"},
    Mode{ETHTOOL_LINK_MODE_2500baseT_Full_BIT, 2500, "full", "2500baseT"},
    Mode{ETHTOOL_LINK_MODE_1000baseKX_Full_BIT, 1000, "full", "1000baseKX"},
    Mode{ETHTOOL_LINK_MODE_10000baseKX4_Full_BIT, 10000, "full", "10000baseKX4"},
    Mode{ETHTOOL_LINK_MODE_10000baseKR_Full_BIT, 10000, "full", "10000baseKR"},
    Mode{ETHTOOL_LINK_MODE_10000baseR_FEC_BIT, 10000, "full", "10000baseR_FEC"},
    Mode{ETHTOOL_LINK_MODE_20000baseMLD2_Full_BIT, 20000, "full", "20000baseMLD2"},
    Mode{ETHTOOL_LINK_MODE_20000baseKR2_Full_BIT, 20000, "full", "20000baseKR2"},
    Mode{ETHTOOL_LINK_MODE_40000baseKR4_Full_BIT, 40000, "full", "40000baseKR4"},
    Mode{ETHTOOL_LINK_MODE_40000baseCR4_Full_BIT, 40000, "full", "40000baseCR4"},
    Mode{ETHTOOL_LINK_MODE_40000baseSR4_Full_BIT, 40000, "full", "40000baseSR4"},
    Mode{ETHTOOL_LINK_MODE_40000baseLR4_Full_BIT, 40000, "full", "40000baseLR4"},
    Mode{ETHTOOL_LINK_MODE_56000baseKR4_Full_BIT, 56000, "full", "56000baseKR4"},
    Mode{ETHTOOL_LINK_MODE_56000baseCR4_Full_BIT, 56000, "full", "56000baseCR4"},
    Mode{ETHTOOL_LINK_MODE_56000baseSR4_Full_BIT, 56000, "full", "56000baseSR4"},
    Mode{ETHTOOL_LINK_MODE_56000baseLR4_Full_BIT, 56000, "full", "56000baseLR4"},
    Mode{ETHTOOL_LINK_MODE_25000baseCR_Full_BIT, 25000, "full", "25000baseCR"},
};

constexpr std::size_t kMaxStatistics = 8192;  // of one device
constexpr std::size_t kMaxWords = 127;        // of a link mode mask, by the kernel's interface

/// As node_exporter makes a metric of a driver's counter: "rx_queue_0_bytes" is
/// received_queue_0_bytes, and what cannot be in a name is one underscore.
std::string metric_name(std::string_view counter) {
  std::string name;
  for (const char c : counter) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    if (c >= 'A' && c <= 'Z') {
      name += static_cast<char>(c - 'A' + 'a');
    } else if (plain) {
      name += c;
    } else if (!name.ends_with('_')) {
      name += '_';
    }
  }
  name.erase(0, std::min(name.find_first_not_of('_'), name.size()));
  std::string result;
  std::string_view replaced;
  for (std::string_view rest = name; !rest.empty();) {
    const bool last = rest.find('_') == std::string_view::npos;
    std::string_view word = base::take_until(rest, '_');
    // As node_exporter's expression does it: of two in a row the second stays.
    const bool again = word == replaced;
    replaced = !again && (word == "rx" || word == "tx") ? word : std::string_view();
    if (replaced == "rx") word = "received";
    if (replaced == "tx") word = "transmitted";
    result.append(word);
    if (!last) result += '_';
  }
  return result;
}

/// The counters that have a name of their own in node_exporter.
std::string family_name(std::string_view counter) {
  constexpr std::array<std::string_view, 7> kTotals = {
      "rx_bytes", "rx_dropped", "rx_errors", "rx_packets", "tx_bytes", "tx_errors", "tx_packets"};
  const bool total = std::ranges::find(kTotals, counter) != kTotals.end();
  return "node_ethtool_" + metric_name(counter) + (total ? "_total" : "");
}

class EthtoolCollector final : public Collector {
 public:
  EthtoolCollector(const CollectorContext& context, NameFilter devices, NameFilter counters)
      : path_(context.roots.sys("class/net")),
        registry_(context.registry),
        devices_(std::move(devices)),
        counters_(std::move(counters)) {
    for (std::size_t i = 0; i < families_.size(); ++i)
      families_[i] = registry_.family(kMetrics[i].name, kMetrics[i].type, kMetrics[i].help);
  }

  Status collect(Sink& sink) override {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return fail(Errc::kNotFound, "{}: not there", path_);
    if (!socket_) socket_ = host::Fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket_) return std::unexpected(Error::from_errno("open a socket for SIOCETHTOOL"));
    for (const char* name : names_.names()) {
      if (!devices_.accepts(name) || std::strlen(name) >= IFNAMSIZ) continue;
      device_ = name;
      add_driver(sink);
      add_link(sink);
      add_counters(sink);
    }
    return {};
  }

 private:
  struct Counter {
    std::string name;  // of the driver
    FamilyId family = 0;
    bool wanted = false;
  };

  /// False when the device or its driver does not know the command.
  bool ask(void* command) {
    ifreq request{};
    std::strncpy(request.ifr_name, device_, IFNAMSIZ - 1);
    request.ifr_data = static_cast<char*>(command);
    return ::ioctl(socket_.get(), SIOCETHTOOL, &request) == 0;
  }

  template <std::size_t N>
  static std::string_view text_of(const char (&field)[N]) {
    return {field, ::strnlen(field, N)};
  }

  void add_driver(Sink& sink) {
    ethtool_drvinfo driver{};
    driver.cmd = ETHTOOL_GDRVINFO;
    if (!ask(&driver)) return;
    sink.add(families_[kInfo],
             {{"device", device_},
              {"bus_info", text_of(driver.bus_info)},
              {"driver", text_of(driver.driver)},
              {"expansion_rom_version", text_of(driver.erom_version)},
              {"firmware_version", text_of(driver.fw_version)},
              {"version", text_of(driver.version)}},
             1);
  }

  /// ETHTOOL_GLINKSETTINGS, which first says how long its masks are.
  void add_link(Sink& sink) {
    alignas(ethtool_link_settings)
        std::array<char, sizeof(ethtool_link_settings) + 3 * kMaxWords * sizeof(std::uint32_t)>
            bytes{};
    auto* settings = reinterpret_cast<ethtool_link_settings*>(bytes.data());
    settings->cmd = ETHTOOL_GLINKSETTINGS;
    if (!ask(bytes.data()) || settings->link_mode_masks_nwords >= 0) return;
    const auto words = static_cast<std::size_t>(-settings->link_mode_masks_nwords);
    if (words > kMaxWords) return;
    settings->cmd = ETHTOOL_GLINKSETTINGS;
    settings->link_mode_masks_nwords = static_cast<std::int8_t>(words);
    if (!ask(bytes.data())) return;
    std::array<std::uint32_t, 3 * kMaxWords> masks;
    std::memcpy(masks.data(), bytes.data() + sizeof(ethtool_link_settings), sizeof(masks));
    const auto supported = std::span(masks).first(words);
    const auto advertised = std::span(masks).subspan(words, words);
    const auto has = [](std::span<const std::uint32_t> mask, unsigned bit) {
      return bit / 32 < mask.size() && ((mask[bit / 32] >> (bit % 32)) & 1U) != 0;
    };
    for (const Port& port : kPorts) {
      if (has(supported, port.bit))
        sink.add(families_[kPort], {{"device", device_}, {"type", port.name}}, 1);
    }
    for (const Mode& mode : kModes) {
      const std::array<LabelView, 3> labels = {
          {{"device", device_}, {"duplex", mode.duplex}, {"mode", mode.mode}}};
      const double speed = mode.megabits * 1e6 / 8;
      if (has(supported, mode.bit)) sink.add(families_[kSupportedSpeed], labels, speed);
      if (has(advertised, mode.bit)) sink.add(families_[kAdvertisedSpeed], labels, speed);
    }
    const auto flag = [&](Metric metric, bool is_set) {
      sink.add(families_[metric], {{"device", device_}}, is_set ? 1 : 0);
    };
    flag(kAutonegotiate, settings->autoneg == AUTONEG_ENABLE);
    flag(kAutonegotiateSupported, has(supported, ETHTOOL_LINK_MODE_Autoneg_BIT));
    flag(kAutonegotiateAdvertised, has(advertised, ETHTOOL_LINK_MODE_Autoneg_BIT));
    flag(kPauseSupported, has(supported, ETHTOOL_LINK_MODE_Pause_BIT));
    flag(kPauseAdvertised, has(advertised, ETHTOOL_LINK_MODE_Pause_BIT));
    flag(kAsymmetricSupported, has(supported, ETHTOOL_LINK_MODE_Asym_Pause_BIT));
    flag(kAsymmetricAdvertised, has(advertised, ETHTOOL_LINK_MODE_Asym_Pause_BIT));
  }

  void add_counters(Sink& sink) {
    std::array<char, sizeof(ethtool_sset_info) + sizeof(std::uint32_t)> size_query{};
    auto* size = reinterpret_cast<ethtool_sset_info*>(size_query.data());
    size->cmd = ETHTOOL_GSSET_INFO;
    size->sset_mask = 1ULL << ETH_SS_STATS;
    if (!ask(size_query.data()) || size->sset_mask == 0) return;
    std::uint32_t count = 0;
    std::memcpy(&count, size_query.data() + sizeof(ethtool_sset_info), sizeof(count));
    if (count == 0 || count > kMaxStatistics) return;
    std::vector<Counter>& counters = counters_of_[device_];
    // Queues come and go with the number of channels; names are asked for when their number
    // changed.
    if (counters.size() != count && !read_names(count, counters)) return;
    buffer_.assign(sizeof(ethtool_stats) + count * sizeof(std::uint64_t), 0);
    auto* stats = reinterpret_cast<ethtool_stats*>(buffer_.data());
    stats->cmd = ETHTOOL_GSTATS;
    stats->n_stats = count;
    if (!ask(buffer_.data()) || stats->n_stats > count) return;
    for (std::uint32_t i = 0; i < stats->n_stats; ++i) {
      if (!counters[i].wanted) continue;
      std::uint64_t value = 0;
      std::memcpy(&value, buffer_.data() + sizeof(ethtool_stats) + i * sizeof(value),
                  sizeof(value));
      sink.add(counters[i].family, {{"device", device_}}, static_cast<double>(value));
    }
  }

  bool read_names(std::uint32_t count, std::vector<Counter>& counters) {
    counters.clear();
    buffer_.assign(sizeof(ethtool_gstrings) + std::size_t{count} * ETH_GSTRING_LEN, 0);
    auto* strings = reinterpret_cast<ethtool_gstrings*>(buffer_.data());
    strings->cmd = ETHTOOL_GSTRINGS;
    strings->string_set = ETH_SS_STATS;
    strings->len = count;
    if (!ask(buffer_.data()) || strings->len != count) return false;
    for (std::uint32_t i = 0; i < count; ++i) {
      const char* text = buffer_.data() + sizeof(ethtool_gstrings) + i * ETH_GSTRING_LEN;
      Counter counter{.name = std::string(base::trim({text, ::strnlen(text, ETH_GSTRING_LEN)}))};
      const std::string family = family_name(counter.name);
      counter.wanted =
          !counter.name.empty() && is_name_part(family) && counters_.accepts(counter.name);
      if (counter.wanted)
        counter.family = registry_.family(family, MetricType::kUntyped,
                                          fmt::format("Network interface {}.", counter.name));
      counters.push_back(std::move(counter));
    }
    return true;
  }

  const std::string path_;
  knowledge::SeriesRegistry& registry_;
  const NameFilter devices_;
  const NameFilter counters_;
  std::array<FamilyId, kMetrics.size() - 1> families_{};
  host::Fd socket_;
  NameList names_;
  const char* device_ = nullptr;
  std::vector<char> buffer_;
  std::map<std::string, std::vector<Counter>, std::less<>> counters_of_;
};

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  auto devices = device_filter(context, kEthtoolCollector);
  if (!devices) return propagate(std::move(devices));
  auto counters =
      NameFilter::make(option_string(context, kEthtoolCollector, "metrics_include"), {});
  if (!counters) return propagate(std::move(counters), "metrics_include");
  return std::make_unique<EthtoolCollector>(context, std::move(*devices), std::move(*counters));
}

}  // namespace

const CollectorDescriptor kEthtoolCollector = {
    .name = "ethtool",
    .help = "Driver, link abilities and the driver's own counters of every network device.",
    .enabled_by_default = false,
    .default_interval = Millis(5'000),
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
