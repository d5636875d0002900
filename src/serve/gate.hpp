// The strict gate in front of the router: what Beast's parser lets through and we do not (CRAFT:
// Beast 345).
//
// Checked before the body is read. Thread safety: pure functions.
#pragma once

#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/message.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/serve/http.hpp"

namespace nexus::serve {

struct Refusal {
  unsigned status;
  std::string_view reason;  // of nexus_http_refused_total, a closed set
  std::string message;
};

inline constexpr std::size_t kMaxHeaderFields = 64;

/// `local`: the request came over the unix socket, where no browser and no DNS name is involved.
[[nodiscard]] std::optional<Refusal> check_head(const boost::beast::http::request_header<>& head,
                                                bool local,
                                                const std::vector<std::string>& allowed_hosts);

/// The host of a Host header without its port; "[::1]" keeps its brackets off.
[[nodiscard]] std::string_view host_of(std::string_view header) noexcept;
[[nodiscard]] bool is_ip_literal(const std::string& host) noexcept;

}  // namespace nexus::serve
