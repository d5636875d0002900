// Who a caller is: bearer tokens over TCP, peer credentials on the unix socket.
//
// Tokens are compared in constant time over their SHA-256. A wrong token is an error (401) even
// where anonymous reads are allowed. On the unix socket root and the agent's own user are
// administrators; others have the anonymous role unless they bring a token. Thread safety:
// immutable.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/config/server.hpp"
#include "nexus/serve/http.hpp"

namespace nexus::serve {

struct Peer {
  bool local = false;     // unix socket
  std::uint32_t uid = 0;  // of a local peer
  std::uint32_t pid = 0;
  std::string address;  // "127.0.0.1:51234"
};

class Authenticator {
 public:
  explicit Authenticator(const config::AuthSection& section);
  /// The caller, or nothing when a token was given and is wrong. `authorization`: the header's
  /// value, may be empty.
  [[nodiscard]] std::optional<Caller> identify(const Peer& peer,
                                               std::string_view authorization) const;

 private:
  struct Known {
    std::string name;
    config::Role role;
    std::array<std::uint8_t, 32> digest;
  };
  config::Role anonymous_;
  std::vector<Known> tokens_;
};

}  // namespace nexus::serve
