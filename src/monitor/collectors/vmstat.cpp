// vmstat: paging, swapping and out-of-memory kills from /proc/vmstat.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/name_filter.hpp"
#include "monitor/named_lines.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"fields", OptionType::kRegex, "'^(oom_kill|pgpg|pswp|pg.*fault).*'",
                     "Fields that are taken."},
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_vmstat_*", MetricType::kUntyped, "/proc/vmstat information field *."},
};

constexpr std::size_t kMaxFields = 2048;  // Linux 6.12 has about 190

struct Field {
  bool wanted = false;
  std::optional<FamilyId> family;  // none: its name cannot be a metric's name
};

class VmstatCollector final : public Collector {
 public:
  VmstatCollector(const CollectorContext& context, NameFilter filter)
      : path_(context.roots.proc("vmstat")),
        registry_(context.registry),
        filter_(std::move(filter)) {}

  Status collect(Sink& sink) override {
    return read_named_lines(
        buffer_, path_, host::Record::kShort, "virtual memory statistics", fields_, complaints_,
        [&](std::size_t number, std::string_view line) { add(sink, number, line); });
  }

 private:
  void add(Sink& sink, std::size_t number, std::string_view line) {
    std::string_view rest = line;
    const std::string_view key = next_word(rest);
    const Field* field = fields_.next(key, [&](std::string_view name) { return make_field(name); });
    if (field == nullptr)
      return complaints_.add(path_, number, "each field once, at most 2048", key);
    if (!field->wanted) return;
    const std::string_view word = next_word(rest);
    // Counters that the kernel folds from several CPUs without a lock can show as slightly
    // negative.
    const auto value = base::parse_int(word);
    const auto large = value ? std::nullopt : base::parse_uint(word);
    if (!field->family || (!value && !large)) {
      return complaints_.add(path_, number, "NAME NUMBER", line);
    }
    sink.add(*field->family, value ? static_cast<double>(*value) : static_cast<double>(*large));
  }

  Field make_field(std::string_view name) {
    if (!filter_.accepts(name)) return {};
    if (!is_name_part(name)) return {.wanted = true, .family = std::nullopt};
    const auto family = registry_.family(fmt::format("node_vmstat_{}", name), MetricType::kUntyped,
                                         fmt::format("/proc/vmstat information field {}.", name));
    return {.wanted = true, .family = family};
  }

  const std::string path_;
  knowledge::SeriesRegistry& registry_;
  const NameFilter filter_;
  host::KeptFiles buffer_;
  NameTable<Field> fields_{kMaxFields};
  Complaints complaints_;
};

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  auto filter = NameFilter::make(option_string(context, kVmstatCollector, "fields"), {});
  if (!filter) return propagate(std::move(filter), "fields");
  return std::make_unique<VmstatCollector>(context, std::move(*filter));
}

}  // namespace

const CollectorDescriptor kVmstatCollector = {
    .name = "vmstat",
    .help = "Paging, swapping and out-of-memory kills.",
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
