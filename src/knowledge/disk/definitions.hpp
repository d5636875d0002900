// Definitions: the series that the blocks of a segment name by number, so that every segment says
// by itself what is in it. The payload of a record of Kind::kSeries; see README.md for the format.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "knowledge/disk/format.hpp"
#include "nexus/base/result.hpp"
#include "nexus/knowledge/series.hpp"

namespace nexus::knowledge::disk {

struct SeriesDefinition {
  std::uint32_t number = 0;  // of the series in its segment
  std::uint32_t family = 0;  // its place in Definitions::families
  Labels labels;
};

struct Definitions {
  std::vector<Family> families;
  std::vector<SeriesDefinition> series;

  /// The place of a family, which is added when it is not there.
  std::uint32_t add(const Family& family);
};

[[nodiscard]] std::vector<std::uint8_t> encode(const Definitions& definitions);
[[nodiscard]] Result<Definitions> decode_definitions(Bytes bytes);

}  // namespace nexus::knowledge::disk
