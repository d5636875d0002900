// HMAC-SHA-256 in hexadecimal. Thread safety: pure functions.
#pragma once

#include <string>
#include <string_view>

namespace nexus::publish {

[[nodiscard]] std::string hmac_sha256(std::string_view key, std::string_view text);
/// In a time that says nothing about where they differ.
[[nodiscard]] bool same_secret(std::string_view a, std::string_view b);

}  // namespace nexus::publish
