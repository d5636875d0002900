// The tcp, tls and unix probes: a connection, TLS when asked, and a conversation line by line.
#include "monitor/probe/probe.hpp"

namespace nexus::monitor {
namespace {

constexpr std::size_t kMaxLine = 64UL << 10;
constexpr int kMaxLines = 1000;  // that are read for one expected pattern

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
        if (found) matched = *std::move(line);
      }
      if (!found && outcome)
        outcome = fail(Errc::kUnavailable, "no line matches {}", regex->pattern());
      regex_failed = !found;
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
