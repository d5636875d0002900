// DNS messages (RFC 1035): a query made, an answer read into text as zone files write it.
//
// No bytes make the reader leave them or go in circles. Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/result.hpp"

namespace nexus::monitor {

struct DnsAnswer {
  std::uint16_t id = 0;
  unsigned rcode = 0;
  bool truncated = false;
  std::uint16_t answers = 0;
  std::uint16_t authorities = 0;
  std::uint16_t additionals = 0;
  std::vector<std::string> records;  // of the answer section: name TTL IN TYPE data, tabs between
  std::optional<std::uint32_t> serial;  // of an SOA among them
};

/// The number of a record type: A is 1.
[[nodiscard]] std::optional<std::uint16_t> dns_type(std::string_view name);
/// NOERROR, NXDOMAIN, ...
[[nodiscard]] std::string dns_rcode(unsigned code);
[[nodiscard]] Result<std::string> dns_query(std::uint16_t id, std::string_view name,
                                            std::uint16_t type);
[[nodiscard]] Result<DnsAnswer> read_dns_answer(std::string_view message);

}  // namespace nexus::monitor
