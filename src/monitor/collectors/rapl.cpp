// rapl: energy that packages, cores and memory used, from /sys/class/powercap. Only root may read
// it (CVE-2020-8694).
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/small_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"enable_zone_label", OptionType::kBool, "false",
                     "One metric node_rapl_joules_total with a label rapl_zone."},
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_rapl_*", MetricType::kCounter, "Current RAPL value in joules."},
};

constexpr std::size_t kMaxZones = 4096;

/// The name of a zone and its number: "package-0" is the first package; "dram" and "core" come in
/// every package and are numbered in the order of the directories.
struct Zone {
  std::string name;
  std::string index;
  FamilyId family = 0;
};

class RaplCollector final : public Collector {
 public:
  explicit RaplCollector(const CollectorContext& context)
      : path_(context.roots.sys("class/powercap")),
        with_label_(option_bool(context, kRaplCollector, "enable_zone_label")),
        registry_(context.registry) {}

  Status collect(Sink& sink) override {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return fail(Errc::kNotFound, "{}: not there", path_);
    std::size_t seen = 0;
    bool any = false;
    for (const char* directory : names_.names()) {
      const auto zone = root->child(directory);
      const auto name = zone ? files_.text(*zone, "name") : std::nullopt;
      if (!name || name->empty() || seen >= kMaxZones) continue;
      any = true;
      // Zones are numbered anew as soon as one of them is another than before.
      if (seen >= zones_.size() || zones_[seen].first != *name) renumber(seen, *name);
      add(sink, *zone, directory, zones_[seen++].second);
    }
    zones_.resize(seen);
    if (!any) return fail(Errc::kNotFound, "{}: no zone", path_);
    return complaints_.take();
  }

 private:
  void renumber(std::size_t from, std::string_view text) {
    zones_.resize(from);
    Zone zone;
    std::string_view rest = text;
    const std::string_view head = base::take_until(rest, '-');
    if (base::parse_uint(rest) && text.find('-') == text.rfind('-')) {
      zone.name = head;
      zone.index = rest;
    } else {
      std::size_t before = 0;
      for (const auto& [full, one] : zones_) before += one.name == text ? 1 : 0;
      zone.name = text;
      zone.index = std::to_string(before);
    }
    zone.family = family_of(zone.name);
    zones_.emplace_back(text, std::move(zone));
  }

  FamilyId family_of(std::string_view zone) {
    if (with_label_)
      return registry_.family("node_rapl_joules_total", MetricType::kCounter,
                              "Current RAPL value in joules.");
    std::string name(zone.substr(0, 64));
    for (char& c : name) {
      const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
      if (c >= 'A' && c <= 'Z') {
        c = static_cast<char>(c - 'A' + 'a');
      } else if (!plain) {
        c = '_';
      }
    }
    return registry_.family(fmt::format("node_rapl_{}_joules_total", name), MetricType::kCounter,
                            fmt::format("Current RAPL {} value in joules.", name));
  }

  void add(Sink& sink, const SmallDir& directory, std::string_view name, const Zone& zone) {
    const auto energy = files_.number(directory, "energy_uj");
    if (!energy) return;
    constexpr double kMicro = 1e6;
    full_path_.assign(path_).append("/").append(name);
    if (with_label_) {
      sink.add(zone.family, {{"index", zone.index}, {"path", full_path_}, {"rapl_zone", zone.name}},
               *energy / kMicro);
    } else {
      sink.add(zone.family, {{"index", zone.index}, {"path", full_path_}}, *energy / kMicro);
    }
  }

  const std::string path_;
  const bool with_label_;
  knowledge::SeriesRegistry& registry_;
  NameList names_;
  std::vector<std::pair<std::string, Zone>> zones_;  // by the text of the file name
  std::string full_path_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

}  // namespace

const CollectorDescriptor kRaplCollector = {
    .name = "rapl",
    .help = "Energy that packages, cores and memory used.",
    .default_interval = Millis(5'000),
    .options = kOptions,
    .metrics = kMetrics,
    .make = make_plain<RaplCollector>,
};

}  // namespace nexus::monitor
