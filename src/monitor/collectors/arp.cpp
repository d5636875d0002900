// arp: neighbours that IPv4 knows behind every device, by rtnetlink; on a recorded tree from
// /proc/net/arp, which does not tell their states.
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <optional>

#include "monitor/device_filter.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "monitor/tcp_sockets.hpp"
#include "nexus/host/file.hpp"
#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

extern const CollectorDescriptor kArpCollector;  // of table.cpp

namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"device_include", OptionType::kRegex, "''",
                     "Devices that are taken; all when empty. Not together with device_exclude."},
    OptionDescriptor{"device_exclude", OptionType::kRegex, "''", "Devices that are left out."},
    OptionDescriptor{"netlink", OptionType::kBool, "true",
                     "Ask rtnetlink, which also tells the states, rather than /proc/net/arp."},
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_arp_entries", MetricType::kGauge, "ARP entries by device"},
    MetricDescriptor{"node_arp_states", MetricType::kGauge, "ARP states by device"},
};

struct State {
  std::uint16_t number;
  std::string_view name;
};
constexpr std::array kStates = {
    State{NUD_INCOMPLETE, "incomplete"}, State{NUD_REACHABLE, "reachable"},
    State{NUD_STALE, "stale"},           State{NUD_DELAY, "delay"},
    State{NUD_PROBE, "probe"},           State{NUD_FAILED, "failed"},
    State{NUD_PERMANENT, "permanent"},
};

constexpr std::size_t kDeviceColumn = 5;  // address, type, flags, hardware address, mask, device
constexpr std::size_t kMaxDevices = 65'536;

struct Device {
  bool wanted = false;
  std::uint64_t entries = 0;
  std::array<std::uint64_t, kStates.size()> states{};
  std::array<bool, kStates.size()> seen{};  // had some once: 0 rather than an end
};

class ArpCollector final : public Collector {
 public:
  ArpCollector(const CollectorContext& context, NameFilter filter)
      : path_(context.roots.proc("net/arp")),
        asks_kernel_(is_live(context.roots) && option_bool(context, kArpCollector, "netlink")),
        filter_(std::move(filter)),
        families_(families_of(context.registry, kMetrics)) {
    request_.put(ndmsg{.ndm_family = AF_INET});
  }

  Status collect(Sink& sink) override {
    for (auto& [name, device] : devices_) {
      device.entries = 0;
      device.states = {};
    }
    if (Status counted = asks_kernel_ ? ask() : read(); !counted) return counted;
    // A device without entries any more ends; node_exporter does not know it either.
    std::erase_if(devices_, [](const auto& one) { return one.second.entries == 0; });
    for (const auto& [name, device] : devices_) {
      if (device.wanted) add(sink, name, device);
    }
    return complaints_.take();
  }

 private:
  void add(Sink& sink, const std::string& name, const Device& device) const {
    sink.add(families_[0], {{"device", name}}, static_cast<double>(device.entries));
    for (std::size_t i = 0; i < kStates.size(); ++i) {
      if (!device.seen[i]) continue;
      sink.add(families_[1], {{"device", name}, {"state", kStates[i].name}},
               static_cast<double>(device.states[i]));
    }
  }

  Status ask() {
    if (!netlink_) {
      auto opened = Netlink::open(NETLINK_ROUTE);
      if (!opened) return propagate(std::move(opened));
      netlink_.emplace(std::move(*opened));
    }
    places_.clear();
    Status asked = netlink_->ask(request_, [this](unsigned type, Bytes payload) {
      const auto neighbour = read_as<ndmsg>(payload);
      // Without what needs no address resolution, as /proc/net/arp.
      if (type != RTM_NEWNEIGH || !neighbour || (neighbour->ndm_state & NUD_NOARP) != 0) return;
      Device* const device = device_at(neighbour->ndm_ifindex);
      if (device == nullptr) return;
      ++device->entries;
      for (std::size_t i = 0; i < kStates.size(); ++i) {
        if (neighbour->ndm_state != kStates[i].number) continue;
        ++device->states[i];
        device->seen[i] = true;
      }
    });
    if (!asked) netlink_.reset();  // late answers must not meet the next question
    return asked;
  }

  /// Null when it has just gone. A device's name is asked for once a run.
  Device* device_at(int index) {
    const auto known = std::ranges::find(places_, index, &std::pair<int, std::size_t>::first);
    if (known != places_.end()) return &devices_[known->second].second;
    if (!control_) control_ = host::Fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    request.ifr_ifindex = index;
    if (::ioctl(control_.get(), SIOCGIFNAME, &request) != 0) return nullptr;
    Device* const device = device_named(text_of(std::as_bytes(std::span(request.ifr_name))));
    const auto is_it = [&](const auto& one) { return &one.second == device; };
    if (device != nullptr)
      places_.emplace_back(index, std::ranges::find_if(devices_, is_it) - devices_.begin());
    return device;
  }

  Status read() {
    auto text = buffer_.read(path_);
    if (!text) return propagate(std::move(text));
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      if (lines.number() > 1) count(lines.number(), line);
    }
    if (lines.number() == 0) complaints_.add(path_, "empty, expected a heading");
    return {};
  }

  Device* device_named(std::string_view name) {
    const auto found = std::ranges::find(devices_, name, &std::pair<std::string, Device>::first);
    if (found != devices_.end()) return &found->second;
    if (devices_.size() >= kMaxDevices) return nullptr;
    return &devices_.emplace_back(std::string(name), Device{.wanted = filter_.accepts(name)})
                .second;
  }

  void count(std::size_t number, std::string_view line) {
    std::string_view rest = line;
    for (std::size_t i = 0; i < kDeviceColumn; ++i) (void)next_word(rest);
    const std::string_view name = next_word(rest);
    if (name.empty()) return complaints_.add(path_, number, "six columns", line);
    if (Device* const device = device_named(name)) ++device->entries;
  }

  const std::string path_;
  const bool asks_kernel_;
  const NameFilter filter_;
  const std::array<FamilyId, kMetrics.size()> families_;
  NetlinkRequest request_{RTM_GETNEIGH, NLM_F_DUMP};
  std::optional<Netlink> netlink_;
  host::Fd control_;  // any socket: names of devices are asked for through it
  host::FileBuffer buffer_;
  std::vector<std::pair<std::string, Device>> devices_;  // few: a host has few with neighbours
  std::vector<std::pair<int, std::size_t>> places_;      // in devices_, by index; of this run
  Complaints complaints_;
};

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  auto filter = device_filter(context, kArpCollector);
  if (!filter) return propagate(std::move(filter));
  return std::make_unique<ArpCollector>(context, std::move(*filter));
}

}  // namespace

const CollectorDescriptor kArpCollector = {
    .name = "arp",
    .help = "Neighbours that IPv4 knows behind every device.",
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
