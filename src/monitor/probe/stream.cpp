// The tcp, tls and unix probes: a connection, TLS when asked, and a conversation line by line.
#include <algorithm>

#include "monitor/probe/probe.hpp"
#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

constexpr std::size_t kMaxLine = 64UL << 10;
constexpr std::size_t kMaxLabel = 256;  // bytes of what a server says
constexpr int kMaxLines = 1000;         // that are read for one expected pattern

Result<drivers::Stream> connect(const ProbeRun& run, std::string& host) {
  if (run.plan.config.kind == "unix")
    return drivers::Stream::connect_unix(run.clock, run.target, run.deadline);
  auto parts = drivers::split_host_port(run.target, 0);
  if (!parts) return std::unexpected(parts.error());
  host = parts->host;
  auto address = run.resolve(parts->host, nullptr);
  if (!address) return std::unexpected(address.error());
  address->set_port(parts->port);
  return drivers::Stream::connect(run.clock, *address, run.deadline);
}

Status start_tls(const ProbeRun& run, drivers::Stream& stream, const std::string& host) {
  const auto options = run.tls();
  auto facts = stream.start_tls(options, options.server_name.empty() ? host : options.server_name,
                                run.deadline);
  if (!facts) return std::unexpected(facts.error());
  run.report_tls(*facts);
  return {};
}

/// What \1 in `text` stands for in the last line that matched.
std::string filled_in(const Regex& regex, const std::string& line, const std::string& text) {
  if (regex == nullptr || !text.contains('\\')) return text;
  std::string out;
  return re2::RE2::Extract(line, *regex, text, &out) ? out : text;
}

/// What the named groups of a pattern matched, as labels of blackbox_exporter's metric.
void report_match(const ProbeRun& run, const Regex& regex, std::string_view line) {
  const auto& groups = regex->NamedCapturingGroups();
  if (groups.empty()) return;
  std::vector<re2::StringPiece> parts(static_cast<std::size_t>(regex->NumberOfCapturingGroups()) +
                                      1);
  if (!regex->Match(line, 0, line.size(), re2::RE2::UNANCHORED, parts.data(),
                    static_cast<int>(parts.size())))
    return;
  std::vector<std::string> values;
  std::vector<LabelView> labels;
  values.reserve(groups.size());
  for (const auto& [name, place] : groups) {
    const auto& part = parts[static_cast<std::size_t>(place)];
    values.push_back(base::sanitize_utf8({part.data(), std::min(part.size(), kMaxLabel)}));
    labels.push_back({name, values.back()});
  }
  run.add_info("probe_expect_info", "Explicit content matched", labels);
}

/// The steps, one after the other; whether a pattern was what failed.
Status converse(const ProbeRun& run, drivers::Stream& stream, const std::string& host,
                bool& regex_failed) {
  const auto& config = run.plan.config;
  Status outcome;
  Regex last;
  std::string matched;
  for (std::size_t i = 0; i < config.steps.size() && outcome; ++i) {
    const auto& step = config.steps[i];
    if (const auto& regex = run.plan.expects[i]; regex != nullptr) {
      bool found = false;
      for (int lines = 0; lines < kMaxLines && !found && outcome; ++lines) {
        auto line = stream.read_line(kMaxLine, run.deadline);
        if (!line) {
          outcome = propagate(std::move(line), "{}", "waiting for " + regex->pattern());
          break;
        }
        found = found_in(regex, *line);
        if (!found) continue;
        matched = *std::move(line);
        report_match(run, regex, matched);
      }
      if (!found && outcome)
        outcome = fail(Errc::kUnavailable, "no line matches {}", regex->pattern());
      // A server that says nothing in time has failed no pattern.
      regex_failed = !found && outcome.error().code() != Errc::kTimeout;
      last = regex;
    }
    if (outcome && !step.send.empty())
      outcome = stream.send(filled_in(last, matched, step.send) + "\n", run.deadline);
    if (outcome && step.starttls) outcome = start_tls(run, stream, host);
  }
  return outcome;
}

}  // namespace

Status probe_stream(const ProbeRun& run) {
  std::string host;
  auto stream = connect(run, host);
  bool regex_failed = false;
  Status outcome = stream ? Status() : std::unexpected(stream.error());
  if (outcome && run.plan.config.kind == "tls") outcome = start_tls(run, *stream, host);
  if (outcome) outcome = converse(run, *stream, host, regex_failed);
  run.sink.add("probe_failed_due_to_regex", "Indicates if probe failed due to regex",
               regex_failed ? 1 : 0);
  return outcome;
}

}  // namespace nexus::monitor
