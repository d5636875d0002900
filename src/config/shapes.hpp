// What names and addresses must look like. Thread safety: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "config/section.hpp"

namespace nexus::config {

extern const Shape kMetricName;     // [a-zA-Z_:][a-zA-Z0-9_:]*
extern const Shape kPlainName;      // of commands, tokens: [a-zA-Z0-9_.-]+
extern const Shape kTitle;          // of remedies: one line of text
extern const Shape kUnitName;       // of systemd, with or without its suffix
extern const Shape kServiceName;    // a unit, or KIND:NAME of another manager's
extern const Shape kListenAddress;  // host:port, [v6]:port, unix:/path
extern const Shape kHostName;       // a name or address, as a Host header carries it
extern const Shape kAbsolutePath;

/// [a-zA-Z_][a-zA-Z0-9_]*, and not one of Prometheus's own (leading "__").
[[nodiscard]] bool is_label_name(std::string_view text);

/// Whether a valid listen address is reachable from this host only.
[[nodiscard]] bool is_loopback(std::string_view listen_address);

/// "web" becomes "web.service"; what ends like a unit stays.
[[nodiscard]] std::string with_unit_suffix(std::string_view name);

}  // namespace nexus::config
