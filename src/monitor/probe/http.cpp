// The http probe: status, headers, body, redirects, TLS, time by phase.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "monitor/probe/probe.hpp"
#include "nexus/base/text.hpp"
#include "nexus/base/version.hpp"
#include "nexus/drivers/fetcher.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

struct Url {
  std::string text;
  std::string host;
  std::uint16_t port = 0;
  bool tls = false;
};

Result<Url> parse(const std::string& target) {
  Url out;
  out.tls = target.starts_with("https://");
  const bool has_scheme = target.substr(0, target.find_first_of("/?#")).ends_with(':');
  if (has_scheme && !out.tls && !target.starts_with("http://"))
    return fail(Errc::kInvalidArgument, "{}: expected http:// or https://", target);
  // blackbox_exporter takes a target without it, too.
  out.text = has_scheme ? target : "http://" + target;
  std::string_view rest = out.text;
  rest.remove_prefix(out.tls ? 8 : 7);
  rest = rest.substr(0, rest.find_first_of("/?#"));
  if (const auto at = rest.rfind('@'); at != std::string_view::npos) rest.remove_prefix(at + 1);
  auto parts = drivers::split_host_port(rest, out.tls ? 443 : 80);
  if (!parts) return std::unexpected(parts.error());
  out.host = std::move(parts->host);
  out.port = parts->port;
  return out;
}

Result<std::string> secret(const std::string& file, const config::Secret& value) {
  if (file.empty()) return value.reveal();
  auto text = host::read_file(file);
  if (!text) return propagate(std::move(text), "credentials");
  while (text->ends_with('\n') || text->ends_with('\r')) text->pop_back();
  return text;
}

bool is_valid(const std::vector<std::string>& allowed, unsigned status) {
  const auto text = std::to_string(status);
  return std::ranges::any_of(allowed, [&](const std::string& one) {
    return one == text || (one.ends_with("xx") && text.size() == 3 && one[0] == text[0]);
  });
}

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

std::string_view header_of(const drivers::FetchResult& result, std::string_view name) {
  for (const auto& [key, value] : result.headers) {
    if (same_name(key, name)) return value;
  }
  return {};
}

/// What a pattern says against the answer; empty when all is well.
std::string regex_complaint(const ProbePlan& plan, const drivers::FetchResult& result,
                            const std::string& body) {
  for (const auto& regex : plan.body_matches) {
    if (found_in(regex, body)) return "the body matches " + regex->pattern();
  }
  for (const auto& regex : plan.body_not_matches) {
    if (!found_in(regex, body)) return "the body does not match " + regex->pattern();
  }
  for (const auto& [name, regex] : plan.header_matches) {
    if (found_in(regex, header_of(result, name))) return "the header " + name + " matches";
  }
  for (const auto& [name, regex] : plan.header_not_matches) {
    if (!found_in(regex, header_of(result, name))) return "the header " + name + " does not match";
  }
  return {};
}

Result<drivers::FetchRequest> request_for(const ProbeRun& run, const Url& url,
                                          const drivers::Address& address) {
  const auto& config = run.plan.config;
  drivers::FetchRequest out;
  out.method = config.method;
  out.url = url.text;
  out.headers = {{"User-Agent", fmt::format("nexus-agent/{}", base::version())}};
  for (const auto& [name, value] : config.headers) out.headers.emplace_back(name, value);
  out.body = config.body;
  auto password = secret(config.credentials.password_file, config.credentials.password);
  if (!password) return std::unexpected(password.error());
  auto token = secret(config.credentials.token_file, config.credentials.token);
  if (!token) return std::unexpected(token.error());
  out.username = config.credentials.username;
  out.password = *std::move(password);
  out.token = *std::move(token);
  out.timeout = std::max(run.left(), Millis(1));
  out.tls = run.tls();
  out.max_redirects = config.follow_redirects ? 10 : 0;
  const auto text = address.text();
  // An IPv6 address as the host is no name, and libcurl refuses an entry for it.
  if (!url.host.contains(':'))
    out.resolve = fmt::format("{}:{}:{}", url.host, url.port,
                              address.family() == AF_INET6 ? "[" + text + "]" : text);
  return out;
}

void report(const ProbeRun& run, const drivers::FetchResult& result, double resolve_seconds,
            bool regex_failed) {
  ProbeSink& sink = run.sink;
  constexpr std::string_view kPhases = "probe_http_duration_seconds";
  sink.phase(kPhases, "resolve", resolve_seconds);
  sink.phase(kPhases, "connect", result.connect_seconds);
  sink.phase(kPhases, "tls", result.tls_seconds);
  sink.phase(kPhases, "processing", result.processing_seconds);
  sink.phase(kPhases, "transfer", result.transfer_seconds);
  sink.add("probe_http_status_code", "Response HTTP status code",
           static_cast<double>(result.http_status));
  sink.add("probe_http_content_length", "Length of http content response",
           result.http_status == 0 ? 0 : static_cast<double>(result.content_length));
  sink.add("probe_http_uncompressed_body_length", "Length of uncompressed response body",
           static_cast<double>(result.body_bytes));
  sink.add("probe_http_redirects", "The number of redirects",
           static_cast<double>(result.redirects));
  sink.add("probe_http_ssl", "Indicates if SSL was used for the final redirect",
           result.ssl ? 1 : 0);
  sink.add("probe_http_version", "Returns the version of HTTP of the probe response",
           base::parse_double(result.http_version).value_or(0));
  sink.add("probe_failed_due_to_regex", "Indicates if probe failed due to regex",
           regex_failed ? 1 : 0);
  if (const auto modified = header_of(result, "Last-Modified"); !modified.empty()) {
    if (const auto time = drivers::parse_http_date(std::string(modified)))
      sink.add("probe_http_last_modified_timestamp_seconds",
               "Returns the Last-Modified HTTP response header in unixtime",
               static_cast<double>(*time));
  }
  if (result.ssl) run.report_tls(result.tls);
}

Status judge(const ProbeRun& run, const drivers::FetchResult& result, bool too_large,
             const std::string& complaint) {
  const auto& config = run.plan.config;
  if (too_large)
    return fail(Errc::kExhausted, "the body has more than body_size_limit = {} bytes",
                config.body_size_limit);
  if (!result.status) return result.status;
  if (!is_valid(config.valid_status, result.http_status))
    return fail(Errc::kUnavailable, "status {}", result.http_status);
  if (config.fail_if_ssl && result.ssl) return fail(Errc::kUnavailable, "TLS was used");
  if (config.fail_if_not_ssl && !result.ssl) return fail(Errc::kUnavailable, "TLS was not used");
  if (!complaint.empty()) return fail(Errc::kUnavailable, "{}", complaint);
  return {};
}

}  // namespace

Status probe_http(const ProbeRun& run) {
  const auto url = parse(run.target);
  if (!url) return std::unexpected(url.error());
  double resolve_seconds = 0;
  const auto address = run.resolve(url->host, &resolve_seconds);
  // What was not measured is 0, as blackbox_exporter has it: rules on the status must see that.
  const auto nothing = [&](const Error& error) -> Status {
    report(run, {}, resolve_seconds, false);
    return std::unexpected(error);
  };
  if (!address) return nothing(address.error());
  auto request = request_for(run, *url, *address);
  if (!request) return nothing(request.error());
  const bool wants_body = !run.plan.body_matches.empty() || !run.plan.body_not_matches.empty();
  std::string body;
  bool too_large = false;
  std::uint64_t received = 0;
  std::optional<drivers::FetchResult> result;
  drivers::Fetcher fetcher;
  fetcher.start(std::move(*request),
                {.on_head = {},
                 .on_data =
                     [&](std::string_view part) {
                       received += part.size();
                       too_large = received > run.plan.config.body_size_limit;
                       if (wants_body && !too_large) body += part;
                       return !too_large;
                     },
                 .on_done = [&](drivers::FetchResult&& done) { result = std::move(done); }});
  while (!result) fetcher.run(Millis(100));
  const auto complaint = result->status ? regex_complaint(run.plan, *result, body) : std::string();
  report(run, *result, resolve_seconds, !complaint.empty());
  return judge(run, *result, too_large, complaint);
}

}  // namespace nexus::monitor
