#include "nexus/serve/auth.hpp"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <unistd.h>

namespace nexus::serve {
namespace {

std::array<std::uint8_t, 32> sha256(std::string_view text) {
  std::array<std::uint8_t, 32> digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return digest;
}

/// The token of "Bearer TOKEN" (RFC 6750); the scheme is case-insensitive.
std::optional<std::string_view> bearer_token(std::string_view header) {
  constexpr std::string_view kScheme = "bearer ";
  if (header.size() <= kScheme.size()) return std::nullopt;
  for (std::size_t i = 0; i < kScheme.size(); ++i) {
    if ((static_cast<unsigned char>(header[i]) | 0x20U) != static_cast<unsigned char>(kScheme[i]))
      return std::nullopt;
  }
  return header.substr(kScheme.size());
}

}  // namespace

Authenticator::Authenticator(const config::AuthSection& section)
    : anonymous_(section.anonymous_role) {
  for (const auto& token : section.tokens) {
    tokens_.push_back({token.name, token.role, sha256(token.token.reveal())});
  }
}

std::optional<Caller> Authenticator::identify(const Peer& peer,
                                              std::string_view authorization) const {
  Caller caller;
  caller.role = anonymous_;
  caller.from = peer.local ? fmt::format("unix:pid {}", peer.pid) : peer.address;
  if (!authorization.empty()) {
    const auto token = bearer_token(authorization);
    if (!token) return std::nullopt;
    const auto digest = sha256(*token);
    const Known* match = nullptr;
    for (const auto& known : tokens_) {  // all of them, so that the time tells nothing
      if (CRYPTO_memcmp(known.digest.data(), digest.data(), digest.size()) == 0) match = &known;
    }
    if (match == nullptr) return std::nullopt;
    caller.role = match->role;
    caller.who = fmt::format("token {}", match->name);
    caller.authenticated = true;
  } else if (peer.local) {
    caller.who = fmt::format("uid {}", peer.uid);
    caller.authenticated = true;
    if (peer.uid == 0 || peer.uid == geteuid()) caller.role = config::Role::kAdministrator;
    if (peer.uid == 0) caller.who = "root (uid 0)";
  }
  return caller;
}

}  // namespace nexus::serve
