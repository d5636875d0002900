// What the readers of [[scrape]], [[probe]], [statsd], [push] and [[log]] share. Thread safety:
// none; one load, one thread.
#pragma once

#include "config/sections/sections.hpp"
#include "nexus/config/sources.hpp"

namespace nexus::config {

inline constexpr std::int64_t kMostSeries = 10'000'000;
inline constexpr Period kSourceInterval{100ms, 24h};
inline constexpr Period kSourceTimeout{10ms, 10min};

extern const Shape kStatus;  // "200", "2xx"

enum class Keys { kLabels, kAny };
/// [key] as names and texts.
void read_map(Section& section, std::string_view key, StringMap& out, Keys keys);
void read_numbers(Section& section, std::string_view key, std::vector<double>& out);
/// Ascending, at least one.
void read_buckets(Section& section, std::vector<double>& out);
void read_tls(Section& section, TlsClientConfig& out);
/// username, password_*, token_*.
void read_credentials(Section& section, Reading& reading, CredentialConfig& out);
/// The name of a source, required, once for its kind.
void read_name(Section& section, Reading& reading, std::string_view kind, std::string& out);

}  // namespace nexus::config
