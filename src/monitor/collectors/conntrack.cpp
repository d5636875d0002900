// conntrack: flows that the firewall tracks and their limit, from /proc/sys/net/netfilter, and what
// the table of them did, by nfnetlink (ctnetlink), which needs CAP_NET_ADMIN. Without it, and on a
// recorded tree, from /proc/net/stat/nf_conntrack (a line for every CPU, hexadecimal), which a
// kernel need not have. A host that tracks nothing is not asked: asking would load the module.
#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <array>
#include <optional>

#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "monitor/tcp_sockets.hpp"
#include "nexus/host/kept_files.hpp"
#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

extern const CollectorDescriptor kConntrackCollector;  // of table.cpp

namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"netlink", OptionType::kBool, "true",
                     "Ask the kernel by nfnetlink where that is allowed, rather than read files."},
};

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
// What the metrics from kStat on are the sums of: the heading of a column, a number of ctnetlink.
struct Column {
  std::string_view heading;
  unsigned attribute;
};
constexpr std::array<Column, kMetrics.size() - kStat> kColumns = {
    Column{"found", CTA_STATS_FOUND},
    Column{"invalid", CTA_STATS_INVALID},
    Column{"ignore", CTA_STATS_IGNORE},
    Column{"insert", CTA_STATS_INSERT},
    Column{"insert_failed", CTA_STATS_INSERT_FAILED},
    Column{"drop", CTA_STATS_DROP},
    Column{"early_drop", CTA_STATS_EARLY_DROP},
    Column{"search_restart", CTA_STATS_SEARCH_RESTART}};
constexpr std::uint32_t kRefusedFor = 60;  // runs until it is tried again

NetlinkRequest request_for(std::uint16_t message, std::uint16_t flags) {
  NetlinkRequest request(static_cast<std::uint16_t>(NFNL_SUBSYS_CTNETLINK << 8U) | message, flags);
  request.put(nfgenmsg{.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = 0});
  return request;
}

/// Calls `visit(type, number)` for the attributes of a message of ctnetlink that are numbers.
template <typename Visit>
void for_each_number(Bytes payload, Visit&& visit) {
  if (payload.size() < sizeof(nfgenmsg)) return;
  for_each_attribute(payload.subspan(sizeof(nfgenmsg)), [&](unsigned type, Bytes value) {
    if (const auto number = read_as<std::uint32_t>(value)) visit(type, ntohl(*number));
  });
}

class ConntrackCollector final : public Collector {
 public:
  explicit ConntrackCollector(const CollectorContext& context)
      : count_path_(context.roots.proc("sys/net/netfilter/nf_conntrack_count")),
        limit_path_(context.roots.proc("sys/net/netfilter/nf_conntrack_max")),
        stat_path_(context.roots.proc("net/stat/nf_conntrack")),
        asks_kernel_(is_live(context.roots) &&
                     option_bool(context, kConntrackCollector, "netlink")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    if (Status added = add_number(sink, count_path_, families_[0]); !added) return added;
    if (Status added = add_number(sink, limit_path_, families_[1]); !added) return added;
    if (asks_kernel_ && refused_for_ == 0) {
      if (ask()) {
        add_sums(sink);
        return complaints_.take();
      }
      netlink_.reset();  // late answers must not meet the next question
      refused_for_ = kRefusedFor;
    } else if (refused_for_ > 0) {
      --refused_for_;
    }
    add_statistics(sink);
    return complaints_.take();
  }

 private:
  [[nodiscard]] bool ask() {
    if (!netlink_) {
      auto opened = Netlink::open(NETLINK_NETFILTER);
      if (!opened) return false;
      netlink_.emplace(std::move(*opened));
    }
    sums_ = {};
    const Status asked = netlink_->ask(statistics_, [this](unsigned, Bytes payload) {
      for_each_number(payload, [this](unsigned type, std::uint32_t number) {  // of every CPU
        for (std::size_t i = 0; i < kColumns.size(); ++i) {
          if (type == kColumns[i].attribute) sums_[i] += number;
        }
      });
    });
    return asked.has_value();
  }

  void add_sums(Sink& sink) const {
    for (std::size_t i = 0; i < sums_.size(); ++i) sink.add(families_[kStat + i], sums_[i]);
  }

  Status add_number(Sink& sink, const std::string& path, FamilyId family) {
    auto text = buffer_.read(path, host::Record::kWholeFile);
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
    sums_ = {};
    for (std::string_view line; lines.next(line);) {
      std::string_view names = heading;
      std::string_view values = line;
      for (auto name = next_word(names); !name.empty(); name = next_word(names)) {
        const std::string_view word = next_word(values);
        for (std::size_t i = 0; i < kColumns.size(); ++i) {
          if (name != kColumns[i].heading) continue;
          const auto value = base::parse_uint(word, 16);
          if (!value) complaints_.add(stat_path_, lines.number(), "hexadecimal numbers", word);
          sums_[i] += static_cast<double>(value.value_or(0));
        }
      }
    }
    add_sums(sink);
  }

  const std::string count_path_;
  const std::string limit_path_;
  const std::string stat_path_;
  const bool asks_kernel_;
  const std::array<FamilyId, kMetrics.size()> families_;
  NetlinkRequest statistics_ = request_for(IPCTNL_MSG_CT_GET_STATS_CPU, NLM_F_DUMP);
  std::optional<Netlink> netlink_;
  std::uint32_t refused_for_ = 0;  // runs
  std::array<double, kColumns.size()> sums_{};
  host::KeptFiles buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kConntrackCollector = {
    .name = "conntrack",
    .help = "Flows that the firewall tracks, their limit, and drops.",
    .options = kOptions,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<ConntrackCollector>(context);
    },
};

}  // namespace nexus::monitor
