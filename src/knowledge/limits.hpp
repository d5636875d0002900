// Sizes that several parts of the history share.
#pragma once

#include <cstddef>

namespace nexus::knowledge {

/// Rows of an open block. 480 are eight minutes at one second: what is written is compressed soon,
/// and little has to be decoded to read a little.
inline constexpr std::size_t kMaxRows = 480;

/// Rows of any block: more rows compress better and decode slower. Eight full open blocks make
/// 3,840 rows, about an hour at one second.
inline constexpr std::size_t kMaxBlockRows = 4096;

}  // namespace nexus::knowledge
