// Which series limit_ratio() chooses: each has a place in [0, 1] that its labels alone decide, the
// same as in Prometheus: XXH64 (Collet, xxHash specification) of the labels in their order, each
// name and value behind its length. Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string_view>

#include "nexus/knowledge/labels.hpp"

namespace nexus::knowledge::promql {

/// XXH64 with seed 0.
[[nodiscard]] std::uint64_t xxh64(std::string_view bytes) noexcept;

[[nodiscard]] double place_of(const Labels& labels);

}  // namespace nexus::knowledge::promql
