// [[probe]].
#include <fmt/core.h>

#include <algorithm>

#include "config/sections/sources.hpp"
#include "config/shapes.hpp"
#include "nexus/base/text.hpp"

namespace nexus::config {
namespace {

bool is_record_type(std::string_view text) {
  return !text.empty() && text.size() <= 10 && std::ranges::all_of(text, [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  });
}
const Shape kRecordType{is_record_type, "a type of record such as \"A\" or \"MX\""};

void read_http(Section& section, Reading& reading, ProbeConfig& probe) {
  section.choice("method", probe.method, {"GET", "HEAD", "POST", "PUT", "OPTIONS"});
  read_map(section, "headers", probe.headers, Keys::kAny);
  section.text("body", probe.body, kAnyText);
  section.texts("valid_status", probe.valid_status, kStatus);
  section.boolean("follow_redirects", probe.follow_redirects);
  section.boolean("fail_if_ssl", probe.fail_if_ssl);
  section.boolean("fail_if_not_ssl", probe.fail_if_not_ssl);
  section.texts("fail_if_body_matches", probe.fail_if_body_matches);
  section.texts("fail_if_body_not_matches", probe.fail_if_body_not_matches);
  read_map(section, "fail_if_header_matches", probe.fail_if_header_matches, Keys::kAny);
  read_map(section, "fail_if_header_not_matches", probe.fail_if_header_not_matches, Keys::kAny);
  section.bytes("body_size_limit", probe.body_size_limit, 1024);
  read_credentials(section, reading, probe.credentials);
}

void read_steps(Section& section, ProbeConfig& probe) {
  section.tables("step", [&](Section& step) {
    ProbeStep one;
    step.text("send", one.send, kAnyText);
    step.text("expect", one.expect);
    step.boolean("starttls", one.starttls);
    if (one == ProbeStep{}) step.require("send", "send, expect or starttls");
    probe.steps.push_back(std::move(one));
  });
}

void read_dns(Section& section, ProbeConfig& probe) {
  section.text("query_name", probe.query_name);
  section.text("query_type", probe.query_type, kRecordType);
  section.choice("transport", probe.transport, {"udp", "tcp"});
  section.texts("valid_rcodes", probe.valid_rcodes);
  section.texts("fail_if_answer_matches", probe.fail_if_answer_matches);
  section.texts("fail_if_answer_not_matches", probe.fail_if_answer_not_matches);
  if (probe.query_name.empty()) section.require("query_name", "the name that is asked for");
}

void read_probe(Section& section, Reading& reading) {
  ProbeConfig probe;
  probe.where = section.where();
  read_name(section, reading, "probe", probe.name);
  section.require("kind", "http, tcp, tls, dns, icmp or unix");
  section.choice("kind", probe.kind, {"http", "tcp", "tls", "dns", "icmp", "unix"});
  section.require("targets", "an array of what is probed");
  section.texts("targets", probe.targets);
  section.duration("interval", probe.interval, kSourceInterval);
  const bool timed = section.duration("timeout", probe.timeout, kSourceTimeout) != nullptr;
  if (probe.timeout > probe.interval) {
    if (timed) section.complain("timeout", "expected at most the interval");
    probe.timeout = probe.interval;
  }
  read_map(section, "labels", probe.labels, Keys::kLabels);
  section.choice("ip_protocol", probe.ip_protocol, {"ip4", "ip6"});
  section.boolean("ip_protocol_fallback", probe.ip_protocol_fallback);
  if (probe.kind != "dns" && probe.kind != "icmp") read_tls(section, probe.tls);
  if (probe.kind == "http") read_http(section, reading, probe);
  if (probe.kind == "tcp" || probe.kind == "tls" || probe.kind == "unix")
    read_steps(section, probe);
  if (probe.kind == "dns") read_dns(section, probe);
  if (probe.kind == "icmp") section.integer("payload_size", probe.payload_size, 0, 1400);
  reading.config.sources.probes.push_back(std::move(probe));
}

}  // namespace

void read_probes(Section& root, Reading& reading) {
  root.tables(
      "probe", [&](Section& section) { read_probe(section, reading); }, Disclosure::kTypesOnly);
}

}  // namespace nexus::config
