// bcache: caches of block devices on faster ones, from /sys/fs/bcache
// (Documentation/admin-guide/bcache.rst).
#include <array>
#include <cmath>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/small_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"priority_stats", OptionType::kBool, "false",
                     "Also the priority statistics of every cache, which are expensive to make."},
};

constexpr std::array kMetrics = {
    // Of a set
    MetricDescriptor{"node_bcache_average_key_size_sectors", MetricType::kGauge,
                     "Average data per key in the btree (sectors)."},
    MetricDescriptor{"node_bcache_btree_cache_size_bytes", MetricType::kGauge,
                     "Amount of memory currently used by the btree cache."},
    MetricDescriptor{"node_bcache_cache_available_percent", MetricType::kGauge,
                     "Percentage of cache device without dirty data, usable for writeback."},
    MetricDescriptor{"node_bcache_congested", MetricType::kGauge, "Congestion."},
    MetricDescriptor{
        "node_bcache_root_usage_percent", MetricType::kGauge,
        "Percentage of the root btree node in use (tree depth increases if too high)."},
    MetricDescriptor{"node_bcache_tree_depth", MetricType::kGauge, "Depth of the btree."},
    MetricDescriptor{"node_bcache_active_journal_entries", MetricType::kGauge,
                     "Number of journal entries that are newer than the index."},
    MetricDescriptor{"node_bcache_btree_nodes", MetricType::kGauge, "Total nodes in the btree."},
    MetricDescriptor{"node_bcache_btree_read_average_duration_seconds", MetricType::kGauge,
                     "Average btree read duration."},
    MetricDescriptor{"node_bcache_cache_read_races_total", MetricType::kCounter,
                     "Number of times data was read while its bucket was used anew."},
    // Of a backing device
    MetricDescriptor{"node_bcache_dirty_data_bytes", MetricType::kGauge,
                     "Amount of dirty data for this backing device in the cache."},
    MetricDescriptor{"node_bcache_dirty_target_bytes", MetricType::kGauge,
                     "Current dirty data target threshold for this backing device in bytes."},
    MetricDescriptor{"node_bcache_writeback_rate", MetricType::kGauge,
                     "Current writeback rate for this backing device in bytes."},
    MetricDescriptor{"node_bcache_writeback_rate_proportional_term", MetricType::kGauge,
                     "Current result of proportional controller, part of writeback rate."},
    MetricDescriptor{"node_bcache_writeback_rate_integral_term", MetricType::kGauge,
                     "Current result of integral controller, part of writeback rate."},
    MetricDescriptor{"node_bcache_writeback_change", MetricType::kGauge,
                     "Last writeback rate change step for this backing device."},
    // What it got from the cache
    MetricDescriptor{"node_bcache_bypassed_bytes_total", MetricType::kCounter,
                     "Amount of IO (both reads and writes) that has bypassed the cache."},
    MetricDescriptor{"node_bcache_cache_hits_total", MetricType::kCounter,
                     "Hits counted per bcache IO."},
    MetricDescriptor{"node_bcache_cache_misses_total", MetricType::kCounter,
                     "Misses counted per bcache IO."},
    MetricDescriptor{"node_bcache_cache_bypass_hits_total", MetricType::kCounter,
                     "Hits for IO intended to skip the cache."},
    MetricDescriptor{"node_bcache_cache_bypass_misses_total", MetricType::kCounter,
                     "Misses for IO intended to skip the cache."},
    MetricDescriptor{"node_bcache_cache_miss_collisions_total", MetricType::kCounter,
                     "Instances where data insertion from cache miss raced with write."},
    MetricDescriptor{"node_bcache_cache_readaheads_total", MetricType::kCounter,
                     "Count of times readahead occurred."},
    // Of a cache device
    MetricDescriptor{"node_bcache_io_errors", MetricType::kGauge,
                     "Number of errors that have occurred, decayed by io_error_halflife."},
    MetricDescriptor{"node_bcache_metadata_written_bytes_total", MetricType::kCounter,
                     "Sum of all non data writes (btree writes and all other metadata)."},
    MetricDescriptor{"node_bcache_written_bytes_total", MetricType::kCounter,
                     "Sum of all data that has been written to the cache."},
    MetricDescriptor{"node_bcache_priority_stats_unused_percent", MetricType::kGauge,
                     "The percentage of the cache that doesn't contain any data."},
    MetricDescriptor{"node_bcache_priority_stats_metadata_percent", MetricType::kGauge,
                     "Bcache's metadata overhead."},
};

constexpr std::array kSet = {
    NumberFile{"average_key_size", 0},
    NumberFile{"btree_cache_size", 1},
    NumberFile{"cache_available_percent", 2},
    NumberFile{"congested", 3},
    NumberFile{"root_usage_percent", 4},
    NumberFile{"tree_depth", 5},
    NumberFile{"internal/active_journal_entries", 6},
    NumberFile{"internal/btree_nodes", 7},
    NumberFile{"internal/btree_read_average_duration_us", 8, 1, 1e6},
    NumberFile{"internal/cache_read_races", 9},
};
constexpr std::array kBacking = {NumberFile{"dirty_data", 10}};
constexpr std::array kTotal = {
    NumberFile{"bypassed", 16},
    NumberFile{"cache_hits", 17},
    NumberFile{"cache_misses", 18},
    NumberFile{"cache_bypass_hits", 19},
    NumberFile{"cache_bypass_misses", 20},
    NumberFile{"cache_miss_collisions", 21},
    NumberFile{"cache_readaheads", 22},
};
constexpr std::array kCache = {
    NumberFile{"io_errors", 23},
    NumberFile{"metadata_written", 24},
    NumberFile{"written", 25},
};

struct KeyLine {
  std::string_view key;
  std::size_t metric;
};
constexpr std::array kWriteback = {
    KeyLine{"target", 11},   KeyLine{"rate", 12},   KeyLine{"proportional", 13},
    KeyLine{"integral", 14}, KeyLine{"change", 15},
};
constexpr std::array kPriority = {KeyLine{"Unused", 26}, KeyLine{"Metadata", 27}};

/// As bcache writes sizes: "-4.2k", "11M", "2.0G/sec", "99%"; powers of 1024.
std::optional<double> parse_size(std::string_view text) {
  for (const std::string_view end : {"/sec", "%"}) {
    if (text.ends_with(end)) text.remove_suffix(end.size());
  }
  constexpr std::string_view kUnits = "kMGTPEZY";
  double factor = 1;
  if (!text.empty()) {
    const std::size_t unit = kUnits.find(text.back());
    if (unit != std::string_view::npos) {
      for (std::size_t i = 0; i <= unit; ++i) factor *= 1024;
      text.remove_suffix(1);
    }
  }
  const bool is_negative = text.starts_with('-');
  if (is_negative) text.remove_prefix(1);
  std::string_view fraction = text;
  const auto whole = base::parse_uint(base::take_until(fraction, '.'));
  const auto tenths =
      fraction.empty() ? std::optional<std::uint64_t>(0) : base::parse_uint(fraction);
  if (!whole || !tenths || *tenths > 9) return std::nullopt;
  // The digit behind the point is a tenth of 1024, rounded down; as in node_exporter it stands for
  // a hundred of the next smaller unit.
  const double size = static_cast<double>(*whole) * factor +
                      static_cast<double>(*tenths) * 100 * std::trunc(factor / 1024);
  return is_negative ? -size : size;
}

bool is_uuid(std::string_view name) {
  return name.find('-') != std::string_view::npos;
}

class BcacheCollector final : public Collector {
 public:
  explicit BcacheCollector(const CollectorContext& context)
      : path_(context.roots.sys("fs/bcache")),
        wants_priority_(option_bool(context, kBcacheCollector, "priority_stats")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return fail(Errc::kNotFound, "{}: not there", path_);
    bool any = false;
    for (const char* name : names_.names()) {
      const auto set = is_uuid(name) ? root->child(name) : std::nullopt;
      if (!set) continue;
      any = true;
      add_set(sink, *set, name);
    }
    if (!any) return fail(Errc::kNotFound, "{}: no set", path_);
    return complaints_.take();
  }

 private:
  void add_set(Sink& sink, const SmallDir& set, std::string_view uuid) {
    const LabelView label{"uuid", uuid};
    add(sink, set, kSet, std::span(&label, 1));
    if (!entries_.read(set)) return;
    for (const char* name : entries_.names()) {
      const std::string_view text = name;
      const bool is_backing = text.starts_with("bdev") && base::parse_uint(text.substr(4));
      const bool is_cache = text.starts_with("cache") && base::parse_uint(text.substr(5));
      if (!is_backing && !is_cache) continue;
      const auto device = set.child(name);
      if (!device) continue;
      const std::array<LabelView, 2> labels = {
          {{"uuid", uuid}, {is_backing ? "backing_device" : "cache_device", text}}};
      if (is_cache) {
        add(sink, *device, kCache, labels);
        if (wants_priority_) add_lines(sink, *device, "priority_stats", kPriority, labels);
        continue;
      }
      add(sink, *device, kBacking, labels);
      add_lines(sink, *device, "writeback_rate_debug", kWriteback, labels);
      if (const auto total = device->child("stats_total")) add(sink, *total, kTotal, labels);
    }
  }

  void add(Sink& sink, const SmallDir& directory, std::span<const NumberFile> files,
           std::span<const LabelView> labels) {
    for (const NumberFile& one : files) {
      const auto text = files_.text(directory, one.file);
      if (!text) continue;
      if (const auto value = parse_size(*text)) {
        sink.add(families_[one.metric], labels, *value / one.divisor);
      } else {
        complaints_.add(directory.path() + "/" + one.file, 1, "a size", *text);
      }
    }
  }

  /// "proportional:   -1.1k"
  void add_lines(Sink& sink, const SmallDir& directory, const char* file,
                 std::span<const KeyLine> keys, std::span<const LabelView> labels) {
    const auto text = files_.text(directory, file);
    if (!text) return;
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      std::string_view value = line;
      const std::string_view key = base::trim(base::take_until(value, ':'));
      for (const KeyLine& one : keys) {
        if (key != one.key) continue;
        if (const auto size = parse_size(base::trim(value))) {
          sink.add(families_[one.metric], labels, *size);
        } else {
          complaints_.add(directory.path() + "/" + file, lines.number(), "a size",
                          base::trim(value));
        }
      }
    }
  }

  const std::string path_;
  const bool wants_priority_;
  const std::array<FamilyId, kMetrics.size()> families_;
  NameList names_;
  NameList entries_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

}  // namespace

const CollectorDescriptor kBcacheCollector = {
    .name = "bcache",
    .help = "Caches of block devices on faster ones.",
    .default_interval = Millis(5'000),
    .options = kOptions,
    .metrics = kMetrics,
    .make = make_plain<BcacheCollector>,
};

}  // namespace nexus::monitor
