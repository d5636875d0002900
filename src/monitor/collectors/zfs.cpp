// zfs: caches, intent log, pools and datasets of OpenZFS, from /proc/spl/kstat/zfs.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "monitor/small_files.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_zfs_abd_*", MetricType::kUntyped, "kstat.zfs.misc.abdstats.*"},
    MetricDescriptor{"node_zfs_arc_*", MetricType::kUntyped, "kstat.zfs.misc.arcstats.*"},
    MetricDescriptor{"node_zfs_dbuf_*", MetricType::kUntyped, "kstat.zfs.misc.dbufstats.*"},
    MetricDescriptor{"node_zfs_dmu_tx_*", MetricType::kUntyped, "kstat.zfs.misc.dmu_tx.*"},
    MetricDescriptor{"node_zfs_dnode_*", MetricType::kUntyped, "kstat.zfs.misc.dnodestats.*"},
    MetricDescriptor{"node_zfs_fm_*", MetricType::kUntyped, "kstat.zfs.misc.fm.*"},
    MetricDescriptor{"node_zfs_vdev_cache_*", MetricType::kUntyped,
                     "kstat.zfs.misc.vdev_cache_stats.*"},
    MetricDescriptor{"node_zfs_vdev_mirror_*", MetricType::kUntyped,
                     "kstat.zfs.misc.vdev_mirror_stats.*"},
    MetricDescriptor{"node_zfs_xuio_*", MetricType::kUntyped, "kstat.zfs.misc.xuio_stats.*"},
    MetricDescriptor{"node_zfs_zfetch_*", MetricType::kUntyped, "kstat.zfs.misc.zfetchstats.*"},
    MetricDescriptor{"node_zfs_zil_*", MetricType::kUntyped, "kstat.zfs.misc.zil.*"},
    MetricDescriptor{"node_zfs_zpool_*", MetricType::kUntyped, "kstat.zfs.misc.io.*"},
    MetricDescriptor{"node_zfs_zpool_dataset_*", MetricType::kUntyped, "kstat.zfs.misc.objset.*"},
    MetricDescriptor{"node_zfs_zpool_state", MetricType::kGauge, "kstat.zfs.misc.state"},
};

struct Statistics {
  const char* file;
  std::string_view subsystem;
};
constexpr std::array kStatistics = {
    Statistics{"abdstats", "zfs_abd"},
    Statistics{"arcstats", "zfs_arc"},
    Statistics{"dbufstats", "zfs_dbuf"},
    Statistics{"dmu_tx", "zfs_dmu_tx"},
    Statistics{"dnodestats", "zfs_dnode"},
    Statistics{"fm", "zfs_fm"},
    Statistics{"vdev_cache_stats", "zfs_vdev_cache"},
    Statistics{"vdev_mirror_stats", "zfs_vdev_mirror"},
    Statistics{"xuio_stats", "zfs_xuio"},
    Statistics{"zfetchstats", "zfs_zfetch"},
    Statistics{"zil", "zfs_zil"},
};
constexpr std::array<std::string_view, 7> kStates = {"online",  "degraded", "faulted",  "offline",
                                                     "removed", "unavail",  "suspended"};

// Types of a kstat: signed and unsigned 64 bit; the others are not numbers to plot.
constexpr std::string_view kInt64 = "3";
constexpr std::string_view kUint64 = "4";
constexpr std::size_t kMaxNames = 4096;

class ZfsCollector final : public Collector {
 public:
  explicit ZfsCollector(const CollectorContext& context)
      : path_(context.roots.proc("spl/kstat/zfs")),
        registry_(context.registry),
        state_(context.registry.family(kMetrics.back().name, kMetrics.back().type,
                                       kMetrics.back().help)) {}

  Status collect(Sink& sink) override {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return fail(Errc::kNotFound, "{}: not there", path_);
    for (const Statistics& one : kStatistics) add_statistics(sink, *root, one);
    for (const char* name : names_.names()) {
      if (const auto pool = root->child(name)) add_pool(sink, *pool, name);
    }
    return complaints_.take();
  }

 private:
  /// "name type data" and a line for every value.
  template <typename Add>
  void each_value(const std::string& path, std::string_view text, Add&& add) {
    bool begun = false;
    Lines lines(text);
    for (std::string_view line; lines.next(line);) {
      std::string_view rest = line;
      const std::string_view name = next_word(rest);
      const std::string_view type = next_word(rest);
      const std::string_view data = next_word(rest);
      if (!begun) {
        begun = name == "name" && type == "type" && data == "data";
        continue;
      }
      if (!data.empty()) add(lines.number(), name, type, data);
    }
    if (!begun) complaints_.add(path, "expected a line \"name type data\"");
  }

  void add_statistics(Sink& sink, const SmallDir& root, const Statistics& one) {
    const auto text = buffer_.read_at(root.fd(), one.file);
    if (!text) return;  // versions differ in what they have
    const std::string& path = path_of(root, one.file);
    each_value(path, *text, [&](std::size_t number, auto name, auto type, auto data) {
      if (type != kInt64 && type != kUint64) return;
      add_value(sink, path, number, one.subsystem, one.file, name, data, {});
    });
  }

  void add_pool(Sink& sink, const SmallDir& pool, std::string_view name) {
    const LabelView label{"zpool", name};
    if (const auto io = buffer_.read_at(pool.fd(), "io")) {
      add_io(sink, path_of(pool, "io"), *io, std::span(&label, 1));
    }
    if (!entries_.read(pool)) return;
    for (const char* entry : entries_.names()) {
      if (!std::string_view(entry).starts_with("objset-")) continue;
      if (const auto text = buffer_.read_at(pool.fd(), entry))
        add_dataset(sink, path_of(pool, entry), *text, name);
    }
    const auto state = files_.text(pool, "state");
    if (!state) return;
    state_text_ = *state;
    for (char& c : state_text_) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    for (const std::string_view one : kStates)
      sink.add(state_, {{"zpool", name}, {"state", one}}, one == state_text_ ? 1 : 0);
  }

  /// A line of headings that begins with nread, and one of values.
  void add_io(Sink& sink, const std::string& path, std::string_view text,
              std::span<const LabelView> labels) {
    std::string_view heading;
    Lines lines(text);
    for (std::string_view line; lines.next(line);) {
      if (heading.empty()) {
        if (base::trim(line).starts_with("nread")) heading = line;
        continue;
      }
      std::string_view names = heading;
      std::string_view values = line;
      for (auto field = next_word(names); !field.empty(); field = next_word(names))
        add_value(sink, path, lines.number(), "zfs_zpool", "io", field, next_word(values), labels);
      return;
    }
    complaints_.add(path, "expected a line of headings from nread on, and one of values");
  }

  void add_dataset(Sink& sink, const std::string& path, std::string_view text,
                   std::string_view pool) {
    std::string_view dataset;
    each_value(path, text, [&](std::size_t number, auto name, auto type, auto data) {
      if (name == "dataset_name") {
        dataset = data;
      } else if (type == kUint64) {
        const std::array<LabelView, 2> labels = {{{"zpool", pool}, {"dataset", dataset}}};
        add_value(sink, path, number, "zfs_zpool_dataset", "objset", name, data, labels);
      }
    });
  }

  void add_value(Sink& sink, const std::string& path, std::size_t number,
                 std::string_view subsystem, std::string_view file, std::string_view name,
                 std::string_view data, std::span<const LabelView> labels) {
    const auto value = parse_number(data);
    if (!value) return complaints_.add(path, number, "a number", data);
    key_.assign("node_").append(subsystem).append(1, '_').append(name);
    for (char& c : key_) {
      if (c == '-') c = '_';
    }
    if (const auto family = family_of(file, name)) return sink.add(*family, labels, *value);
    complaints_.add(path, number, "a name of letters, digits and _", name);
  }

  /// Of the metric called key_. A pool comes with the same names as the one before it.
  std::optional<FamilyId> family_of(std::string_view file, std::string_view name) {
    const auto found = known_.find(key_);
    if (found != known_.end()) return found->second;
    if (known_.size() >= kMaxNames || !is_name_part(key_)) return std::nullopt;
    const FamilyId family = registry_.family(key_, MetricType::kUntyped,
                                             fmt::format("kstat.zfs.misc.{}.{}", file, name));
    known_.emplace(key_, family);
    return family;
  }

  const std::string& path_of(const SmallDir& directory, std::string_view file) {
    return path_text_.assign(directory.path()).append(1, '/').append(file);
  }

  const std::string path_;
  knowledge::SeriesRegistry& registry_;
  const FamilyId state_;
  host::FileBuffer buffer_;
  NameList names_;
  NameList entries_;
  std::unordered_map<std::string, FamilyId> known_;
  std::string key_;
  std::string path_text_;
  std::string state_text_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

}  // namespace

const CollectorDescriptor kZfsCollector = {
    .name = "zfs",
    .help = "Caches, intent log, pools and datasets of OpenZFS.",
    .metrics = kMetrics,
    .make = make_plain<ZfsCollector>,
};

}  // namespace nexus::monitor
