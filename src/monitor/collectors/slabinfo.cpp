// slabinfo: the kernel's object caches, from /proc/slabinfo, which only root may read.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/name_filter.hpp"
#include "monitor/named_lines.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"slabs_include", OptionType::kRegex, "'.*'", "Caches that are taken."},
    OptionDescriptor{"slabs_exclude", OptionType::kRegex, "''", "Caches that are left out."},
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_slabinfo_active_objects", MetricType::kGauge,
                     "The number of objects that are currently active (i.e., in use)."},
    MetricDescriptor{
        "node_slabinfo_objects", MetricType::kGauge,
        "The total number of allocated objects (i.e., objects that are both in use and not in "
        "use)."},
    MetricDescriptor{"node_slabinfo_object_size_bytes", MetricType::kGauge,
                     "The size of objects in this slab, in bytes."},
    MetricDescriptor{"node_slabinfo_objects_per_slab", MetricType::kGauge,
                     "The number of objects stored in each slab."},
    MetricDescriptor{"node_slabinfo_pages_per_slab", MetricType::kGauge,
                     "The number of pages allocated for each slab."},
};

constexpr std::size_t kMaxSlabs = 4096;

struct Slab {
  std::string name;
  bool wanted = false;
};

class SlabinfoCollector final : public Collector {
 public:
  SlabinfoCollector(const CollectorContext& context, NameFilter filter)
      : path_(context.roots.proc("slabinfo")),
        filter_(std::move(filter)),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    return read_named_lines(
        buffer_, path_, host::Record::kUnknown, "a list of caches", slabs_, complaints_,
        [&](std::size_t number, std::string_view line) { add(sink, number, line); });
  }

 private:
  void add(Sink& sink, std::size_t number, std::string_view line) {
    if (line.starts_with("slabinfo") || line.starts_with('#')) return;
    std::string_view rest = line;
    const std::string_view name = next_word(rest);
    const Slab* const slab = slabs_.next(name, [&](std::string_view given) {
      return Slab{base::sanitize_utf8(given), filter_.accepts(given)};
    });
    if (slab == nullptr)
      return complaints_.add(path_, number, "each cache once, at most 4096", name);
    if (!slab->wanted) return;
    std::array<std::uint64_t, kMetrics.size()> values{};
    for (std::uint64_t& value : values) {
      const std::string_view word = next_word(rest);
      const auto parsed = base::parse_uint(word);
      if (!parsed) return complaints_.add(path_, number, "NAME and five numbers", line);
      value = *parsed;
    }
    for (std::size_t i = 0; i < values.size(); ++i)
      sink.add(families_[i], {{"slab", slab->name}}, static_cast<double>(values[i]));
  }

  const std::string path_;
  const NameFilter filter_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  NameTable<Slab> slabs_{kMaxSlabs};
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kSlabinfoCollector = {
    .name = "slabinfo",
    .help = "Object caches of the kernel.",
    .enabled_by_default = false,
    .options = kOptions,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      auto filter = NameFilter::make(option_string(context, kSlabinfoCollector, "slabs_include"),
                                     option_string(context, kSlabinfoCollector, "slabs_exclude"));
      if (!filter) return propagate(std::move(filter));
      return std::make_unique<SlabinfoCollector>(context, std::move(*filter));
    },
};

}  // namespace nexus::monitor
