// What the files of the history are, to the byte; see README.md. Numbers are little-endian.
//
// Thread safety: pure functions.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "knowledge/disk/crc32c.hpp"

namespace nexus::knowledge::disk {

static_assert(std::endian::native == std::endian::little, "headers are written as they are");

inline constexpr std::array<char, 8> kFileMagic = {'N', 'X', 'S', 'E', 'G', 'M', 'N', 'T'};
inline constexpr std::uint16_t kFileVersion = 2;           // 2: of blocks of version 2
inline constexpr std::uint32_t kRecordMagic = 0xc352584e;  // "NXR", and a byte that is no ASCII
inline constexpr std::uint32_t kMaxPayload = 256U << 20;
inline constexpr std::string_view kSegmentSuffix = ".seg";

/// Name of the key that the payloads are encrypted with: of its digest; zeros without a key.
using KeyId = std::array<std::uint8_t, 8>;

struct FileHeader {
  std::array<char, 8> magic = kFileMagic;
  std::uint16_t version = kFileVersion;
  std::uint16_t reserved = 0;
  std::uint32_t number = 0;  // of the segment in its stream
  std::int64_t created = 0;  // milliseconds since the epoch
  std::array<char, 16> stream{};
  KeyId key{};
  std::array<std::uint8_t, 12> padding{};
  std::uint32_t checksum = 0;  // of the bytes before it
};
static_assert(sizeof(FileHeader) == 64);

enum class Kind : std::uint8_t {
  kSeries = 1,  // definitions of the series that later blocks of the file name by number
  kBlock = 2,   // rows of a group
  kRewind = 3,  // the clock was set back: the group's records before, from `first` on, are void
  kTier = 4,    // rows of a group, downsampled
};

// Flags of a record.
inline constexpr std::uint8_t kEncrypted = 1;   // payload: nonce, ciphertext, tag
inline constexpr std::uint8_t kCompressed = 2;  // payload: u32 size, zstd
inline constexpr std::uint8_t kMore = 4;        // other columns of the same rows follow
inline constexpr std::uint8_t kOfGroup = 8;     // series that the group's records have, no others'

struct RecordHeader {
  std::uint32_t magic = kRecordMagic;
  Kind kind = Kind::kBlock;
  std::uint8_t flags = 0;
  std::uint16_t reserved = 0;
  std::uint32_t size = 0;  // of the payload that follows
  std::uint32_t group = 0;
  std::int64_t first = 0;  // times of the rows
  std::int64_t last = 0;
  std::uint32_t low = 0;  // least and greatest number of a series in it
  std::uint32_t high = 0;
  std::uint32_t payload_checksum = 0;
  std::uint32_t checksum = 0;  // of the bytes before it
};
static_assert(sizeof(RecordHeader) == 48);

template <typename Header>
[[nodiscard]] Bytes bytes_of(const Header& header) noexcept {
  return {reinterpret_cast<const std::uint8_t*>(&header), sizeof(Header)};
}

template <typename Header>
[[nodiscard]] std::uint32_t checksum_of(const Header& header) noexcept {
  return crc32c(bytes_of(header).first(offsetof(Header, checksum)));
}

[[nodiscard]] inline bool is_whole(const FileHeader& header) noexcept {
  return header.magic == kFileMagic && header.checksum == checksum_of(header);
}
[[nodiscard]] inline bool is_whole(const RecordHeader& header) noexcept {
  return header.magic == kRecordMagic && header.checksum == checksum_of(header) &&
         header.size <= kMaxPayload && header.first <= header.last && header.low <= header.high;
}

/// `data-00000001.seg`
[[nodiscard]] std::string segment_name(std::string_view stream, std::uint32_t number);
/// The number in the name of a segment of that stream; nothing when it is no such name.
[[nodiscard]] std::optional<std::uint32_t> segment_number(std::string_view stream,
                                                          std::string_view name);

}  // namespace nexus::knowledge::disk
