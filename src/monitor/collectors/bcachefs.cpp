// bcachefs: mounted bcachefs file systems, below /sys/fs/bcachefs/UUID.
//
// Sizes there are for people to read ("1.5G"): powers of 1024, so good to two or three digits.
#include <algorithm>
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

enum Metric : std::size_t {
  kInfo,
  kBtreeCache,
  kCompressed,
  kUncompressed,
  kErrors,
  kBtreeWrites,
  kBtreeWriteSize,
  kDeviceInfo,
  kBucketSize,
  kBuckets,
  kDurability,
  kIoDone,
  kIoErrors,
  kCounters,
};
constexpr std::array kMetrics = {
    MetricDescriptor{"node_bcachefs_info", MetricType::kGauge, "Filesystem information."},
    MetricDescriptor{"node_bcachefs_btree_cache_size_bytes", MetricType::kGauge,
                     "Btree cache memory usage in bytes."},
    MetricDescriptor{"node_bcachefs_compression_compressed_bytes", MetricType::kGauge,
                     "Compressed size by algorithm."},
    MetricDescriptor{"node_bcachefs_compression_uncompressed_bytes", MetricType::kGauge,
                     "Uncompressed size by algorithm."},
    MetricDescriptor{"node_bcachefs_errors_total", MetricType::kCounter,
                     "Error count by error type."},
    MetricDescriptor{"node_bcachefs_btree_writes_total", MetricType::kCounter,
                     "Number of btree writes by type."},
    MetricDescriptor{"node_bcachefs_btree_write_average_size_bytes", MetricType::kGauge,
                     "Average btree write size by type."},
    MetricDescriptor{"node_bcachefs_device_info", MetricType::kGauge, "Device information."},
    MetricDescriptor{"node_bcachefs_device_bucket_size_bytes", MetricType::kGauge,
                     "Bucket size in bytes."},
    MetricDescriptor{"node_bcachefs_device_buckets", MetricType::kGauge,
                     "Total number of buckets."},
    MetricDescriptor{"node_bcachefs_device_durability", MetricType::kGauge,
                     "Device durability setting."},
    MetricDescriptor{"node_bcachefs_device_io_done_bytes_total", MetricType::kCounter,
                     "IO bytes by operation type and data type."},
    MetricDescriptor{"node_bcachefs_device_io_errors_total", MetricType::kCounter,
                     "IO errors by error type."},
    MetricDescriptor{"node_bcachefs_*", MetricType::kCounter,
                     "Bcachefs counter NAME since filesystem creation."},
};

constexpr std::size_t kMaxCounters = 512;

/// "1.5G"
std::optional<double> human(std::string_view text) {
  text = base::trim(text);
  if (text.empty()) return std::nullopt;
  constexpr std::string_view kUnits = "kmgtpe";
  const char last = static_cast<char>(text.back() | 0x20);
  double scale = 1;
  if (const std::size_t unit = kUnits.find(last); unit != std::string_view::npos) {
    for (std::size_t i = 0; i <= unit; ++i) scale *= 1024;
    text = base::trim(text.substr(0, text.size() - 1));
  }
  const auto value = base::parse_double(text);
  if (!value || !(*value >= 0) || *value > 1e18) return std::nullopt;
  return *value * scale;
}

class BcachefsCollector final : public Collector {
 public:
  explicit BcachefsCollector(const CollectorContext& context)
      : directory_(context.roots.sys("fs/bcachefs")),
        registry_(context.registry),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto names = host::list_directory(directory_);
    if (!names) return std::unexpected(names.error());
    if (names->empty()) return fail(Errc::kNotFound, "{}: no file system", directory_);
    for (const std::string& name : *names) add(sink, name);
    return complaints_.take();
  }

 private:
  void add(Sink& sink, const std::string& name) {
    const std::string path = directory_ + "/" + name;
    const auto entries = host::list_directory(path);
    if (!entries) return complaints_.add(entries.error());
    uuid_ = base::sanitize_utf8(name);
    sink.add(families_[kInfo], {{"uuid", uuid_}}, 1);
    if (const auto text = read(path + "/btree_cache_size")) {
      if (const auto size = human(*text)) {
        sink.add(families_[kBtreeCache], {{"uuid", uuid_}}, *size);
      } else {
        complaints_.add(path + "/btree_cache_size", 1, "a size", base::trim(*text));
      }
    }
    add_table(sink, path + "/compression_stats", "algorithm", kCompressed, kUncompressed, true);
    add_table(sink, path + "/btree_write_stats", "type", kBtreeWrites, kBtreeWriteSize, false);
    add_errors(sink, path + "/errors");
    add_counters(sink, path + "/counters");
    for (const std::string& entry : *entries) {
      if (entry.starts_with("dev-")) add_device(sink, path + "/" + entry + "/", entry.substr(4));
    }
  }

  /// A line of headings, then "NAME: FIRST SECOND ...".
  void add_table(Sink& sink, const std::string& path, std::string_view label, Metric first,
                 Metric second, bool sizes) {
    const auto text = read(path);
    if (!text) return;
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      if (lines.number() == 1) continue;
      std::string_view rest = line;
      std::string_view name = next_word(rest);
      if (name.ends_with(':')) name.remove_suffix(1);
      const std::string_view one = next_word(rest);
      const auto left = sizes ? human(one) : whole(one);
      const auto right = human(next_word(rest));
      if (!left || !right) {
        complaints_.add(path, lines.number(), "NAME: and two numbers", line);
        continue;
      }
      const std::string shown = base::sanitize_utf8(name);
      sink.add(families_[first], {{label, shown}, {"uuid", uuid_}}, *left);
      sink.add(families_[second], {{label, shown}, {"uuid", uuid_}}, *right);
    }
  }

  /// NAME COUNT TIME
  void add_errors(Sink& sink, const std::string& path) {
    const auto text = read(path);
    if (!text) return;
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      std::string_view rest = line;
      const std::string name = base::sanitize_utf8(next_word(rest));
      const auto count = whole(next_word(rest));
      if (count) {
        sink.add(families_[kErrors], {{"error_type", name}, {"uuid", uuid_}}, *count);
      } else {
        complaints_.add(path, lines.number(), "NAME COUNT", line);
      }
    }
  }

  void add_counters(Sink& sink, const std::string& path) {
    const auto names = host::list_directory(path);
    if (!names) return;  // older ones have none
    std::size_t taken = 0;
    for (const std::string& name : *names) {
      if (++taken > kMaxCounters) return complaints_.add(path, "more than 512 counters");
      const auto text = read(path + "/" + name);
      if (!text || !is_name_part(name)) continue;
      constexpr std::string_view kKey = "since filesystem creation:";
      const std::size_t at = text->find(kKey);
      const std::string_view rest =
          at == std::string_view::npos ? std::string_view{} : text->substr(at + kKey.size());
      const auto value = human(rest.substr(0, rest.find('\n')));
      if (!value) {
        complaints_.add(path + "/" + name, 1, "since filesystem creation: NUMBER", *text);
        continue;
      }
      const FamilyId family =
          registry_.family(fmt::format("node_bcachefs_{}_total", name), MetricType::kCounter,
                           fmt::format("Bcachefs counter {} since filesystem creation.", name));
      sink.add(family, {{"uuid", uuid_}}, *value);
    }
  }

  void add_device(Sink& sink, const std::string& path, const std::string& name) {
    const std::string device = base::sanitize_utf8(name);
    const std::string label = word(path + "label");
    const std::string state = word(path + "state");
    sink.add(families_[kDeviceInfo],
             {{"device", device}, {"label", label}, {"state", state}, {"uuid", uuid_}}, 1);
    const auto add_number = [&](Metric metric, std::string_view file) {
      const auto text = read(path + std::string(file));
      const auto value = text ? human(*text) : 0.0;
      if (value) return sink.add(families_[metric], {{"device", device}, {"uuid", uuid_}}, *value);
      complaints_.add(path + std::string(file), 1, "a number", base::trim(*text));
    };
    add_number(kBucketSize, "bucket_size");
    add_number(kBuckets, "nbuckets");
    add_number(kDurability, "durability");
    add_io(sink, path + "io_done", device);
    add_io_errors(sink, path + "io_errors", device);
  }

  /// "read:", then "  TYPE : BYTES"; the same for write.
  void add_io(Sink& sink, const std::string& path, const std::string& device) {
    const auto text = read(path);
    if (!text) return;
    std::string_view operation;
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      std::string_view rest = base::trim(line);
      if (rest == "read:" || rest == "write:") {
        operation = rest.substr(0, rest.size() - 1);
        continue;
      }
      const std::string type = base::sanitize_utf8(base::trim(base::take_until(rest, ':')));
      const auto bytes = whole(base::trim(rest));
      if (operation.empty() || !bytes) {
        complaints_.add(path, lines.number(), "TYPE: BYTES below read: or write:", line);
        continue;
      }
      sink.add(families_[kIoDone],
               {{"data_type", type}, {"device", device}, {"operation", operation}, {"uuid", uuid_}},
               *bytes);
    }
  }

  /// Those since the file system was made, and not those since a reset, which follow.
  void add_io_errors(Sink& sink, const std::string& path, const std::string& device) {
    const auto text = read(path);
    if (!text) return;
    bool inside = false;
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      if (line.starts_with("IO errors since")) {
        inside = line.starts_with("IO errors since filesystem creation");
        continue;
      }
      if (!inside) continue;
      std::string_view rest = base::trim(line);
      const std::string type = base::sanitize_utf8(base::trim(base::take_until(rest, ':')));
      const auto count = whole(base::trim(rest));
      if (count) {
        sink.add(families_[kIoErrors], {{"device", device}, {"type", type}, {"uuid", uuid_}},
                 *count);
      } else {
        complaints_.add(path, lines.number(), "TYPE: COUNT", line);
      }
    }
  }

  static std::optional<double> whole(std::string_view text) {
    const auto value = base::parse_uint(text);
    if (!value) return std::nullopt;
    return static_cast<double>(*value);
  }

  /// Not every version has every file.
  std::optional<std::string_view> read(const std::string& path) {
    const auto text = buffer_.read(path);
    if (text) return *text;
    if (text.error().code() != Errc::kNotFound) complaints_.add(text.error());
    return std::nullopt;
  }

  std::string word(const std::string& path) {
    const auto text = read(path);
    return text ? base::sanitize_utf8(base::trim(text->substr(0, 256))) : std::string();
  }

  const std::string directory_;
  knowledge::SeriesRegistry& registry_;
  const std::array<FamilyId, kMetrics.size()> families_;
  std::string uuid_;
  host::FileBuffer buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kBcachefsCollector = {
    .name = "bcachefs",
    .help = "Mounted bcachefs file systems.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<BcachefsCollector>(context);
    },
};

}  // namespace nexus::monitor
