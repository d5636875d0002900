// zoneinfo: pages of every memory zone, from /proc/zoneinfo. What is counted for a whole node
// stands in its first zone.
#include <algorithm>
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

struct Field {
  std::string_view name;
  MetricDescriptor metric;
};
constexpr std::array kFields = {
    Field{"free",
          {"node_zoneinfo_nr_free_pages", MetricType::kGauge,
           "Total number of free pages in the zone"}},
    Field{"min", {"node_zoneinfo_min_pages", MetricType::kGauge, "Zone watermark pages_min"}},
    Field{"low", {"node_zoneinfo_low_pages", MetricType::kGauge, "Zone watermark pages_low"}},
    Field{"high", {"node_zoneinfo_high_pages", MetricType::kGauge, "Zone watermark pages_high"}},
    Field{"scanned",
          {"node_zoneinfo_scanned_pages", MetricType::kGauge, "Pages scanned since last reclaim"}},
    Field{"spanned",
          {"node_zoneinfo_spanned_pages", MetricType::kGauge,
           "Total pages spanned by the zone, including holes"}},
    Field{"present",
          {"node_zoneinfo_present_pages", MetricType::kGauge,
           "Physical pages existing within the zone"}},
    Field{"managed",
          {"node_zoneinfo_managed_pages", MetricType::kGauge,
           "Present pages managed by the buddy system"}},
    Field{"nr_active_anon",
          {"node_zoneinfo_nr_active_anon_pages", MetricType::kGauge,
           "Number of anonymous pages recently more used"}},
    Field{"nr_inactive_anon",
          {"node_zoneinfo_nr_inactive_anon_pages", MetricType::kGauge,
           "Number of anonymous pages recently less used"}},
    Field{"nr_isolated_anon",
          {"node_zoneinfo_nr_isolated_anon_pages", MetricType::kGauge,
           "Temporary isolated pages from anon lru"}},
    Field{"nr_anon_pages",
          {"node_zoneinfo_nr_anon_pages", MetricType::kGauge,
           "Number of anonymous pages currently used by the system"}},
    Field{"nr_anon_transparent_hugepages",
          {"node_zoneinfo_nr_anon_transparent_hugepages", MetricType::kGauge,
           "Number of anonymous transparent huge pages currently used by the system"}},
    Field{"nr_active_file",
          {"node_zoneinfo_nr_active_file_pages", MetricType::kGauge,
           "Number of active pages with file-backing"}},
    Field{"nr_inactive_file",
          {"node_zoneinfo_nr_inactive_file_pages", MetricType::kGauge,
           "Number of inactive pages with file-backing"}},
    Field{"nr_isolated_file",
          {"node_zoneinfo_nr_isolated_file_pages", MetricType::kGauge,
           "Temporary isolated pages from file lru"}},
    Field{"nr_file_pages",
          {"node_zoneinfo_nr_file_pages", MetricType::kGauge, "Number of file pages"}},
    Field{"nr_slab_reclaimable",
          {"node_zoneinfo_nr_slab_reclaimable_pages", MetricType::kGauge,
           "Number of reclaimable slab pages"}},
    Field{"nr_slab_unreclaimable",
          {"node_zoneinfo_nr_slab_unreclaimable_pages", MetricType::kGauge,
           "Number of unreclaimable slab pages"}},
    Field{"nr_mlock_stack",
          {"node_zoneinfo_nr_mlock_stack_pages", MetricType::kGauge,
           "mlock()ed pages found and moved off LRU"}},
    Field{"nr_kernel_stack",
          {"node_zoneinfo_nr_kernel_stacks", MetricType::kGauge, "Number of kernel stacks"}},
    Field{"nr_mapped",
          {"node_zoneinfo_nr_mapped_pages", MetricType::kGauge, "Number of mapped pages"}},
    Field{"nr_dirty",
          {"node_zoneinfo_nr_dirty_pages", MetricType::kGauge, "Number of dirty pages"}},
    Field{"nr_writeback",
          {"node_zoneinfo_nr_writeback_pages", MetricType::kGauge, "Number of writeback pages"}},
    Field{
        "nr_unevictable",
        {"node_zoneinfo_nr_unevictable_pages", MetricType::kGauge, "Number of unevictable pages"}},
    Field{"nr_shmem",
          {"node_zoneinfo_nr_shmem_pages", MetricType::kGauge,
           "Number of shmem pages (included tmpfs/GEM pages)"}},
    Field{"nr_dirtied",
          {"node_zoneinfo_nr_dirtied_total", MetricType::kCounter, "Page dirtyings since bootup"}},
    Field{"nr_written",
          {"node_zoneinfo_nr_written_total", MetricType::kCounter, "Page writings since bootup"}},
    Field{"numa_hit",
          {"node_zoneinfo_numa_hit_total", MetricType::kCounter, "Allocated in intended node"}},
    Field{
        "numa_miss",
        {"node_zoneinfo_numa_miss_total", MetricType::kCounter, "Allocated in non intended node"}},
    Field{"numa_foreign",
          {"node_zoneinfo_numa_foreign_total", MetricType::kCounter,
           "Was intended here, hit elsewhere"}},
    Field{"numa_interleave",
          {"node_zoneinfo_numa_interleave_total", MetricType::kCounter,
           "Interleaver preferred this zone"}},
    Field{"numa_local",
          {"node_zoneinfo_numa_local_total", MetricType::kCounter, "Allocation from local node"}},
    Field{"numa_other",
          {"node_zoneinfo_numa_other_total", MetricType::kCounter, "Allocation from other node"}},
};

constexpr auto kMetrics = [] {
  std::array<MetricDescriptor, kFields.size() + 1> all{};
  for (std::size_t i = 0; i < kFields.size(); ++i) all[i] = kFields[i].metric;
  all[kFields.size()] = {"node_zoneinfo_protection_*", MetricType::kGauge,
                         "Protection array N. field"};
  return all;
}();

constexpr std::size_t kMaxProtection = 16;
constexpr std::size_t kMaxZones = 4096;

class ZoneinfoCollector final : public Collector {
 public:
  explicit ZoneinfoCollector(const CollectorContext& context)
      : path_(context.roots.proc("zoneinfo")), registry_(context.registry) {
    for (std::size_t i = 0; i < kFields.size(); ++i)
      families_[i] =
          registry_.family(kFields[i].metric.name, kFields[i].metric.type, kFields[i].metric.help);
  }

  Status collect(Sink& sink) override {
    const auto text = buffer_.read(path_);
    if (!text) return std::unexpected(text.error());
    zones_ = 0;
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) add(sink, lines.number(), line);
    if (zones_ == 0) complaints_.add(path_, "expected zones of memory");
    return complaints_.take();
  }

 private:
  void add(Sink& sink, std::size_t number, std::string_view line) {
    std::string_view rest = line;
    std::string_view name = next_word(rest);
    if (name == "Node") return begin_zone(number, line);
    if (zones_ == 0 || zones_ > kMaxZones) return;
    if (name == "pagesets" || name == "cpu:") per_cpu_ = true;
    if (per_cpu_ && !line.starts_with("  start_pfn")) return;  // high and others mean sets there
    if (name == "pages") name = next_word(rest);               // "pages free"
    if (name == "protection:") return add_protection(sink, number, rest);
    const auto field = std::ranges::find(kFields, name, &Field::name);
    if (field == kFields.end()) return;
    const auto place = static_cast<std::size_t>(field - kFields.begin());
    if (seen_[place]) return complaints_.add(path_, number, "each field once in a zone", name);
    const std::string_view word = next_word(rest);
    const auto value = base::parse_uint(word);
    if (!value) return complaints_.add(path_, number, "a number of pages", word);
    seen_[place] = true;
    sink.add(families_[place], {{"node", node_}, {"zone", zone_}}, static_cast<double>(*value));
  }

  /// Node 0, zone      DMA
  void begin_zone(std::size_t number, std::string_view line) {
    std::string_view rest = line;
    static_cast<void>(next_word(rest));
    std::string_view node = next_word(rest);
    const bool is_right = node.ends_with(',') && next_word(rest) == "zone";
    const std::string_view zone = next_word(rest);
    if (node.ends_with(',')) node.remove_suffix(1);
    if (!is_right || zone.empty() || !base::parse_uint(node)) {
      zones_ = 0;  // what follows is of a zone without a name
      return complaints_.add(path_, number, "Node NUMBER, zone NAME", line);
    }
    if (++zones_ > kMaxZones) return;
    node_ = node;
    zone_ = base::sanitize_utf8(zone);
    seen_.fill(false);
    per_cpu_ = false;
    has_protection_ = false;
  }

  /// protection: (0, 1916, 32109, 32109, 0)
  void add_protection(Sink& sink, std::size_t number, std::string_view rest) {
    if (std::exchange(has_protection_, true))
      return complaints_.add(path_, number, "protection once in a zone", rest);
    rest = base::trim(rest);
    if (!rest.starts_with('(') || !rest.ends_with(')'))
      return complaints_.add(path_, number, "numbers in parentheses", rest);
    rest = rest.substr(1, rest.size() - 2);
    for (std::size_t i = 0; !rest.empty() && i < kMaxProtection; ++i) {
      const std::string_view word = base::trim(base::take_until(rest, ','));
      const auto value = base::parse_uint(word);
      if (!value) return complaints_.add(path_, number, "a number of pages", word);
      if (i >= protection_.size())
        protection_.push_back(registry_.family(fmt::format("node_zoneinfo_protection_{}", i),
                                               MetricType::kGauge,
                                               fmt::format("Protection array {}. field", i)));
      sink.add(protection_[i], {{"node", node_}, {"zone", zone_}}, static_cast<double>(*value));
    }
  }

  const std::string path_;
  knowledge::SeriesRegistry& registry_;
  std::array<FamilyId, kFields.size()> families_{};
  std::vector<FamilyId> protection_;
  std::array<bool, kFields.size()> seen_{};  // in this zone
  bool has_protection_ = false;
  bool per_cpu_ = false;  // inside the list of page sets
  std::size_t zones_ = 0;
  std::string node_;
  std::string zone_;
  host::KeptFiles buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kZoneinfoCollector = {
    .name = "zoneinfo",
    .help = "Pages of every memory zone.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<ZoneinfoCollector>(context);
    },
};

}  // namespace nexus::monitor
