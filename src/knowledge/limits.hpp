// Sizes that several parts of the history share.
#pragma once

#include <cstddef>

namespace nexus::knowledge {

/// Rows of a block. More rows compress better and decode slower; 480 are eight minutes at one
/// second.
inline constexpr std::size_t kMaxRows = 480;

}  // namespace nexus::knowledge
