// Records: what the index keeps of one, and how its payload is packed.
//
// Thread safety: plain values and pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "knowledge/disk/format.hpp"
#include "nexus/base/result.hpp"

namespace nexus::knowledge::disk {

/// What a record says of its payload; see RecordHeader.
struct RecordInfo {
  Kind kind = Kind::kBlock;
  std::uint32_t group = 0;
  std::int64_t first = 0;
  std::int64_t last = 0;
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  std::uint8_t flags = 0;  // kMore when it is given to be written, all of them when it was read
};

/// A record and its place: what the index keeps of it.
struct Entry : RecordInfo {
  std::uint32_t size = 0;
  std::uint32_t payload_checksum = 0;
  std::uint64_t offset = 0;  // of the header
  [[nodiscard]] std::uint64_t end() const noexcept { return offset + sizeof(RecordHeader) + size; }
};

[[nodiscard]] Entry entry_of(const RecordHeader& header, std::uint64_t offset) noexcept;
/// The header of a record but for its size and checksums: what encryption vouches for.
[[nodiscard]] RecordHeader header_of(const RecordInfo& info, std::uint8_t flags) noexcept;

/// For payloads of the flag kCompressed.
[[nodiscard]] Result<std::vector<std::uint8_t>> compress(Bytes plain);
[[nodiscard]] Result<std::vector<std::uint8_t>> decompress(Bytes packed);

}  // namespace nexus::knowledge::disk
