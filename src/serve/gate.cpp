#include "serve/gate.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>

#include "nexus/base/text.hpp"

namespace nexus::serve {
namespace {

namespace http = boost::beast::http;

std::string_view view(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

bool changes_something(http::verb verb) {
  return verb != http::verb::get && verb != http::verb::head;
}

std::optional<Refusal> check_framing(const http::request_header<>& head) {
  if (head.find(http::field::transfer_encoding) != head.end()) {
    return Refusal{400, "transfer_encoding",
                   "Transfer-Encoding is not accepted; send a Content-Length"};
  }
  if (head.find(http::field::expect) != head.end())
    return Refusal{417, "expect", "Expect is not supported"};
  if (head.find(http::field::upgrade) != head.end())
    return Refusal{400, "upgrade", "Upgrade is not supported"};
  const auto length = head.find(http::field::content_length);
  if (!changes_something(head.method()) && length != head.end() && view(length->value()) != "0") {
    return Refusal{400, "body_on_get", "a GET or HEAD request has no body"};
  }
  const auto fields = std::distance(head.begin(), head.end());
  if (fields > static_cast<std::ptrdiff_t>(kMaxHeaderFields)) {
    return Refusal{431, "too_many_headers",
                   fmt::format("more than {} header fields", kMaxHeaderFields)};
  }
  return std::nullopt;
}

bool host_is_ours(const std::string& host, const std::vector<std::string>& allowed) {
  // A DNS name that a stranger points at us is the danger (DNS rebinding); an address cannot be
  // rebound.
  return host == "localhost" || host.ends_with(".localhost") || is_ip_literal(host) ||
         std::ranges::find(allowed, host) != allowed.end();
}

std::optional<Refusal> check_host(const http::request_header<>& head, bool local,
                                  const std::vector<std::string>& allowed) {
  const auto [first, last] = head.equal_range(http::field::host);
  const auto count = std::distance(first, last);
  if (count > 1 || (count == 0 && head.version() >= 11)) {
    return Refusal{400, "host", "exactly one Host header is expected"};
  }
  if (count == 0 || local) return std::nullopt;
  std::string host(host_of(view(first->value())));
  std::ranges::transform(host, host.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (host_is_ours(host, allowed)) return std::nullopt;
  return Refusal{
      421, "foreign_host",
      fmt::format("this agent does not answer for the host \"{}\"; add it to [http] allowed_hosts",
                  base::sanitize_utf8(host))};
}

std::optional<Refusal> check_cross_site(const http::request_header<>& head) {
  if (!changes_something(head.method())) return std::nullopt;
  Refusal refusal{403, "cross_site", "a cross-site request changes nothing here"};
  if (const auto site = head.find("Sec-Fetch-Site"); site != head.end()) {
    const auto value = view(site->value());
    if (value != "same-origin" && value != "none") return refusal;
  }
  if (const auto origin = head.find(http::field::origin); origin != head.end()) {
    const auto host = head.find(http::field::host);
    const auto expected = host == head.end() ? std::string_view() : view(host->value());
    const auto value = view(origin->value());
    if (value != fmt::format("http://{}", expected) && value != fmt::format("https://{}", expected))
      return refusal;
  }
  return std::nullopt;
}

}  // namespace

std::string_view host_of(std::string_view header) noexcept {
  header = base::trim(header);
  if (header.starts_with('[')) {
    const auto end = header.find(']');
    return end == std::string_view::npos ? header : header.substr(1, end - 1);
  }
  return header.substr(0, header.find(':'));
}

bool is_ip_literal(const std::string& host) noexcept {
  in6_addr address{};
  return inet_pton(AF_INET, host.c_str(), &address) == 1 ||
         inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

std::optional<Refusal> check_head(const http::request_header<>& head, bool local,
                                  const std::vector<std::string>& allowed_hosts) {
  if (auto refusal = check_framing(head)) return refusal;
  if (auto refusal = check_host(head, local, allowed_hosts)) return refusal;
  if (local) return std::nullopt;
  return check_cross_site(head);
}

}  // namespace nexus::serve
