// What a TLS connection says of itself and its peer's certificates. Thread safety: pure functions
// of a connection that is not used meanwhile.
#pragma once

#include <openssl/types.h>

#include "nexus/drivers/fetcher.hpp"

namespace nexus::drivers {

[[nodiscard]] TlsFacts tls_facts(const SSL* connection);

}  // namespace nexus::drivers
