#include "nexus/monitor/source_kinds.hpp"

#include <algorithm>
#include <array>

namespace nexus::monitor {
namespace {

constexpr auto kCounter = MetricType::kCounter;
constexpr auto kGauge = MetricType::kGauge;
constexpr auto kUntyped = MetricType::kUntyped;

constexpr std::array kScrape = {
    MetricDescriptor{"*", kUntyped, "What the target exposes, with its types, as relabelled"},
    MetricDescriptor{"up", kGauge, "Whether the target could be scraped."},
    MetricDescriptor{"scrape_duration_seconds", kGauge, "How long the scrape took."},
    MetricDescriptor{"scrape_samples_scraped", kGauge, "Samples that the target exposed."},
    MetricDescriptor{"scrape_samples_post_metric_relabeling", kGauge,
                     "Samples left after metric relabelling."},
    MetricDescriptor{"scrape_series_added", kGauge,
                     "Series that were not there in the scrape before."},
};
constexpr std::array kProbe = {
    MetricDescriptor{"probe_success", kGauge, "Displays whether or not the probe was a success"},
    MetricDescriptor{"probe_duration_seconds", kGauge,
                     "Returns how long the probe took to complete in seconds"},
    MetricDescriptor{"probe_dns_lookup_time_seconds", kGauge,
                     "Returns the time taken for probe dns lookup in seconds"},
    MetricDescriptor{"probe_ip_protocol", kGauge,
                     "Specifies whether probe ip protocol is IP4 or IP6"},
    MetricDescriptor{"probe_ip_addr_hash", kGauge, "Specifies the hash of IP address"},
    MetricDescriptor{"probe_failed_due_to_regex", kGauge, "Indicates if probe failed due to regex"},
    MetricDescriptor{"probe_http_*", kGauge,
                     "Of http: status code, length, redirects, version, time by phase"},
    MetricDescriptor{"probe_ssl_*", kGauge, "Of TLS: when certificates end, and whose they are"},
    MetricDescriptor{"probe_tls_*", kGauge, "Of TLS: version and cipher"},
    MetricDescriptor{"probe_dns_*", kGauge, "Of dns: records, serial, time by phase"},
    MetricDescriptor{"probe_icmp_*", kGauge, "Of icmp: time by phase, hop limit of the reply"},
};
constexpr std::array kStatsd = {
    MetricDescriptor{"*", kUntyped,
                     "What is sent, as mapped: counters, gauges, summaries or histograms; of sets "
                     "the number of members"},
    MetricDescriptor{"nexus_statsd_*", kCounter,
                     "Datagrams and messages, and what was invalid, dropped or lost"},
};
constexpr std::array kPush = {
    MetricDescriptor{"*", kUntyped, "What is pushed, with its types and the labels of its group"},
    MetricDescriptor{"nexus_push_*", kCounter, "Pushes and samples, and what was refused"},
};
constexpr std::array kLog = {
    MetricDescriptor{"*", kUntyped, "What the patterns count or take out of lines"},
    MetricDescriptor{"nexus_log_lines_total", kCounter, "Lines read."},
    MetricDescriptor{"nexus_log_matched_lines_total", kCounter, "Lines that a pattern matched."},
    MetricDescriptor{"nexus_log_long_lines_total", kCounter,
                     "Lines of more than 8 KiB: only their begin was looked at."},
    MetricDescriptor{"nexus_log_dropped_matches_total", kCounter,
                     "Matches of series over max_series."},
    MetricDescriptor{"nexus_log_no_number_total", kCounter, "Matches whose value is no number."},
};

constexpr std::array kKinds = {
    SourceKind{"log", "[[log]]", "Files and the systemd journal: what matching lines count", kLog},
    SourceKind{"probe", "[[probe]]",
               "http, tcp, tls, dns, icmp and unix sockets, with blackbox_exporter's metrics",
               kProbe},
    SourceKind{"push", "[push]", "Exposition text sent to POST /api/v1/push?job=NAME", kPush},
    SourceKind{"scrape", "[[scrape]]",
               "Prometheus and OpenMetrics endpoints, as Prometheus scrapes", kScrape},
    SourceKind{"statsd", "[statsd]", "Datagrams of statsd and DogStatsD", kStatsd},
};

}  // namespace

std::span<const SourceKind> source_kinds() {
  return kKinds;
}

const SourceKind* find_source_kind(std::string_view name) {
  const auto found = std::ranges::find(kKinds, name, &SourceKind::name);
  return found == kKinds.end() ? nullptr : &*found;
}

}  // namespace nexus::monitor
