// What receivers over HTTP share: the request, and what an answer means.
#include <fmt/format.h>

#include <algorithm>

#include "nexus/base/text.hpp"
#include "nexus/drivers/fetcher.hpp"
#include "publish/receivers.hpp"

namespace nexus::publish {
namespace {

constexpr std::size_t kAnswerShown = 200;  // bytes of an answer that is told
constexpr std::size_t kAnswerRead = 1 << 20;
constexpr Millis kLongestWait{60 * 60'000};  // of what Retry-After may ask for

/// One line of printable text.
std::string shorten(std::string_view body) {
  std::string text = base::sanitize_utf8(body.substr(0, kAnswerShown));
  for (char& c : text) c = static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  return std::string(base::trim(text));
}

/// Seconds, or a date.
std::optional<Millis> retry_after(const drivers::HttpResponse& response, Clock& clock) {
  const auto found = std::ranges::find(response.headers, "retry-after",
                                       &std::pair<std::string, std::string>::first);
  if (found == response.headers.end()) return std::nullopt;
  std::optional<Millis> wait;
  if (const auto seconds = base::parse_uint(found->second)) {
    wait = Millis(static_cast<std::int64_t>(std::min<std::uint64_t>(*seconds, 86'400)) * 1000);
  } else if (const auto date = drivers::parse_http_date(found->second)) {
    wait = Millis(*date * 1000 - base::to_unix_millis(clock.wall()));
  }
  if (!wait) return std::nullopt;
  return std::clamp(*wait, Millis(0), kLongestWait);
}

}  // namespace

drivers::HttpRequest post_request(const config::ReceiverConfig& config, std::string url,
                                  std::string body, const std::function<bool()>& cancelled) {
  drivers::HttpRequest request;
  request.method = "POST";
  request.url = std::move(url);
  request.shown =
      config.url_is_plain ? std::string() : fmt::format("the address of {}", config.name);
  request.headers = {{"Content-Type", "application/json"}, {"User-Agent", "nexus-agent"}};
  request.body = std::move(body);
  request.timeout = config.timeout;
  request.max_body = kAnswerRead;
  request.tls.ca_file = config.ca_file;
  request.tls.cert_file = config.cert_file;
  request.tls.key_file = config.key_file;
  request.tls.verify = !config.insecure_skip_verify;
  request.proxy = config.proxy;
  request.cancelled = cancelled;
  return request;
}

Delivery judge(const drivers::HttpResponse& response, Clock& clock) {
  if (response.status >= 200 && response.status < 300) return Delivery::sent();
  auto why = fmt::format("status {}", response.status);
  if (const auto said = shorten(response.body); !said.empty()) why += ": " + said;
  // Of 401 to 404 people may mend the cause at the other side: a token, a channel.
  const bool again = response.status >= 500 || response.status == 408 || response.status == 429 ||
                     (response.status >= 401 && response.status <= 404);
  if (!again) return Delivery::refused(std::move(why));
  return Delivery::retry(std::move(why), retry_after(response, clock));
}

Delivery deliver(const drivers::HttpRequest& request, Clock& clock) {
  const auto answer = drivers::http_request(request);
  if (!answer) return Delivery::retry(answer.error().message());
  return judge(*answer, clock);
}

}  // namespace nexus::publish
