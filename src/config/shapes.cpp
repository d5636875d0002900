#include "config/shapes.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "nexus/base/text.hpp"
#include "nexus/config/service_name.hpp"

namespace nexus::config {
namespace {

constexpr std::size_t kLongestName = 255;
constexpr std::size_t kLongestSocketPath = 107;  // sun_path

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool consists_of(std::string_view text, std::string_view punctuation) {
  return !text.empty() && text.size() <= kLongestName && std::ranges::all_of(text, [&](char c) {
    return is_letter(c) || is_digit(c) || punctuation.contains(c);
  });
}

bool is_v4(const std::string& host) {
  in_addr address{};
  return ::inet_pton(AF_INET, host.c_str(), &address) == 1;
}
bool is_v6(const std::string& host) {
  in6_addr address{};
  return ::inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

bool is_host(std::string_view host) {
  const bool numeric = std::ranges::all_of(host, [](char c) { return is_digit(c) || c == '.'; });
  return consists_of(host, ".-") && (!numeric || is_v4(std::string(host)));
}

/// The host of "host:port" or "[host]:port" without brackets; nullopt when the address is not of
/// that form.
std::optional<std::string> host_of(std::string_view address) {
  const auto colon = address.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto port = base::parse_uint(address.substr(colon + 1));
  if (!port || *port > 65535) return std::nullopt;
  std::string host(address.substr(0, colon));
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    return is_v6(host) ? std::optional(host) : std::nullopt;
  }
  return is_host(host) ? std::optional(host) : std::nullopt;
}

bool is_listen_address(std::string_view text) {
  if (!text.starts_with("unix:")) return host_of(text).has_value();
  const auto path = text.substr(5);
  return path.starts_with('/') && path.size() > 1 && path.size() <= kLongestSocketPath;
}

bool is_metric_name(std::string_view text) {
  return consists_of(text, "_:") && !is_digit(text.front());
}

/// NAME, or PROJECT/SERVICE of Compose.
bool is_container(std::string_view text) {
  const auto is_word = [](std::string_view word) {
    return consists_of(word, "_.-") && (is_letter(word.front()) || is_digit(word.front()));
  };
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return is_word(text);
  return is_word(text.substr(0, slash)) && is_word(text.substr(slash + 1));
}

bool is_title(std::string_view text) {
  return !base::trim(text).empty() && text.size() <= kLongestName &&
         std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20; });
}

}  // namespace

const Shape kMetricName{is_metric_name,
                        "a name of letters, digits, _ and :, not beginning with a digit"};
const Shape kPlainName{[](std::string_view text) { return consists_of(text, "_.-"); },
                       "a name of letters, digits, _, . and -"};
const Shape kTitle{is_title, "a name of one line, at most 255 characters"};
const Shape kUnitName{
    [](std::string_view text) { return consists_of(text, ":_.\\@-") && !text.starts_with('.'); },
    "the name of a systemd unit such as \"web.service\""};
const Shape kServiceName{
    [](std::string_view text) {
      const auto name = parse_service_name(text);
      if (name.is_unit()) return kUnitName.accepts(name.name);
      return name.kind == "docker" ? is_container(name.name) : consists_of(name.name, ":/_.-");
    },
    "the name of a unit such as \"web.service\", or of a container: \"docker:web\", or "
    "\"docker:PROJECT/SERVICE\" of Compose"};
const Shape kListenAddress{is_listen_address,
                           "an address such as \"127.0.0.1:8060\", \"[::1]:8060\" or "
                           "\"unix:/run/nexus-agent/agent.sock\""};
const Shape kHostName{
    [](std::string_view text) { return is_host(text) || is_v6(std::string(text)); },
    "a host name or an address, without a port"};
const Shape kAbsolutePath{[](std::string_view text) { return text.starts_with('/'); },
                          "an absolute path"};

bool is_label_name(std::string_view text) {
  return consists_of(text, "_") && !is_digit(text.front()) && !text.starts_with("__");
}

bool is_loopback(std::string_view listen_address) {
  if (listen_address.starts_with("unix:")) return true;
  const auto host = host_of(listen_address);
  if (!host) return false;
  if (*host == "localhost") return true;
  in6_addr v6{};
  if (::inet_pton(AF_INET6, host->c_str(), &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
  return is_v4(*host) && host->starts_with("127.");
}

std::string with_unit_suffix(std::string_view name) {
  static constexpr std::array<std::string_view, 11> kSuffixes = {
      ".service", ".socket", ".timer",  ".mount", ".automount", ".swap",
      ".path",    ".target", ".device", ".slice", ".scope"};
  const bool has_suffix = std::ranges::any_of(
      kSuffixes, [&](std::string_view suffix) { return name.ends_with(suffix); });
  return std::string(name) + (has_suffix ? "" : ".service");
}

}  // namespace nexus::config
