// softnet: packets that every CPU processed and dropped before any protocol saw them, from
// /proc/net/softnet_stat (a line for every CPU that is online, hexadecimal).
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_softnet_processed_total", MetricType::kCounter,
                     "Number of processed packets."},
    MetricDescriptor{"node_softnet_dropped_total", MetricType::kCounter,
                     "Number of dropped packets."},
    MetricDescriptor{"node_softnet_times_squeezed_total", MetricType::kCounter,
                     "Number of times processing packets ran out of quota."},
    MetricDescriptor{"node_softnet_cpu_collision_total", MetricType::kCounter,
                     "Number of collisions while obtaining device lock while transmitting."},
    MetricDescriptor{"node_softnet_received_rps_total", MetricType::kCounter,
                     "Number of times cpu woken up received_rps."},
    MetricDescriptor{"node_softnet_flow_limit_count_total", MetricType::kCounter,
                     "Number of times flow limit has been reached."},
    MetricDescriptor{"node_softnet_backlog_len", MetricType::kGauge, "Softnet backlog status."},
};
// The columns that they come from (net/core/net-procfs.c): 9 since 2.6, 11 since 3.11, 13 with the
// backlog's length and the CPU's number since 5.10.
constexpr std::array<std::size_t, kMetrics.size()> kColumns = {0, 1, 2, 8, 9, 10, 11};
constexpr std::size_t kCpuColumn = 12;
constexpr std::size_t kLeastColumns = 9;
constexpr std::size_t kMostColumns = 13;

class SoftnetCollector final : public Collector {
 public:
  explicit SoftnetCollector(const CollectorContext& context)
      : path_(context.roots.proc("net/softnet_stat")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    auto text = buffer_.read(path_, host::Record::kShort);
    if (!text) return propagate(std::move(text));
    if (text->empty()) complaints_.add(path_, "empty, expected a line for every CPU");
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) add(sink, lines.number(), line);
    return complaints_.take();
  }

 private:
  void add(Sink& sink, std::size_t number, std::string_view line) {
    std::array<std::uint64_t, kMostColumns> values{};
    std::size_t count = 0;
    for (std::string_view rest = line; count < kMostColumns; ++count) {
      const std::string_view word = next_word(rest);
      if (word.empty()) break;
      const auto value = base::parse_uint(word, 16);
      if (!value) return complaints_.add(path_, number, "hexadecimal numbers", word);
      values[count] = *value;
    }
    if (count < kLeastColumns) return complaints_.add(path_, number, "at least 9 numbers", line);
    const std::uint64_t cpu = count > kCpuColumn ? values[kCpuColumn] : number - 1;
    char name[24];
    const auto end = fmt::format_to(name, "{}", cpu);
    const LabelView label{"cpu", std::string_view(name, static_cast<std::size_t>(end - name))};
    for (std::size_t i = 0; i < kColumns.size() && kColumns[i] < count; ++i)
      sink.add(families_[i], std::span(&label, 1), static_cast<double>(values[kColumns[i]]));
  }

  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kSoftnetCollector = {
    .name = "softnet",
    .help = "Packets that every CPU processed and dropped before any protocol saw them.",
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<SoftnetCollector>(context);
    },
};

}  // namespace nexus::monitor
