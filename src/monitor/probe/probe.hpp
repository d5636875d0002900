// The contract of a probe: one function that looks at one target within a deadline and says what it
// saw, in blackbox_exporter's metrics.
//
// probe_success and probe_duration_seconds are made by the prober. An error says why the probe
// failed; what was measured before it counts. Thread safety: a run belongs to one thread; different
// runs go side by side.
#pragma once

#include <re2/re2.h>

#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "monitor/run_sink.hpp"
#include "monitor/scrape/relabel.hpp"
#include "nexus/config/sources.hpp"
#include "nexus/drivers/resolver.hpp"
#include "nexus/drivers/stream.hpp"
#include "nexus/knowledge/exposition_reader.hpp"

namespace nexus::monitor {

using Regex = std::shared_ptr<const re2::RE2>;
/// Unanchored. The error names the pattern.
[[nodiscard]] Result<Regex> compile_regex(const std::string& pattern);
[[nodiscard]] bool found_in(const Regex& regex, std::string_view text);

/// A [[probe]] with its patterns compiled.
struct ProbePlan {
  config::ProbeConfig config;
  std::vector<Regex> body_matches;      // that fail it
  std::vector<Regex> body_not_matches;  // whose absence fails it
  std::vector<std::pair<std::string, Regex>> header_matches;
  std::vector<std::pair<std::string, Regex>> header_not_matches;
  std::vector<Regex> answer_matches;
  std::vector<Regex> answer_not_matches;
  std::vector<Regex> expects;  // of steps; null where one only sends
};
[[nodiscard]] Result<ProbePlan> plan_probe(const config::ProbeConfig& config);

/// Series whose label values a target chose itself: the first kMost of a metric and a day are
/// taken, others left out, so that a banner with a number in it is not a new series every time.
class ChosenLabels {
 public:
  static constexpr std::size_t kMost = 20;
  static constexpr Millis kForgetAfter{24 * 3'600'000};

  [[nodiscard]] bool take(std::string_view metric, std::span<const LabelView> labels,
                          SteadyTime now);

 private:
  std::map<std::string, std::vector<knowledge::HeadKey>, std::less<>> taken_;  // by metric
  SteadyTime since_{};
};

/// Adds metrics with the labels of the target.
class ProbeSink {
 public:
  ProbeSink(knowledge::SeriesRegistry& registry, Sink& sink,
            const std::vector<knowledge::Label>& labels)
      : registry_(registry), sink_(sink), labels_(labels) {}
  void add(std::string_view name, std::string_view help, double value,
           std::initializer_list<LabelView> more = {}) {
    add(name, help, value, std::span<const LabelView>(more.begin(), more.size()));
  }
  void add(std::string_view name, std::string_view help, double value,
           std::span<const LabelView> more);
  /// The series probe_..._duration_seconds{phase="..."}.
  void phase(std::string_view name, std::string_view phase, double seconds);
  /// A sample that is not added, and counted as dropped.
  void leave_out() noexcept { ++left_out_; }
  [[nodiscard]] std::uint64_t left_out() const noexcept { return left_out_; }

 private:
  knowledge::SeriesRegistry& registry_;
  Sink& sink_;
  const std::vector<knowledge::Label>& labels_;
  std::uint64_t left_out_ = 0;
};

struct ProbeRun {
  Clock& clock;
  const ProbePlan& plan;
  const std::string& target;
  SteadyTime deadline;
  ProbeSink& sink;
  ChosenLabels& chosen;

  [[nodiscard]] Millis left() const {
    return std::max(Millis(0), std::chrono::floor<Millis>(deadline - clock.steady()));
  }
  [[nodiscard]] double seconds_since(SteadyTime begin) const {
    return std::chrono::duration<double>(clock.steady() - begin).count();
  }
  /// Adds a sample of 1 with what the target says of itself, see ChosenLabels.
  void add_info(std::string_view name, std::string_view help,
                std::span<const LabelView> labels) const;
  /// Adds probe_dns_lookup_time_seconds, probe_ip_protocol and probe_ip_addr_hash.
  [[nodiscard]] Result<drivers::Address> resolve(const std::string& host, double* seconds) const;
  /// Adds probe_ssl_* and probe_tls_*.
  void report_tls(const drivers::TlsFacts& facts) const;
  [[nodiscard]] drivers::TlsOptions tls() const;
};

// One file each.
[[nodiscard]] Status probe_http(const ProbeRun& run);
[[nodiscard]] Status probe_stream(const ProbeRun& run);  // tcp, tls, unix
[[nodiscard]] Status probe_dns(const ProbeRun& run);
[[nodiscard]] Status probe_icmp(const ProbeRun& run);

}  // namespace nexus::monitor
