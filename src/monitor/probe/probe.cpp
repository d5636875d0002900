#include "monitor/probe/probe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

Status compile_all(const std::vector<std::string>& patterns, std::vector<Regex>& out) {
  for (const auto& pattern : patterns) {
    auto regex = compile_regex(pattern);
    if (!regex) return std::unexpected(regex.error());
    out.push_back(std::move(*regex));
  }
  return {};
}

Status compile_all(const config::StringMap& patterns,
                   std::vector<std::pair<std::string, Regex>>& out) {
  for (const auto& [header, pattern] : patterns) {
    auto regex = compile_regex(pattern);
    if (!regex) return std::unexpected(regex.error());
    out.emplace_back(header, std::move(*regex));
  }
  return {};
}

}  // namespace

Result<Regex> compile_regex(const std::string& pattern) {
  re2::RE2::Options options;
  options.set_log_errors(false);
  auto regex = std::make_shared<const re2::RE2>(pattern, options);
  if (!regex->ok())
    return fail(Errc::kInvalidArgument, "regular expression \"{}\": {}", pattern, regex->error());
  return regex;
}

bool found_in(const Regex& regex, std::string_view text) {
  return re2::RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *regex);
}

Result<ProbePlan> plan_probe(const config::ProbeConfig& config) {
  ProbePlan plan{.config = config};
  Status done = compile_all(config.fail_if_body_matches, plan.body_matches);
  if (done) done = compile_all(config.fail_if_body_not_matches, plan.body_not_matches);
  if (done) done = compile_all(config.fail_if_header_matches, plan.header_matches);
  if (done) done = compile_all(config.fail_if_header_not_matches, plan.header_not_matches);
  if (done) done = compile_all(config.fail_if_answer_matches, plan.answer_matches);
  if (done) done = compile_all(config.fail_if_answer_not_matches, plan.answer_not_matches);
  if (!done) return std::unexpected(done.error());
  for (const auto& step : config.steps) {
    Regex regex;
    if (!step.expect.empty()) {
      auto compiled = compile_regex(step.expect);
      if (!compiled) return std::unexpected(compiled.error());
      regex = std::move(*compiled);
    }
    plan.expects.push_back(std::move(regex));
  }
  return plan;
}

bool ChosenLabels::take(std::string_view metric, std::span<const LabelView> labels,
                        SteadyTime now) {
  if (taken_.empty() || now - since_ >= kForgetAfter) {
    taken_.clear();
    since_ = now;
  }
  std::string all;
  for (const LabelView& label : labels) {
    for (const std::string_view part : {label.name, label.value}) {
      all += fmt::format("|{}:{}", part.size(), part);
    }
  }
  const auto key = knowledge::key_of(all);
  auto& of_metric = taken_.try_emplace(std::string(metric)).first->second;
  if (std::ranges::find(of_metric, key) != of_metric.end()) return true;
  if (of_metric.size() >= kMost) return false;
  of_metric.push_back(key);
  return true;
}

void ProbeSink::add(std::string_view name, std::string_view help, double value,
                    std::span<const LabelView> more) {
  std::vector<LabelView> labels;
  labels.reserve(labels_.size() + more.size());
  for (const auto& label : labels_) labels.push_back({label.name, label.value});
  labels.insert(labels.end(), more.begin(), more.end());
  sink_.add(registry_.family(name, MetricType::kGauge, help), labels, value);
}

void ProbeSink::phase(std::string_view name, std::string_view phase, double seconds) {
  add(name, "Duration of the probe by phase.", seconds, {{"phase", phase}});
}

void ProbeRun::add_info(std::string_view name, std::string_view help,
                        std::span<const LabelView> labels) const {
  if (!chosen.take(name, labels, clock.steady())) return sink.leave_out();
  sink.add(name, help, 1, labels);
}

Result<drivers::Address> ProbeRun::resolve(const std::string& host, double* seconds) const {
  const auto& config = plan.config;
  const auto begin = clock.steady();
  auto address = drivers::resolve(
      host, config.ip_protocol == "ip4" ? drivers::Prefer::kIp4 : drivers::Prefer::kIp6,
      config.ip_protocol_fallback ? drivers::OtherFamily::kAllowed : drivers::OtherFamily::kRefused,
      left());
  const double took = seconds_since(begin);
  if (seconds != nullptr) *seconds = took;
  sink.add("probe_dns_lookup_time_seconds",
           "Returns the time taken for probe dns lookup in seconds", took);
  const double protocol = !address ? 0 : address->family() == AF_INET ? 4 : 6;
  sink.add("probe_ip_protocol", "Specifies whether probe ip protocol is IP4 or IP6", protocol);
  // 32 bits of the address's hash: it only says whether the address has changed.
  const auto hash = address ? base::fnv1a(address->text()) & 0xffffffffU : 0;
  sink.add("probe_ip_addr_hash",
           "Specifies the hash of IP address. It's useful to detect if the IP address changes.",
           static_cast<double>(hash));
  if (!address) return propagate(std::move(address), "resolve");
  return address;
}

void ProbeRun::report_tls(const drivers::TlsFacts& facts) const {
  if (facts.earliest_expiry != 0)
    sink.add("probe_ssl_earliest_cert_expiry", "Returns last SSL chain expiry in unixtime",
             static_cast<double>(facts.earliest_expiry));
  if (facts.last_chain_expiry != 0)
    sink.add("probe_ssl_last_chain_expiry_timestamp_seconds",
             "Returns last SSL chain expiry in timestamp",
             static_cast<double>(facts.last_chain_expiry));
  if (!facts.fingerprint.empty())
    add_info("probe_ssl_last_chain_info", "Contains SSL leaf certificate information",
             std::array<LabelView, 5>{{{"fingerprint_sha256", facts.fingerprint},
                                       {"subject", facts.subject},
                                       {"issuer", facts.issuer},
                                       {"subjectalternative", facts.alternatives},
                                       {"serialnumber", facts.serial}}});
  sink.add("probe_tls_version_info", "Contains the TLS version used", 1,
           {{"version", facts.version}});
  sink.add("probe_tls_cipher_info", "Returns the TLS cipher negotiated during handshake", 1,
           {{"cipher", facts.cipher}});
}

drivers::TlsOptions ProbeRun::tls() const {
  const auto& tls = plan.config.tls;
  return {tls.ca_file, tls.cert_file, tls.key_file, tls.server_name, tls.insecure_skip_verify};
}

}  // namespace nexus::monitor
