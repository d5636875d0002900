// [[scrape]], [[probe]], [statsd], [push] and [[log]]: what services and applications say of
// themselves, or what is seen of them from outside.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "nexus/config/values.hpp"

namespace nexus::config {

/// One step of relabelling, as Prometheus's relabel_config.
struct RelabelConfig {
  std::vector<std::string> source_labels;
  std::string separator = ";";
  std::string target_label;
  std::string regex = "(.*)";
  std::uint64_t modulus = 0;
  std::string replacement = "$1";
  std::string action = "replace";
  Where where;
  bool operator==(const RelabelConfig& o) const {
    return source_labels == o.source_labels && separator == o.separator &&
           target_label == o.target_label && regex == o.regex && modulus == o.modulus &&
           replacement == o.replacement && action == o.action;
  }
};

struct TlsClientConfig {
  std::string ca_file;  // empty: the system's
  std::string cert_file;
  std::string key_file;
  std::string server_name;  // empty: the host of the address
  bool insecure_skip_verify = false;
  bool operator==(const TlsClientConfig&) const = default;
};

/// Who asks. A file is read anew for every request, so that a token may be renewed in place.
struct CredentialConfig {
  std::string username;
  Secret password;  // from the environment, or a systemd credential
  std::string password_file;
  Secret token;
  std::string token_file;
  bool operator==(const CredentialConfig&) const = default;
};

struct ScrapeConfig {
  std::string name;                  // the label `job`
  std::vector<std::string> targets;  // host:port, or whole URLs
  std::string scheme = "http";
  std::string metrics_path = "/metrics";
  StringMap params;  // of the query
  Millis interval = 15s;
  Millis timeout = 10s;
  StringMap labels;
  bool honor_labels = false;
  bool honor_timestamps = true;
  std::uint32_t sample_limit = 0;  // 0: none; more fails the scrape, as the limits below
  std::uint32_t label_limit = 0;
  std::uint32_t label_name_length_limit = 0;
  std::uint32_t label_value_length_limit = 0;
  std::uint64_t body_size_limit = 64ULL << 20;  // uncompressed
  std::uint32_t max_series = 20'000;            // of one target; more are dropped and counted
  std::vector<RelabelConfig> relabel;           // of targets
  std::vector<RelabelConfig> metric_relabel;
  TlsClientConfig tls;
  CredentialConfig credentials;
  Where where;
  bool operator==(const ScrapeConfig& o) const {
    return name == o.name && targets == o.targets && scheme == o.scheme &&
           metrics_path == o.metrics_path && params == o.params && interval == o.interval &&
           timeout == o.timeout && labels == o.labels && honor_labels == o.honor_labels &&
           honor_timestamps == o.honor_timestamps && sample_limit == o.sample_limit &&
           label_limit == o.label_limit && label_name_length_limit == o.label_name_length_limit &&
           label_value_length_limit == o.label_value_length_limit &&
           body_size_limit == o.body_size_limit && max_series == o.max_series &&
           relabel == o.relabel && metric_relabel == o.metric_relabel && tls == o.tls &&
           credentials == o.credentials;
  }
};

/// A line that is sent, or a pattern that a line of the answer has to match.
struct ProbeStep {
  std::string send;
  std::string expect;
  bool starttls = false;
  bool operator==(const ProbeStep&) const = default;
};

struct ProbeConfig {
  std::string name;                  // the label `job`
  std::string kind;                  // http, tcp, tls, dns, icmp, unix
  std::vector<std::string> targets;  // what is probed: the label `instance`
  Millis interval = 15s;
  Millis timeout = 5s;
  StringMap labels;
  std::string ip_protocol = "ip6";  // that is preferred
  bool ip_protocol_fallback = true;
  TlsClientConfig tls;

  // http
  std::string method = "GET";
  StringMap headers;
  std::string body;
  std::vector<std::string> valid_status = {"2xx"};
  bool follow_redirects = true;
  bool fail_if_ssl = false;
  bool fail_if_not_ssl = false;
  std::vector<std::string> fail_if_body_matches;
  std::vector<std::string> fail_if_body_not_matches;
  StringMap fail_if_header_matches;
  StringMap fail_if_header_not_matches;
  std::uint64_t body_size_limit = 10ULL << 20;
  CredentialConfig credentials;

  // tcp, tls, unix
  std::vector<ProbeStep> steps;

  // dns
  std::string query_name;
  std::string query_type = "A";
  std::string transport = "udp";
  std::vector<std::string> valid_rcodes = {"NOERROR"};
  std::vector<std::string> fail_if_answer_matches;
  std::vector<std::string> fail_if_answer_not_matches;

  // icmp
  std::uint32_t payload_size = 36;

  Where where;
  bool operator==(const ProbeConfig& o) const {
    return name == o.name && kind == o.kind && targets == o.targets && interval == o.interval &&
           timeout == o.timeout && labels == o.labels && ip_protocol == o.ip_protocol &&
           ip_protocol_fallback == o.ip_protocol_fallback && tls == o.tls && method == o.method &&
           headers == o.headers && body == o.body && valid_status == o.valid_status &&
           follow_redirects == o.follow_redirects && fail_if_ssl == o.fail_if_ssl &&
           fail_if_not_ssl == o.fail_if_not_ssl && fail_if_body_matches == o.fail_if_body_matches &&
           fail_if_body_not_matches == o.fail_if_body_not_matches &&
           fail_if_header_matches == o.fail_if_header_matches &&
           fail_if_header_not_matches == o.fail_if_header_not_matches &&
           body_size_limit == o.body_size_limit && credentials == o.credentials &&
           steps == o.steps && query_name == o.query_name && query_type == o.query_type &&
           transport == o.transport && valid_rcodes == o.valid_rcodes &&
           fail_if_answer_matches == o.fail_if_answer_matches &&
           fail_if_answer_not_matches == o.fail_if_answer_not_matches &&
           payload_size == o.payload_size;
  }
};

/// [[statsd.mapping]]: as in statsd_exporter.
struct StatsdMapping {
  std::string match;
  std::string match_type = "glob";  // or regex
  std::string name;                 // empty with action = "drop"
  StringMap labels;
  std::string action = "map";     // or drop
  std::string timer_type;         // empty: that of [statsd]
  std::vector<double> buckets;    // empty: those of [statsd]
  std::string match_metric_type;  // counter, gauge, timer, set; empty: any
  Where where;
  bool operator==(const StatsdMapping& o) const {
    return match == o.match && match_type == o.match_type && name == o.name && labels == o.labels &&
           action == o.action && timer_type == o.timer_type && buckets == o.buckets &&
           match_metric_type == o.match_metric_type;
  }
};

struct StatsdSection {
  std::vector<std::string> listen;  // "udp:127.0.0.1:8125", "unix:/run/...": empty: off
  Millis interval = 10s;            // between the samples of its series
  Millis expire_after = 5min;       // what is not sent any more ends
  std::uint32_t max_series = 10'000;
  std::string timer_type = "summary";  // or histogram
  std::vector<double> buckets = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
  std::vector<double> quantiles = {0.5, 0.9, 0.99};
  std::vector<StatsdMapping> mappings;
  bool operator==(const StatsdSection&) const = default;
};

struct PushSection {
  Millis stale_after = 5min;          // a series that is not pushed any more ends
  std::uint32_t max_series = 20'000;  // of one group
  std::uint32_t max_groups = 1'000;
  bool operator==(const PushSection&) const = default;
};

/// [[log.pattern]]: lines that match are counted, or a number in them is taken.
struct LogPattern {
  std::string metric;
  std::string help;
  std::string regex;
  std::string type = "counter";     // gauge, histogram
  std::string value;                // the named group with the number; empty: 1 a line
  std::vector<std::string> labels;  // named groups that are labels
  std::vector<double> buckets = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
  Where where;
  bool operator==(const LogPattern& o) const {
    return metric == o.metric && help == o.help && regex == o.regex && type == o.type &&
           value == o.value && labels == o.labels && buckets == o.buckets;
  }
};

struct LogConfig {
  std::string name;                // the label `log`
  std::vector<std::string> files;  // absolute, * ? [ ] allowed
  bool journal = false;
  std::vector<std::string> units;  // of the journal; empty: all
  std::string from = "end";  // of what is there when it is seen for the first time, or "begin"
  StringMap labels;
  std::uint32_t max_series = 1'000;
  std::vector<LogPattern> patterns;
  Where where;
  bool operator==(const LogConfig& o) const {
    return name == o.name && files == o.files && journal == o.journal && units == o.units &&
           from == o.from && labels == o.labels && max_series == o.max_series &&
           patterns == o.patterns;
  }
};

/// All of them.
struct SourcesSection {
  std::vector<ScrapeConfig> scrapes;
  std::vector<ProbeConfig> probes;
  StatsdSection statsd;
  PushSection push;
  std::vector<LogConfig> logs;
  bool operator==(const SourcesSection&) const = default;
};

}  // namespace nexus::config
