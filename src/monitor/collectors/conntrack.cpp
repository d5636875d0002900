// conntrack: flows that the firewall tracks, the limit, and what its table did, from
// /proc/sys/net/netfilter and /proc/net/stat/nf_conntrack (a line for every CPU, hexadecimal).
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_nf_conntrack_entries", MetricType::kGauge,
                     "Number of currently allocated flow entries for connection tracking."},
    MetricDescriptor{"node_nf_conntrack_entries_limit", MetricType::kGauge,
                     "Maximum size of connection tracking table."},
    MetricDescriptor{"node_nf_conntrack_stat_found", MetricType::kGauge,
                     "Number of searched entries which were successful."},
    MetricDescriptor{"node_nf_conntrack_stat_invalid", MetricType::kGauge,
                     "Number of packets seen which can not be tracked."},
    MetricDescriptor{"node_nf_conntrack_stat_ignore", MetricType::kGauge,
                     "Number of packets seen which are already connected to a conntrack entry."},
    MetricDescriptor{"node_nf_conntrack_stat_insert", MetricType::kGauge,
                     "Number of entries inserted into the list."},
    MetricDescriptor{"node_nf_conntrack_stat_insert_failed", MetricType::kGauge,
                     "Number of entries for which list insertion was attempted but failed."},
    MetricDescriptor{"node_nf_conntrack_stat_drop", MetricType::kGauge,
                     "Number of packets dropped due to conntrack failure."},
    MetricDescriptor{"node_nf_conntrack_stat_early_drop", MetricType::kGauge,
                     "Number of dropped conntrack entries to make room for new ones, if maximum "
                     "table size was reached."},
    MetricDescriptor{"node_nf_conntrack_stat_search_restart", MetricType::kGauge,
                     "Number of conntrack table lookups which had to be restarted due to hashtable "
                     "resizes."},
};
constexpr std::size_t kStat = 2;
// Headings of the columns that the metrics from kStat on are the sums of.
constexpr std::array<std::string_view, kMetrics.size() - kStat> kColumns = {
    "found",         "invalid", "ignore",     "insert",
    "insert_failed", "drop",    "early_drop", "search_restart"};

class ConntrackCollector final : public Collector {
 public:
  explicit ConntrackCollector(const CollectorContext& context)
      : count_path_(context.roots.proc("sys/net/netfilter/nf_conntrack_count")),
        limit_path_(context.roots.proc("sys/net/netfilter/nf_conntrack_max")),
        stat_path_(context.roots.proc("net/stat/nf_conntrack")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    if (Status added = add_number(sink, count_path_, families_[0]); !added) return added;
    if (Status added = add_number(sink, limit_path_, families_[1]); !added) return added;
    add_statistics(sink);
    return complaints_.take();
  }

 private:
  Status add_number(Sink& sink, const std::string& path, FamilyId family) {
    auto text = buffer_.read(path);
    if (!text) return propagate(std::move(text));
    if (const auto value = base::parse_uint(base::trim(*text))) {
      sink.add(family, static_cast<double>(*value));
    } else {
      complaints_.add(path, 1, "a number", base::trim(*text));
    }
    return {};
  }

  void add_statistics(Sink& sink) {
    const auto text = buffer_.read(stat_path_);
    if (!text) return;  // only with CONFIG_NF_CONNTRACK_PROCFS
    Lines lines(*text);
    std::string_view heading;
    if (!lines.next(heading)) return complaints_.add(stat_path_, "empty, expected a heading");
    std::array<double, kColumns.size()> sums{};
    for (std::string_view line; lines.next(line);) {
      std::string_view names = heading;
      std::string_view values = line;
      for (auto name = next_word(names); !name.empty(); name = next_word(names)) {
        const std::string_view word = next_word(values);
        for (std::size_t i = 0; i < kColumns.size(); ++i) {
          if (name != kColumns[i]) continue;
          const auto value = base::parse_uint(word, 16);
          if (!value) complaints_.add(stat_path_, lines.number(), "hexadecimal numbers", word);
          sums[i] += static_cast<double>(value.value_or(0));
        }
      }
    }
    for (std::size_t i = 0; i < kColumns.size(); ++i) sink.add(families_[kStat + i], sums[i]);
  }

  const std::string count_path_;
  const std::string limit_path_;
  const std::string stat_path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kConntrackCollector = {
    .name = "conntrack",
    .help = "Flows that the firewall tracks, their limit, and drops.",
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<ConntrackCollector>(context);
    },
};

}  // namespace nexus::monitor
