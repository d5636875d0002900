// bonding: members of every bonded device and how many of them have a link, from sysfs.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/small_files.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_bonding_slaves", MetricType::kGauge,
                     "Number of configured slaves per bonding interface."},
    MetricDescriptor{"node_bonding_active", MetricType::kGauge,
                     "Number of active slaves per bonding interface."},
};

class BondingCollector final : public Collector {
 public:
  explicit BondingCollector(const CollectorContext& context)
      : path_(context.roots.sys("class/net")),
        masters_path_(path_ + "/bonding_masters"),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    auto text = masters_buffer_.read(masters_path_);
    if (!text) return propagate(std::move(text));
    const auto net = SmallDir::open(path_);
    if (!net) return fail(Errc::kNotFound, "{}: no such directory", path_);
    std::string_view masters = *text;
    for (auto master = base::take_word(masters); !master.empty();
         master = base::take_word(masters)) {
      name_ = master;
      add(sink, *net);
    }
    return complaints_.take();
  }

 private:
  /// Of the bonding device called name_.
  void add(Sink& sink, const SmallDir& net) {
    const auto device = is_file_name(name_) ? net.child(name_.c_str()) : std::nullopt;
    const auto bonding = device ? device->child("bonding") : std::nullopt;
    const auto text = bonding ? list_.text(*bonding, "slaves") : std::nullopt;
    if (!text) {
      const std::string shown = base::sanitize_utf8(std::string_view(name_).substr(0, 40));
      return complaints_.add(path_ + "/" + shown, "expected bonding/slaves below it");
    }
    std::string_view slaves = *text;
    double configured = 0;
    double active = 0;
    for (auto slave = base::take_word(slaves); !slave.empty(); slave = base::take_word(slaves)) {
      ++configured;
      if (has_link(*device, slave)) ++active;
    }
    sink.add(families_[0], {{"master", name_}}, configured);
    sink.add(families_[1], {{"master", name_}}, active);
  }

  [[nodiscard]] bool has_link(const SmallDir& device, std::string_view slave) {
    // Since Linux 3.18 lower_NAME, before slave_NAME.
    for (const std::string_view prefix : {"lower_", "slave_"}) {
      file_.assign(prefix).append(slave).append("/bonding_slave/mii_status");
      if (const auto status = status_.text(device, file_.c_str())) return *status == "up";
    }
    complaints_.add(device.path(), fmt::format("expected the mii_status of {}",
                                               base::sanitize_utf8(slave.substr(0, 40))));
    return false;
  }

  static bool is_file_name(std::string_view name) {
    return name.find('/') == std::string_view::npos && !name.starts_with('.');
  }

  const std::string path_;
  const std::string masters_path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::FileBuffer masters_buffer_;
  Complaints complaints_;
  SmallFiles list_{complaints_};
  SmallFiles status_{complaints_};
  std::string name_;
  std::string file_;
};

}  // namespace

const CollectorDescriptor kBondingCollector = {
    .name = "bonding",
    .help = "Members of bonded network devices, and how many have a link.",
    .metrics = kMetrics,
    .make = make_plain<BondingCollector>,
};

}  // namespace nexus::monitor
