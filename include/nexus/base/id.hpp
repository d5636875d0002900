// Ids: unique, sortable by time, safe in a URL. UUID version 7 (RFC 9562).
//
// Thread safety: any thread. Two ids made by one process never compare equal, and those that are
// made of one millisecond, one after the other, compare in that order (RFC 9562 section 6.2, method
// 1): lists and pages that are sorted by id show what was done in the order in which it was done.
// Where another millisecond's was made in between, those of one are in any order.
#pragma once

#include <string>
#include <string_view>

#include "nexus/base/clock.hpp"

namespace nexus::base {

[[nodiscard]] std::string make_id(WallTime now);
[[nodiscard]] bool is_id(std::string_view text) noexcept;

/// `bytes` random bytes from the kernel (getrandom(2)), as lower-case hexadecimal.
[[nodiscard]] std::string random_hex(std::size_t bytes);

}  // namespace nexus::base
