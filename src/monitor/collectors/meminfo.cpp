// meminfo: every field of /proc/meminfo, named as the kernel names it:
// node_memory_Active_anon_bytes.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/named_lines.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_memory_*", MetricType::kGauge, "Memory information field *."},
};

constexpr std::size_t kMaxFields = 512;  // Linux 6.12 has 57

struct Field {
  std::optional<FamilyId> family;  // none: its name cannot be a metric's name
};

class MeminfoCollector final : public Collector {
 public:
  explicit MeminfoCollector(const CollectorContext& context)
      : path_(context.roots.proc("meminfo")), registry_(context.registry) {}

  Status collect(Sink& sink) override {
    return read_named_lines(
        buffer_, path_, host::Record::kWholeFile, "memory information", fields_, complaints_,
        [&](std::size_t number, std::string_view line) { add(sink, number, line); });
  }

 private:
  void add(Sink& sink, std::size_t number, std::string_view line) {
    std::string_view rest = line;
    const std::string_view key = base::take_until(rest, ':');
    const std::string_view word = next_word(rest);
    const auto value = base::parse_uint(word);
    const std::string_view unit = next_word(rest);
    if (!value) return complaints_.add(path_, number, "NAME: NUMBER [kB]", line);
    if (!unit.empty() && unit != "kB") return complaints_.add(path_, number, "the unit kB", unit);
    const bool in_bytes = !unit.empty();
    const Field* field =
        fields_.next(key, [&](std::string_view name) { return make_field(name, in_bytes); });
    if (field == nullptr)
      return complaints_.add(path_, number, "each field once, at most 512", key);
    if (!field->family) return complaints_.add(path_, number, "a field name", key);
    sink.add(*field->family, static_cast<double>(*value) * (in_bytes ? 1024 : 1));
  }

  /// "Active(anon)" is Active_anon.
  Field make_field(std::string_view key, bool in_bytes) {
    std::string name(key);
    const auto open = name.find('(');
    if (open != std::string::npos && name.back() == ')') {
      name[open] = '_';
      name.pop_back();
    }
    if (!is_name_part(name)) return {};
    if (in_bytes) name += "_bytes";
    const MetricType type = name.ends_with("_total") ? MetricType::kCounter : MetricType::kGauge;
    return {registry_.family("node_memory_" + name, type,
                             fmt::format("Memory information field {}.", name))};
  }

  const std::string path_;
  knowledge::SeriesRegistry& registry_;
  host::KeptFiles buffer_;
  NameTable<Field> fields_{kMaxFields};
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kMeminfoCollector = {
    .name = "meminfo",
    .help = "Memory of the host, every field of /proc/meminfo.",
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<MeminfoCollector>(context);
    },
};

}  // namespace nexus::monitor
