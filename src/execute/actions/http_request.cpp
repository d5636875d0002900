// http_request: one of the requests listed as [[request]] in the configuration. Neither a remedy
// nor a person gives anything but its name: the URL and what is sent are the configuration's alone.
#include <boost/json.hpp>

#include <algorithm>
#include <array>

#include "execute/actions.hpp"
#include "execute/parameter_values.hpp"
#include "execute/waiting.hpp"
#include "nexus/config/config.hpp"
#include "nexus/drivers/fetcher.hpp"
#include "nexus/host/file.hpp"

namespace nexus::execute {
namespace {

constexpr std::size_t kMostBody = 64U << 10;  // of the answer that is kept
constexpr Millis kAskEvery{100};

Result<config::RequestConfig> find_request(std::string_view name, const config::Config& config) {
  const auto it = std::ranges::find(config.requests, name,
                                    [](const auto& r) { return std::string_view(r.name); });
  if (it == config.requests.end())
    return fail(Errc::kNotFound, "\"{}\" is not listed as a [[request]]", name);
  return *it;
}

std::string request_name(const config::Parameters& parameters, std::string_view target) {
  return text_parameter(parameters, "request", target);
}

Result<config::RequestConfig> request_of(const plan::Action& action, const StepContext& context) {
  return find_request(request_name(action.parameters, action.target), *context.config);
}

Status check_request(const config::RemedyConfig& remedy, const config::Config& config) {
  const auto name = request_name(remedy.parameters, remedy.target);
  if (name.empty() || is_template(name)) return {};
  auto request = find_request(name, config);
  if (!request) return propagate(std::move(request));
  return {};
}

constexpr std::array<ParameterDescriptor, 1> kParameters{{
    {.name = "request",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "the target",
     .help = "the name of a [[request]]"},
}};

/// A secret from its file, read anew each time, or as it was given.
Result<std::string> secret(const std::string& file, const config::Secret& given) {
  if (file.empty()) return given.reveal();
  auto text = host::read_file(file);
  if (!text) return text;
  return std::string(base::trim(*text));
}

Result<drivers::FetchRequest> fetch_of(const config::RequestConfig& request) {
  drivers::FetchRequest out;
  out.method = request.method;
  out.url = request.url;
  for (const auto& [name, value] : request.headers) out.headers.emplace_back(name, value);
  out.body = request.body;
  auto password = secret(request.credentials.password_file, request.credentials.password);
  if (!password) return propagate(std::move(password));
  auto token = secret(request.credentials.token_file, request.credentials.token);
  if (!token) return propagate(std::move(token));
  out.username = request.credentials.username;
  out.password = *std::move(password);
  out.token = *std::move(token);
  out.timeout = request.timeout;
  out.tls = {.ca_file = request.tls.ca_file,
             .cert_file = request.tls.cert_file,
             .key_file = request.tls.key_file,
             .server_name = request.tls.server_name,
             .insecure_skip_verify = request.tls.insecure_skip_verify};
  out.max_redirects = 0;  // a redirect would lead to an address that is not listed
  return out;
}

/// As viewers may see it: people write passwords and tokens into addresses.
std::string shown(std::string_view url) {
  const auto scheme = url.find("://");
  const auto host = scheme == std::string_view::npos ? 0 : scheme + 3;
  const auto path = std::min(url.find_first_of("/?#", host), url.size());
  const auto user = url.substr(host, path - host).rfind('@');
  const auto after = user == std::string_view::npos ? host : host + user + 1;
  const auto query = std::min(url.find('?', path), url.size());
  std::string out(url.substr(0, host));
  out += url.substr(after, query - after);
  if (query < url.size()) out += "?...";
  return out;
}

bool is_valid(unsigned status, const std::vector<std::string>& wanted) {
  const auto text = fmt::format("{}", status);
  return std::ranges::any_of(wanted, [&](const std::string& one) {
    return one == text || (one.ends_with("xx") && !text.empty() && one.front() == text.front());
  });
}

class HttpRequest final : public Step {
 public:
  [[nodiscard]] Status validate(const plan::Action& action,
                                const StepContext& context) const override {
    auto request = request_of(action, context);
    if (!request) return propagate(std::move(request));
    return {};
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto request = request_of(action, context);
    if (!request) return propagate(std::move(request));
    std::string out = fmt::format("would send {} {}", request->method, shown(request->url));
    for (const auto& [name, value] : request->headers)
      out += fmt::format("\n{}: (not shown)", name);
    if (!request->body.empty())
      out += fmt::format("\nand a body of {} bytes", request->body.size());
    return out;
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    auto request = request_of(action, context);
    if (!request) return "{}";
    return boost::json::serialize(
        boost::json::object{{"method", request->method}, {"url", shown(request->url)}});
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto request = request_of(action, context);
    if (!request) return propagate(std::move(request));
    auto fetch = fetch_of(*request);
    if (!fetch) return propagate(std::move(fetch), "request \"{}\"", request->name);
    if (run.fencing_token)
      fetch->headers.emplace_back("X-Nexus-Fencing-Token", std::to_string(*run.fencing_token));
    const auto url = shown(request->url);
    std::string body;
    std::optional<drivers::FetchResult> result;
    drivers::Fetcher fetcher;
    const auto begun = context.clock.steady();
    fetcher.start(*std::move(fetch),
                  {.on_data =
                       [&](std::string_view part) {
                         body += part.substr(0, kMostBody - std::min(kMostBody, body.size()));
                         return true;
                       },
                   .on_done = [&](drivers::FetchResult&& done) { result = std::move(done); }});
    run.begun();
    while (!result) {
      if (const auto why = why_to_end(context.clock, run))
        return fail(*why, "{} {}: no answer yet; whether it took effect is not known",
                    request->method, url);
      fetcher.run(kAskEvery);
    }
    if (!result->status && result->http_status == 0)
      return propagate(std::move(result->status), "{} {}", request->method, url);
    const auto took = std::chrono::duration_cast<Millis>(context.clock.steady() - begun);
    return StepResult{
        .result = fmt::format("{} {} was answered with {} in {} ms", request->method, url,
                              result->http_status, took.count()),
        .output = base::sanitize_utf8(body),
        .failed = !result->status || !is_valid(result->http_status, request->valid_status)};
  }

  /// The status has said it; anything else is for a `verify` expression.
  std::optional<bool> verify(const plan::Action&, StepContext&) override { return std::nullopt; }

  Recovered recover(const plan::Action& action, StepContext&, std::string& what) override {
    what = fmt::format("whether request \"{}\" was answered cannot be told",
                       request_name(action.parameters, action.target));
    return Recovered::kUnknown;
  }
};

}  // namespace

const ActionDescriptor kHttpRequest{
    .name = "http_request",
    .help =
        "Sends a request listed as [[request]] and looks at the status of the answer. Under a "
        "fleet "
        "lock it has the fencing token, as X-Nexus-Fencing-Token.",
    .target_help = "the name of a [[request]], or with the parameter `request` what it is about",
    .parameters = kParameters,
    .make = []() -> std::unique_ptr<Step> { return std::make_unique<HttpRequest>(); },
    .check_remedy = check_request,
    .gentle = true,
};

}  // namespace nexus::execute
