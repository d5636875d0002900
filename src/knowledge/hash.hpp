// Hashes of labels for hash tables that strangers can fill: seeded with random bits once a process,
// never stored.
//
// label_hash() of a set of labels is the sum of its members' hashes, so that it does not depend on
// their order. Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string_view>

namespace nexus::knowledge {

/// The process's seed, from the kernel.
[[nodiscard]] std::uint64_t hash_seed() noexcept;

[[nodiscard]] std::uint64_t hash_bytes(std::string_view text, std::uint64_t seed) noexcept;

/// Hash of one name=value pair.
[[nodiscard]] inline std::uint64_t label_hash(std::string_view name,
                                              std::string_view value) noexcept {
  return hash_bytes(value, hash_bytes(name, hash_seed()));
}

}  // namespace nexus::knowledge
