// What receivers over HTTP share: the request, and what an answer means.
#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>

#include "nexus/base/id.hpp"
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

std::string IncidentKeys::of(const std::string& group) const {
  if (auto known = memory_ ? memory_->recall(group) : std::nullopt) return *known;
  return fmt::format("nexus-{:016x}-{:016x}", base::fnv1a(group), base::fnv1a(host_));
}

void IncidentKeys::opened(const std::string& group, const std::string& key) const {
  if (memory_ && memory_->recall(group) != key) memory_->note(group, key);
}

void IncidentKeys::closed(const std::string& group) const {
  if (memory_) memory_->forget(group);
}

std::string without_user(std::string_view url) {
  const auto begin = url.find("://");
  if (begin == std::string_view::npos) return std::string(url);
  const auto end = std::min(url.find_first_of("/?#", begin + 3), url.size());
  const auto at = url.substr(0, end).rfind('@');
  if (at == std::string_view::npos || at < begin + 3) return std::string(url);
  return std::string(url.substr(0, begin + 3)) + std::string(url.substr(at + 1));
}

drivers::HttpRequest post_request(const config::ReceiverConfig& config, std::string url,
                                  std::string body, const std::function<bool()>& cancelled) {
  drivers::HttpRequest request;
  request.method = "POST";
  request.url = std::move(url);
  request.shown = config.url_is_plain ? without_user(request.url)
                                      : fmt::format("the address of {}", config.name);
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
  // Of 3xx and 401 to 404 people may mend the cause at the other side: an address, a token, a
  // channel. It may as well be this message: what a filter takes for an attack, a 500 of one odd
  // label.
  const bool mended = (response.status >= 300 && response.status < 400) ||
                      (response.status >= 401 && response.status <= 404) || response.status == 500;
  const bool again = response.status > 500 || response.status == 408 || response.status == 429;
  if (!again && !mended) return Delivery::refused(std::move(why));
  auto out = Delivery::retry(std::move(why), retry_after(response, clock));
  out.suspect = mended;
  return out;
}

Form form_of(std::span<const std::pair<std::string, std::string>> fields,
             std::string_view file_field, std::string_view png) {
  // Nobody can guess it, so that nothing in a field ends it.
  const auto boundary = "nexus" + base::random_hex(16);
  Form out;
  for (const auto& [name, value] : fields) {
    out.body += fmt::format("--{}\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n{}\r\n",
                            boundary, name, value);
  }
  out.body += fmt::format(
      "--{}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"chart.png\"\r\n"
      "Content-Type: image/png\r\n\r\n",
      boundary, file_field);
  out.body += png;
  out.body += fmt::format("\r\n--{}--\r\n", boundary);
  out.content_type = "multipart/form-data; boundary=" + boundary;
  return out;
}

std::string chart_of(const Notification& notification, const ReceiverContext& context) {
  constexpr std::size_t kLooked = 3;  // of many, one is as good as the next
  if (!context.chart) return {};
  std::size_t looked = 0;
  for (const auto& alert : notification.alerts) {
    if (alert->resolved() || ++looked > kLooked) continue;
    if (auto png = context.chart(*alert); !png.empty()) return png;
  }
  return {};
}

std::string base64(std::string_view bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length = ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                       reinterpret_cast<const unsigned char*>(bytes.data()),
                                       static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(length));
  return out;
}

std::string plain_markdown(std::string_view text) {
  constexpr std::string_view kMarkup = "\\`*_~[]()<>#|";
  constexpr std::string_view kOfLinks = "_~#";  // a backslash before them would be part of the link
  std::string out;
  bool in_link = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const auto rest = text.substr(i);
    const bool is_space = static_cast<unsigned char>(c) <= ' ';
    in_link = !is_space && (in_link || rest.starts_with("https://") || rest.starts_with("http://"));
    if (kMarkup.contains(c) && !(in_link && kOfLinks.contains(c))) out += '\\';
    out += c;
  }
  return out;
}

Delivery deliver(const drivers::HttpRequest& request, Clock& clock) {
  const auto answer = drivers::http_request(request);
  if (!answer) return Delivery::retry(answer.error().message());
  return judge(*answer, clock);
}

}  // namespace nexus::publish
