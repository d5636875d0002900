// arp: neighbours that IPv4 knows behind every device, from /proc/net/arp.
#include <algorithm>
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/device_filter.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"device_include", OptionType::kRegex, "''",
                     "Devices that are taken; all when empty. Not together with device_exclude."},
    OptionDescriptor{"device_exclude", OptionType::kRegex, "''", "Devices that are left out."},
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_arp_entries", MetricType::kGauge, "ARP entries by device."},
};

constexpr std::size_t kDeviceColumn = 5;  // address, type, flags, hardware address, mask, device
constexpr std::size_t kMaxDevices = 65'536;

struct Device {
  bool wanted = false;
  std::uint64_t entries = 0;
};

class ArpCollector final : public Collector {
 public:
  ArpCollector(const CollectorContext& context, NameFilter filter)
      : path_(context.roots.proc("net/arp")),
        filter_(std::move(filter)),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    auto text = buffer_.read(path_);
    if (!text) return propagate(std::move(text));
    for (auto& [name, device] : devices_) device.entries = 0;
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      if (lines.number() > 1) count(lines.number(), line);
    }
    if (lines.number() == 0) complaints_.add(path_, "empty, expected a heading");
    // A device without entries any more ends; node_exporter does not know it either.
    std::erase_if(devices_, [](const auto& one) { return one.second.entries == 0; });
    for (const auto& [name, device] : devices_) {
      if (device.wanted)
        sink.add(families_[0], {{"device", name}}, static_cast<double>(device.entries));
    }
    return complaints_.take();
  }

 private:
  void count(std::size_t number, std::string_view line) {
    std::string_view rest = line;
    for (std::size_t i = 0; i < kDeviceColumn; ++i) (void)next_word(rest);
    const std::string_view name = next_word(rest);
    if (name.empty()) return complaints_.add(path_, number, "six columns", line);
    const auto found = std::ranges::find(devices_, name, &std::pair<std::string, Device>::first);
    if (found != devices_.end()) {
      ++found->second.entries;
    } else if (devices_.size() < kMaxDevices) {
      devices_.emplace_back(std::string(name), Device{filter_.accepts(name), 1});
    }
  }

  const std::string path_;
  const NameFilter filter_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::FileBuffer buffer_;
  std::vector<std::pair<std::string, Device>> devices_;  // few: a host has few with neighbours
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
